"""The relay and a broker that stops, dies and forgets while the relay lives."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping

import pytest

from domain.relaying import TopicFacts
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
        assert relay.state.obstacle_code == "broker_away"
        kafka_to_break.start()
        await until(lambda: relay.state.position == 50, 60)
        assert relay.state.obstacle is None
    assert not await stage.complaints()


@pytest.mark.process
async def test_while_a_broker_is_away_the_relay_says_so_loses_nothing_and_goes_on_when_it_is_back(
    stage: Stage, kafka_to_break: KafkaBroker
) -> None:
    relay = stage.relay()
    async with running(relay):
        await write(stage.store, 300)
        await until(lambda: relay.state.position == 300)
        kafka_to_break.stop()
        await write(stage.store, 150)
        await until(lambda: relay.state.obstacle_code == "broker_away", 60)
        for _ in range(20):
            await asyncio.sleep(0.1)
            assert relay.state.phase in ("waiting", "standby", "starting")
        assert (relay.state.position, relay.state.head, relay.state.lag) == (300, 450, 150)
        assert "Kafka" in (relay.state.last_error or "")
        assert relay.state.alarm is None, "it needs nobody"
        kafka_to_break.start()
        await until(lambda: relay.state.position == 450, 60)
        assert (relay.state.phase, relay.state.obstacle, relay.state.lag) == ("relaying", None, 0)
    assert not await stage.complaints()


@pytest.mark.process
async def test_a_relay_without_anything_to_send_fills_a_kafka_that_was_emptied_in_the_same_order(
    stage: Stage, kafka_to_break: KafkaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.relay.LOOK_SECONDS", 0.5)
    monkeypatch.setattr("streams.relay.POLL_SECONDS", 0.5)
    relay = stage.relay()
    async with running(relay):
        await write(stage.store, 900)
        await until(lambda: relay.state.position == 900)
        before, old = await stage.committed(), await stage.outlet().describe([stage.topics.events.name])
        relayed = relay.state.events
        kafka_to_break.wipe()
        kafka_to_break.start()
        await until(lambda: relay.state.events == 2 * relayed, 120)
        assert relay.state.alarm is None
    new = await stage.outlet().describe([stage.topics.events.name])
    assert new[stage.topics.events.name].id != old[stage.topics.events.name].id
    after = await stage.committed()
    assert [(each.partition, each.position, each.prev) for each in after] == [
        (each.partition, each.position, each.prev) for each in before
    ]
    assert [each.value for each in after] == [each.value for each in before]
    assert not await stage.complaints()


async def test_topics_that_a_broker_forgets_between_two_answers_are_looked_for_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    outlet, asked = stage.outlet(), list[set[str]]()
    describe, pair = outlet.describe, {stage.topics.events.name, stage.topics.costs.name}

    async def forgetful(names: Collection[str]) -> Mapping[str, TopicFacts]:
        asked.append(set(names))
        return {} if asked.count(pair) == 1 and set(names) == pair else await describe(names)

    monkeypatch.setattr(outlet, "describe", forgetful)
    relay = stage.relay(outlet)
    async with running(relay):
        await write(stage.store, 50)
        await until(lambda: relay.state.position == 50, 60)
    assert asked.count(pair) > 1
    assert not await stage.complaints()
