"""A broker that forgot everything under workers that run: they go on by position, nothing is applied twice."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool

from projections.projector import Projection
from tests.projections.samples import Lines, Tallies, Teams
from tests.streams.kafka_following import append, assert_as_built, connections, seen, viewing
from tests.streams.relaying import Stage, open_store, running, until
from tests.streams.test_kafka_views import tallying
from tests.support.kafka_broker import KafkaBroker
from tests.support.projections import Writing

pytestmark = pytest.mark.process
SAMPLES: list[Projection] = [Tallies(), Teams(), Lines()]


@pytest.fixture
async def stage(database: str, kafka_to_break: KafkaBroker) -> AsyncIterator[Stage]:
    """A log, and a broker of this module's own."""
    async with open_store(database) as store:
        yield Stage(database, store, kafka_to_break.address, "wiped")


@pytest.fixture
async def lent(stage: Stage) -> AsyncIterator[AsyncConnectionPool[Any]]:
    async with connections(stage) as opened:
        yield opened


async def test_a_worker_that_runs_goes_on_when_the_whole_broker_was_wiped(
    stage: Stage, lent: AsyncConnectionPool[Any], kafka_to_break: KafkaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.relay.LOOK_SECONDS", 0.5)
    monkeypatch.setattr("streams.relay.POLL_SECONDS", 0.5)
    log, relay = Writing(), stage.relay()
    await append(stage.store, tallying(log, 600))
    async with running(relay), viewing(stage, lent, SAMPLES) as views:
        await seen(views, SAMPLES, 600)
        before = relay.state.events
        kafka_to_break.wipe()
        kafka_to_break.start()
        await until(lambda: relay.state.events >= 2 * before, 120)
        await append(stage.store, tallying(log, 300))
        await seen(views, SAMPLES, 900)
        assert views.state.alarm is None
    await assert_as_built(stage, lent, SAMPLES)
    assert not await stage.complaints()
