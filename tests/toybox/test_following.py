"""A process that follows Kafka: wired from settings, its read models and reactions go with what the relay brings."""

import asyncio
import socket
from decimal import Decimal
from pathlib import Path

import pytest

from commands.budgets import OpenBudget
from commands.handling import Caller
from domain.errors import Refused
from domain.ids import Scope
from projections.projector import PROJECTIONS
from streams.partitioned import KafkaReactions, KafkaViews
from streams.reacting import REACTIONS
from tests.support.story import OWNER
from toybox.settings import Settings
from toybox.system import running

PATIENCE = 60.0


async def test_a_process_follows_kafka_when_the_settings_say_so(
    database: str, kafka_server: str, kafka_prefix: str, data_home: Path
) -> None:
    settings = Settings.with_options(
        data_dir=data_home / "toybox",
        database_url=database,
        kafka=kafka_server,
        kafka_prefix=kafka_prefix,
        follow="kafka",
        worker_name="one",
    )
    async with running(settings, environ={}) as system:
        assert isinstance(system.follower, KafkaViews)
        assert isinstance(system.reactor, KafkaReactions)
        command = OpenBudget(scope=Scope(kind="global"), limit=Decimal(1))
        await system.commands.send(command, Caller(OWNER, "http", "a budget"))
        head = await system.store.head()
        await system.follower.wait_for(list(PROJECTIONS), head, PATIENCE)
        async with asyncio.timeout(PATIENCE):
            while min(system.reactor.positions.values(), default=0) < head:  # noqa: ASYNC110 -- nobody is told
                await asyncio.sleep(0.05)
        assert set(system.reactor.positions) == set(REACTIONS)
        assert {each.state for each in await system.follower.standings()} == {"following"}
        assert system.follower.state.alarm is None


def test_replicas_of_a_container_have_names_of_their_own() -> None:
    name = Settings.with_options(worker_name="{hostname}").worker_name
    assert name == socket.gethostname()


async def test_following_kafka_without_a_kafka_is_refused(database: str, data_home: Path) -> None:
    settings = Settings.with_options(data_dir=data_home / "toybox", database_url=database, follow="kafka")
    with pytest.raises(Refused, match="TOYBOX_KAFKA"):
        async with running(settings, environ={}):
            pass
