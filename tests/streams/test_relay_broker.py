"""The relay and a broker that stops, dies and forgets while the relay lives."""

from collections.abc import AsyncIterator

import pytest

from tests.streams.relaying import Stage, open_store, running, until, write
from tests.support.kafka_broker import KafkaBroker


@pytest.fixture
async def stage(database: str, kafka_to_break: KafkaBroker) -> AsyncIterator[Stage]:
    """A log, and a broker to be broken."""
    async with open_store(database) as store:
        yield Stage(database, store, kafka_to_break.address, f"broken-{kafka_to_break.pid}")


@pytest.mark.process
async def test_everything_is_there_once_after_a_broker_stopped_died_and_forgot(
    stage: Stage, kafka_to_break: KafkaBroker
) -> None:
    relay = stage.relay()
    async with running(relay):
        for count, end in enumerate((kafka_to_break.stop, kafka_to_break.kill, kafka_to_break.wipe), 1):
            await write(stage.store, 400)
            await until(lambda count=count: (relay.state.position or 0) > 600 * (count - 1))
            end()
            await write(stage.store, 100)
            kafka_to_break.start()
            await write(stage.store, 100)
            head = stage.store.head_seen.position
            await until(lambda head=head: relay.state.position == head, 120)
            assert not await stage.complaints()
    assert relay.state.discarded > 0
    assert relay.state.alarm is None


@pytest.mark.process
async def test_a_relay_waits_for_a_broker_that_is_away_when_it_starts(
    stage: Stage, kafka_to_break: KafkaBroker
) -> None:
    kafka_to_break.stop()
    relay = stage.relay()
    async with running(relay):
        await write(stage.store, 50)
        await until(lambda: relay.state.last_error is not None, 60)
        assert relay.state.phase == "waiting"
        kafka_to_break.start()
        await until(lambda: relay.state.position == 50, 60)
    assert not await stage.complaints()
