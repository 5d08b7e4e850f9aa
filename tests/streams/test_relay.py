"""The relay on real Postgres and real Kafka: everything once, in order, across restarts; it halts where it must."""

from collections.abc import AsyncIterator

import pytest
from kafka.partitioner.default import murmur2

from domain.log import leaf
from streams.relay.marker import Marker, RelayHalted
from tests.streams.relaying import Stage, is_public, open_store, running, until, write


@pytest.fixture
async def stage(database: str, kafka_server: str, kafka_prefix: str) -> AsyncIterator[Stage]:
    """A log and topics of this test's own."""
    async with open_store(database) as store:
        yield Stage(database, store, kafka_server, kafka_prefix)


async def test_every_public_event_arrives_once_and_in_order(stage: Stage) -> None:
    events = await write(stage.store, 1234)
    await stage.relay_all()
    found = await stage.committed()
    assert not await stage.complaints()
    by_position = {each.position: each for each in found}
    assert len(by_position) == sum(map(is_public, events)) < len(events)
    for event in filter(is_public, events):
        record = by_position[event.position]
        assert record.arrived().event == event, "byte for byte"
        assert record.key == str(event.project_id or event.stream_id).encode()
        assert record.partition == (murmur2(record.key) & 0x7FFFFFFF) % 12
        assert record.timestamp_ms == int(event.recorded_at.timestamp() * 1000)
        assert record.arrived().prev == record.prev


async def test_no_private_event_leaves_postgres_and_the_marker_passes_them(stage: Stage) -> None:
    events = await write(stage.store, 300)
    await stage.relay_all()
    private = {each.position for each in events if not is_public(each)}
    assert private
    found = await stage.committed(isolation="read_uncommitted")
    assert not private & {each.position for each in found}
    assert not any(b"access_key" in each.value for each in found)
    marker = await stage.marker()
    assert (marker.position, marker.leaf, marker.log) == (300, leaf(events[-1]).hex(), leaf(events[0]).hex())


async def test_a_relay_that_starts_again_goes_on_where_the_last_one_stopped(stage: Stage) -> None:
    for count in (250, 1, 420):
        await write(stage.store, count)
        state = await stage.relay_all()
        assert state.transactions == -(-count // 100)
    assert not await stage.complaints()


async def test_new_events_are_relayed_as_they_happen(stage: Stage) -> None:
    relay = stage.relay()
    async with running(relay):
        await until(lambda: relay.state.phase == "relaying")
        for _ in range(5):
            await write(stage.store, 7)
            await until(lambda: relay.state.position == stage.store.head_seen.position, 5)
        assert relay.state.lag == 0
    assert relay.state.phase == "stopped"
    assert not await stage.complaints()


async def test_of_two_relays_one_works_and_the_other_takes_over(stage: Stage) -> None:
    first, second = stage.relay(), stage.relay()
    await write(stage.store, 150)
    async with running(second):
        async with running(first):
            await until(lambda: stage.store.head_seen.position in (first.state.position, second.state.position))
            assert {first.state.phase, second.state.phase} == {"relaying", "standby"}
            leader, other = (first, second) if first.state.phase == "relaying" else (second, first)
        await write(stage.store, 150)
        if leader is first:
            await until(lambda: other.state.position == 300)
    if leader is second:
        await stage.relay_all()
    assert not await stage.complaints()


async def test_a_relay_that_lost_its_lead_without_knowing_is_fenced_and_forks_nothing(stage: Stage) -> None:
    await write(stage.store, 120)
    stale = stage.relay(batch=50)
    async with running(stale):
        await until(lambda: stale.state.position == 120)
        usurper = stage.outlet()  # has no lock: fencing alone must do
        await usurper.open()
        await write(stage.store, 200)
        await until(lambda: stale.state.fenced > 0)
        await until(lambda: stale.state.position == 320)
        await usurper.discard()
    assert not await stage.complaints()


async def test_a_kafka_that_was_emptied_is_filled_again_in_the_same_order(stage: Stage) -> None:
    await write(stage.store, 500)
    await stage.relay_all()
    before = await stage.committed()
    await stage.delete(*(each.name for each in stage.topics))
    await stage.relay_all(batch=77)
    after = await stage.committed()
    assert [each.value for each in after] == [each.value for each in before]
    assert not await stage.complaints()


async def test_a_topic_of_events_that_was_made_anew_is_filled_again(stage: Stage) -> None:
    await write(stage.store, 300)
    await stage.relay_all()
    await stage.delete(stage.topics.events.name)
    await stage.relay_all()
    assert not await stage.complaints()


async def halted(stage: Stage) -> str:
    """The code of the alarm that a relay halts with."""
    relay = stage.relay()
    async with running(relay):
        await until(lambda: relay.state.alarm is not None)
        assert relay.state.phase == "halted"
        return relay.state.alarm_code or ""


async def test_a_marker_ahead_of_the_log_halts_the_relay(stage: Stage, empty_database: str) -> None:
    await write(stage.store, 200)
    await stage.relay_all()
    await forge(stage, position=201)
    before = await stage.committed()
    assert await halted(stage) == "relay_marker_ahead"
    assert await stage.committed() == before


async def test_a_halted_relay_goes_on_by_itself_when_the_log_has_caught_up(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.leading.HALT_SECONDS", 0.2)
    await write(stage.store, 100)
    await stage.relay_all()
    late = await write_ahead(stage, 10)
    relay = stage.relay()
    async with running(relay):
        await until(lambda: relay.state.alarm_code == "relay_marker_ahead")
        await write(stage.store, 60)
        await until(lambda: relay.state.position == 160)
        assert relay.state.alarm is None
    assert late == 110
    assert [each.position for each in await stage.committed() if 100 < each.position <= 110] == []


async def test_a_log_with_another_history_halts_the_relay(stage: Stage) -> None:
    await write(stage.store, 200)
    await stage.relay_all()
    await forge(stage, leaf="00" * 32)
    assert await halted(stage) == "relay_history_forked"


async def test_topics_of_another_log_halt_the_relay_and_nobody_is_fenced(stage: Stage) -> None:
    await write(stage.store, 50)
    await stage.relay_all()
    await forge(stage, log="11" * 32)
    rightful = stage.outlet()
    await rightful.open()
    assert await halted(stage) == "relay_foreign_log"
    await rightful.send([])
    await rightful.discard()


async def test_a_lost_marker_halts_the_relay_instead_of_doubling_everything(stage: Stage) -> None:
    await write(stage.store, 50)
    await stage.relay_all()
    await stage.delete(stage.topics.relay_position.name)
    assert await halted(stage) == "relay_marker_lost"


async def test_a_marker_that_somebody_removed_halts_the_relay_instead_of_an_older_one_being_taken(
    stage: Stage,
) -> None:
    await write(stage.store, 250)
    await stage.relay_all()
    await put_marker(stage, None)
    assert await halted(stage) == "relay_marker_lost"
    assert not await stage.complaints()


async def test_a_marker_that_is_not_ours_halts_the_relay(stage: Stage) -> None:
    await write(stage.store, 50)
    await stage.relay_all()
    await put_marker(stage, b"what is this?")
    assert await halted(stage) == "relay_marker_unreadable"
    with pytest.raises(RelayHalted, match="delete all topics"):
        Marker.loads(b"[]")


async def forge(stage: Stage, **changed: object) -> None:
    """Put a marker that says something else."""
    told = await stage.marker()
    fields = {name: getattr(told, name) for name in Marker.__slots__}
    await put_marker(stage, Marker(**{**fields, **changed}).dumps())  # pyright: ignore[reportArgumentType]


async def write_ahead(stage: Stage, count: int) -> int:
    """Put the marker that a relay would have left that has seen this many events more."""
    from tests.streams.relaying import event_at

    told = await stage.marker()
    last = event_at(told.position + count)
    await put_marker(stage, Marker(told.topic, told.log, last.position, leaf(last).hex(), told.prev).dumps())
    return last.position


async def put_marker(stage: Stage, value: bytes | None) -> None:
    from domain.relaying import Record

    outlet = stage.outlet()
    await outlet.open()
    key = stage.topics.events.name.encode()
    await outlet.send([Record(stage.topics.relay_position.name, 0, key, value, [], 0)])
    await outlet.discard()
