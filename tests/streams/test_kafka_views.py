"""Projections on Kafka: what they make is what the log makes, through restarts, gaps, strangers and hand-overs."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from psycopg_pool import AsyncConnectionPool

from adapters.kafka.connecting import Cluster
from adapters.kafka.outlet import KafkaOutlet
from domain.log import StoredEvent, leaf
from domain.relaying import Record
from projections.projector import PROJECTIONS, Projection, generation, parked_keys, partition_rows, rebuild, retry
from streams.envelope import key_of, seal, source_of
from streams.follower import Follower
from streams.partitioned import stays_on_the_log
from streams.partitioned import views as views_module
from streams.topics import partition_of
from tests.projections.samples import UNLUCKY, BrokenTallies, Lines, Tallies, TalliesTwo, Tally, Teams
from tests.projections.town import busy
from tests.streams.kafka_following import (
    append,
    assert_as_built,
    connections,
    position_of,
    seen,
    standing,
    until_true,
    viewing,
)
from tests.streams.relaying import Stage, open_store, running, until
from tests.support.kafka_reading import committed
from tests.support.projections import Writing
from toybox.inventory import load

load()
SAMPLES: list[Projection] = [Tallies(), Teams(), Lines()]
PATIENCE = 60.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses, so that what stood back is back in a moment."""
    monkeypatch.setattr(views_module, "HALT_SECONDS", 0.5)
    monkeypatch.setattr(views_module, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(views_module, "RETRY_SECONDS", (0.02,))


@pytest.fixture
async def stage(database: str, kafka_server: str, kafka_prefix: str) -> AsyncIterator[Stage]:
    """A log, a broker, and topics of this test's own."""
    async with open_store(database) as store:
        yield Stage(database, store, kafka_server, kafka_prefix)


@pytest.fixture
async def lent(stage: Stage) -> AsyncIterator[AsyncConnectionPool[Any]]:
    async with connections(stage) as opened:
        yield opened


def tallying(log: Writing, count: int) -> Sequence[StoredEvent]:
    """The next events: tallies of six projects and of none, fed at random."""
    dice, before = random.Random(len(log.events)), len(log.events)
    for _ in range(count):
        number = dice.randrange(24)
        stream, project = UUID(int=number + 1), UUID(int=1000 + number % 7) if number % 7 else None
        if not any(each.stream_id == stream for each in log.events):
            log.add(Tally.Opened, stream, project, name=f"tally {number}")
        else:
            log.add(Tally.Added, stream, project, amount=dice.randint(1, 12))
    return log.events[before:]


async def test_every_projection_of_public_events_takes_from_kafka_what_the_log_holds(
    stage: Stage, lent: AsyncConnectionPool[Any]
) -> None:
    events, shown = busy().events, list(PROJECTIONS.values())
    half = len(events) // 2
    await append(stage.store, events[:half])
    async with running(stage.relay()), viewing(stage, lent, shown) as views:
        await seen(views, shown, half)
        await append(stage.store, events[half:])
        await seen(views, shown, len(events))
        assert {(each.state, each.lag) for each in await views.standings()} == {("following", 0)}
    async with lent.connection() as connection:
        assert not await parked_keys(connection)
        for each in shown:
            live = await generation(connection, each.name, "live")
            assert live
            assert bool(await partition_rows(connection, live)) != stays_on_the_log(each)
    await assert_as_built(stage, lent, shown)


def test_projections_of_private_events_stay_on_the_log() -> None:
    staying = {each.name for each in PROJECTIONS.values() if stays_on_the_log(each)}
    assert {"access_key_views", "system_log"} <= staying
    assert not {"costs", "llm_jobs", "project_overviews", "deadlines"} & staying


async def test_stops_in_the_middle_lose_and_repeat_nothing(stage: Stage, lent: AsyncConnectionPool[Any]) -> None:
    log = Writing()
    async with running(stage.relay()):
        for pause in (1.2, 1.6, 2.0):
            await append(stage.store, tallying(log, 300))
            async with viewing(stage, lent, SAMPLES):
                await asyncio.sleep(pause)
        async with viewing(stage, lent, SAMPLES) as views:
            await seen(views, SAMPLES, 900)
    await assert_as_built(stage, lent, SAMPLES)


async def test_two_workers_share_the_partitions_and_one_leaves(stage: Stage, lent: AsyncConnectionPool[Any]) -> None:
    log = Writing()
    await append(stage.store, tallying(log, 200))
    async with running(stage.relay()), viewing(stage, lent, SAMPLES) as first:
        await seen(first, SAMPLES, 200)
        async with viewing(stage, lent, SAMPLES) as second:
            await until(lambda: second.state.phase == "following")
            await append(stage.store, tallying(log, 300))
            await seen(second, SAMPLES, 500)
        await append(stage.store, tallying(log, 300))
        await seen(first, SAMPLES, 800)
    await assert_as_built(stage, lent, SAMPLES)


async def test_a_poison_event_parks_its_key_and_is_taken_up_after_the_fix(
    stage: Stage, lent: AsyncConnectionPool[Any]
) -> None:
    log, shown = Writing(), [BrokenTallies(), Teams()]
    tallying(log, 100)
    poison = log.add(Tally.Added, UUID(int=2), UUID(int=1001), amount=UNLUCKY)
    tallying(log, 100)
    await append(stage.store, log.events)
    async with running(stage.relay()), viewing(stage, lent, shown) as views:
        await seen(views, shown, 201)
        async with lent.connection() as connection:
            (parked,) = await parked_keys(connection)
        assert (parked.projection, parked.key, parked.position) == ("sample_tallies", UUID(int=1001), poison.position)
    await retry(lent, stage.store, Tallies(), UUID(int=1001))
    async with lent.connection() as connection:
        assert not await parked_keys(connection)
    await assert_as_built(stage, lent, [Tallies(), Teams()])


async def test_a_gap_halts_with_an_alarm_and_a_rebuild_puts_it_right(
    stage: Stage, lent: AsyncConnectionPool[Any]
) -> None:
    log = Writing()
    await append(stage.store, tallying(log, 100))
    await stage.relay_all()
    async with viewing(stage, lent, SAMPLES) as views:
        await seen(views, SAMPLES, 100)
        late = tallying(log, 60)
        torn = late[-1]
        partition = partition_of(key_of(torn), 12)
        lost = next(each for each in late if partition_of(key_of(each), 12) == partition)
        assert lost is not torn, "the test wants two events on one partition"
        await put(stage, partition, key_of(torn), seal(torn, lost.position, source_of(leaf(log.events[0]).hex())))
        await until(lambda: views.state.alarm is not None)
        assert f"partition {partition}" in str(views.state.alarm)
        assert "missing in Kafka" in str(views.state.alarm)
        assert await position_of(lent, "sample_tallies") == 100
        await append(stage.store, late)
        for each in SAMPLES:
            await rebuild(lent, stage.store, each)
        await until(lambda: views.state.alarm is None)
    await assert_as_built(stage, lent, [])


async def test_a_record_that_is_not_ours_goes_among_the_dead_letters(
    stage: Stage, lent: AsyncConnectionPool[Any]
) -> None:
    log = Writing()
    await append(stage.store, tallying(log, 100))
    await stage.relay_all()
    async with running(stage.relay()), viewing(stage, lent, SAMPLES) as views:
        await seen(views, SAMPLES, 100)
        of_another_log = seal(replace(log.events[0], position=5000), 0, source_of("f" * 64))
        await put(stage, 3, b"who", b'{"hello": "world"}')
        await put(stage, 4, b"who", of_another_log)
        await until(lambda: views.state.foreign == 2)
        await append(stage.store, tallying(log, 100))
        await seen(views, SAMPLES, 200)
        assert "not ours" in str(views.state.alarm)
    letters = await asyncio.to_thread(committed, stage.address, stage.topics.dead_letters.name)
    assert {each.value for each in letters} == {b'{"hello": "world"}', of_another_log}
    assert {each.headers["toybox-partition"] for each in letters} == {b"3", b"4"}
    await assert_as_built(stage, lent, SAMPLES)


async def test_a_topic_that_was_made_anew_is_followed_by_position(stage: Stage, lent: AsyncConnectionPool[Any]) -> None:
    log = Writing()
    await append(stage.store, tallying(log, 300))
    await stage.relay_all()
    async with viewing(stage, lent, SAMPLES) as views:
        await seen(views, SAMPLES, 300)
    await stage.delete(stage.topics.events.name)
    await append(stage.store, tallying(log, 100))
    async with running(stage.relay()), viewing(stage, lent, SAMPLES) as views:
        await seen(views, SAMPLES, 400)
    await assert_as_built(stage, lent, SAMPLES)


async def test_a_topic_is_made_anew_under_a_worker_that_runs(stage: Stage, lent: AsyncConnectionPool[Any]) -> None:
    log = Writing()
    await append(stage.store, tallying(log, 300))
    await stage.relay_all()
    async with viewing(stage, lent, SAMPLES) as views:
        await seen(views, SAMPLES, 300)
        await stage.delete(stage.topics.events.name)
        async with running(stage.relay()):
            await append(stage.store, tallying(log, 100))
            await seen(views, SAMPLES, 400)
        assert views.state.alarm is None
    await assert_as_built(stage, lent, SAMPLES)


async def test_the_log_and_kafka_are_followed_in_turns(stage: Stage, lent: AsyncConnectionPool[Any]) -> None:
    log, names = Writing(), [each.name for each in SAMPLES]
    async with running(stage.relay()):
        for turn in range(4):
            await append(stage.store, tallying(log, 100))
            if turn % 2:
                async with viewing(stage, lent, SAMPLES) as views:
                    await until(lambda views=views: views.state.phase == "following")
                    await append(stage.store, tallying(log, 100))
                    if turn == 3:
                        await seen(views, SAMPLES, len(log.events))
            else:
                embedded = Follower(stage.store, lent, SAMPLES)
                embedded.start()
                await append(stage.store, tallying(log, 100))
                await embedded.wait_for(names, len(log.events), PATIENCE)
                await embedded.stop()
    await assert_as_built(stage, lent, SAMPLES)


async def test_partitions_that_are_ahead_of_others_are_given_back_to_the_log_without_a_repetition(
    stage: Stage, lent: AsyncConnectionPool[Any]
) -> None:
    log, names = Writing(), [each.name for each in SAMPLES]
    await append(stage.store, tallying(log, 200))
    await stage.relay_all()
    async with viewing(stage, lent, SAMPLES) as views:
        await seen(views, SAMPLES, 200)
        late = tallying(log, 100)
        await append(stage.store, late)
        # Only one partition gets its events, and no marker is written: the others stay behind.
        partition = partition_of(key_of(late[0]), 12)
        of_it = [each for each in late if partition_of(key_of(each), 12) == partition]
        prev = [each.position for each in log.events[:200] if partition_of(key_of(each), 12) == partition][-1]
        source = source_of(leaf(log.events[0]).hex())
        for each in of_it:
            await put(stage, partition, key_of(each), seal(each, prev, source))
            prev = each.position
        last = of_it[-1].position

        async def there() -> bool:
            async with lent.connection() as connection:
                lives = [await generation(connection, name, "live") for name in names]
                rows = [await partition_rows(connection, live) for live in lives if live]
            return all(row[partition].position == last for row in rows)

        await until_true(there)
        assert {await position_of(lent, name) for name in names} == {200}
    embedded = Follower(stage.store, lent, SAMPLES)
    embedded.start()
    await embedded.wait_for(names, 300, PATIENCE)
    await embedded.stop()
    await assert_as_built(stage, lent, SAMPLES)


async def test_a_newer_version_is_built_from_the_log_and_goes_on_from_kafka(
    stage: Stage, lent: AsyncConnectionPool[Any]
) -> None:
    log = Writing()
    await append(stage.store, tallying(log, 200))
    async with running(stage.relay()):
        async with viewing(stage, lent, SAMPLES) as views:
            await seen(views, SAMPLES, 200)
        newer: list[Projection] = [TalliesTwo(), Teams(), Lines()]
        await append(stage.store, tallying(log, 100))
        async with viewing(stage, lent, newer) as views:
            await seen(views, newer, 300)
            await append(stage.store, tallying(log, 100))
            await seen(views, newer, 400)
            assert (await standing(views, "sample_tallies")).version == 2
    await assert_as_built(stage, lent, newer)


async def test_a_worker_waits_for_a_topic_that_is_not_there_yet(stage: Stage, lent: AsyncConnectionPool[Any]) -> None:
    log = Writing()
    await append(stage.store, tallying(log, 50))
    async with viewing(stage, lent, SAMPLES) as views:
        await until(lambda: views.state.last_error is not None)
        async with running(stage.relay()):
            await seen(views, SAMPLES, 50)
    await assert_as_built(stage, lent, SAMPLES)


async def put(stage: Stage, partition: int, key: bytes, value: bytes) -> None:
    """A record that no relay has written."""
    outlet = KafkaOutlet(Cluster(stage.address), f"{stage.prefix}.somebody")
    await outlet.open()
    try:
        await outlet.send([Record(stage.topics.events.name, partition, key, value, [], 1_800_000_000_000)])
    finally:
        await outlet.discard()
