"""The relay and topics that are not as they should be, or hold what it has not written: an alarm, nothing lost."""

from collections.abc import AsyncIterator

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType

from domain.relaying import TopicFacts
from streams.relay import Relay
from tests.streams.relaying import Stage, is_public, open_store, running, until, write
from tests.support.kafka_reading import complaints


@pytest.fixture
async def stage(
    database: str, kafka_server: str, kafka_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stage]:
    """A log and topics of this test's own; its relays do not wait long before they look again."""
    for pace in ("leading.HALT_SECONDS", "relay.LOOK_SECONDS", "relay.POLL_SECONDS"):
        monkeypatch.setattr(f"streams.{pace}", 0.3)
    async with open_store(database) as store:
        yield Stage(database, store, kafka_server, kafka_prefix)


def configure(stage: Stage, setting: str, value: str) -> None:
    """Change a setting of the topic of events, as somebody with rights might."""
    entry = ConfigEntry(setting, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, stage.topics.events.name, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": stage.address})
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(10)


def put(stage: Stage, topic: str, *records: tuple[bytes | None, bytes | None]) -> None:
    """Write to a topic, as somebody who mistakes it for his own."""
    producer = Producer({"bootstrap.servers": stage.address})
    for key, value in records:
        producer.produce(topic, value, key, partition=0)
    assert producer.flush(10) == 0


async def halts(relay: Relay, *words: str) -> None:
    """Until the relay has halted with an alarm that says this."""
    await until(lambda: relay.state.alarm is not None)
    assert (relay.state.phase, relay.state.alarm_code) == ("halted", "relay_topics_wrong")
    for word in words:
        assert word in (relay.state.alarm or "")


async def goes_on(stage: Stage, relay: Relay) -> None:
    """Until it has relayed everything, and says that all is well."""
    await until(lambda: relay.state.position == stage.store.head_seen.position)
    assert (relay.state.phase, relay.state.alarm, relay.state.alarm_code) == ("relaying", None, None)


async def test_a_topic_with_too_few_partitions_halts_the_relay_until_it_is_gone(stage: Stage) -> None:
    name = stage.topics.events.name
    await stage.outlet().create([TopicFacts(name, 3, 1, stage.topics.events.facts(1).settings)])
    await write(stage.store, 120)
    relay = stage.relay()
    async with running(relay):
        await halts(relay, name, "partitions is 3, not 12", "toybox kafka init")
        assert await stage.committed() == []
        await stage.delete(name)
        await goes_on(stage, relay)
    assert not await stage.complaints()


@pytest.mark.parametrize(
    ("setting", "wrong", "right"),
    [("cleanup.policy", "compact", "delete"), ("retention.ms", "3600000", "-1"), ("retention.bytes", "99999", "-1")],
)
async def test_a_topic_that_would_lose_history_halts_the_relay_until_it_is_put_right(
    stage: Stage, setting: str, wrong: str, right: str
) -> None:
    await write(stage.store, 120)
    await stage.relay_all()
    configure(stage, setting, wrong)
    relay = stage.relay()
    async with running(relay):
        await halts(relay, f"{setting} is {wrong}, not {right}", "kafka-configs --alter")
        await write(stage.store, 60)
        configure(stage, setting, right)
        await goes_on(stage, relay)
    assert not await stage.complaints()


async def test_a_setting_that_is_changed_while_the_relay_runs_is_noticed(stage: Stage) -> None:
    await write(stage.store, 120)
    relay = stage.relay()
    async with running(relay):
        await goes_on(stage, relay)
        configure(stage, "retention.ms", "3600000")
        await halts(relay, "retention.ms is 3600000, not -1")
        configure(stage, "retention.ms", "-1")
        await until(lambda: relay.state.alarm is None)
        await write(stage.store, 60)
        await goes_on(stage, relay)
    assert not await stage.complaints()


async def test_a_setting_that_loses_nothing_is_told_and_does_not_stop_the_relay(stage: Stage) -> None:
    await write(stage.store, 60)
    await stage.relay_all()
    configure(stage, "max.message.bytes", "2000000")
    await write(stage.store, 60)
    state = await stage.relay_all()
    assert state.alarm is None
    assert any("max.message.bytes is 2000000" in each for each in state.findings)
    assert not await stage.complaints()


async def test_records_that_are_not_ours_do_not_disturb_the_relay(stage: Stage) -> None:
    events, positions = stage.topics.events.name, stage.topics.relay_position.name
    strangers = ((None, b"what is this?"), (b"", b""), (b"key", None), (b"key", b'{"specversion":"1.0"}'))
    log = await write(stage.store, 250)
    relay = stage.relay()
    async with running(relay):
        await goes_on(stage, relay)
        put(stage, events, *strangers)
        put(stage, positions, *((b"not " + (key or b""), value) for key, value in strangers))
        log += await write(stage.store, 250)
        await goes_on(stage, relay)
        assert relay.state.discarded == 0
    put(stage, positions, *[(b"stranger", b"%d" % number) for number in range(200)])
    log += await write(stage.store, 250)
    await stage.relay_all()
    found = [each for each in await stage.committed() if "toybox-position" in each.headers]
    assert complaints(found, [each.position for each in log if is_public(each)]) == []
    assert len(await stage.committed()) == len(found) + len(strangers)
