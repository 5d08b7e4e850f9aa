"""Followers in step share what is read and decoded; nobody holds up the others for long."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Sequence
from uuid import UUID

import pytest

from adapters.memory import MemoryStore
from domain.errors import Unavailable
from domain.log import StoredEvent
from projections.projector import Slice
from streams.shared_log import SharedLog
from tests.projections.samples import some_log
from tests.support.projections import Writing


class CountingStore(MemoryStore):
    """The log in memory, counting how often it is asked."""

    reads = 0
    away = False

    async def read(
        self,
        after: int,
        limit: int,
        *,
        project_id: UUID | None = None,
        types: Collection[str] | None = None,
        up_to: int | None = None,
    ) -> Sequence[StoredEvent]:
        self.reads += 1
        if self.away:
            raise Unavailable("the database is away")
        return await super().read(after, limit, project_id=project_id, types=types, up_to=up_to)


@pytest.fixture
def log() -> Writing:
    written = some_log(200)
    counting = CountingStore(lambda: written.events[-1].recorded_at)
    counting.append(written.events, [])
    written.store = counting
    return written


@pytest.fixture
async def shared(log: Writing) -> AsyncIterator[SharedLog]:
    held = SharedLog(log.store, limit=10, window=3, patience=0.1)
    yield held
    await held.close()


def reads(log: Writing) -> int:
    assert isinstance(log.store, CountingStore)
    return log.store.reads


async def test_followers_in_step_take_the_same_events(shared: SharedLog, log: Writing) -> None:
    slices = [await shared.after(name, 0) for name in ("a", "b", "c")]
    assert slices[0] is slices[1] is slices[2]
    assert reads(log) == 1
    at = dict.fromkeys("abc", 0)
    while min(at.values()) < 200:
        for name in at:
            at[name] = (await shared.after(name, at[name])).up_to
    assert reads(log) == 20


async def test_followers_that_start_together_read_once(shared: SharedLog, log: Writing) -> None:
    found = await asyncio.gather(*(shared.after(name, 0) for name in "abcd"))
    assert len({id(each) for each in found}) == 1
    assert reads(log) <= 2  # the next slice is on its way


async def test_the_next_slice_is_read_while_this_one_is_applied(shared: SharedLog, log: Writing) -> None:
    first = await shared.after("a", 0)
    await asyncio.sleep(0)
    assert reads(log) == 2
    second = await shared.after("a", first.up_to)
    assert reads(log) == 2
    assert [each.stored.position for each in second.items] == list(range(11, 21))


async def test_nothing_is_read_ahead_of_the_head(shared: SharedLog, log: Writing) -> None:
    assert (await shared.after("a", 195)).up_to == 200
    await asyncio.sleep(0)
    assert reads(log) == 1


async def test_one_behind_takes_nothing_from_those_in_front(shared: SharedLog, log: Writing) -> None:
    front = (await shared.after("front", 100)).up_to
    await asyncio.sleep(0)
    await shared.after("behind", 0)
    assert reads(log) == 3
    assert (await shared.after("front", front)).after == front
    assert reads(log) == 3


async def test_a_failure_to_read_ahead_is_told_once_and_read_over(shared: SharedLog, log: Writing) -> None:
    first = await shared.after("a", 0)
    assert isinstance(log.store, CountingStore)
    log.store.away = True
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await shared.after("a", first.up_to)
    log.store.away = False
    assert (await shared.after("a", first.up_to)).after == first.up_to


async def test_a_log_that_is_closed_reads_no_further(shared: SharedLog, log: Writing) -> None:
    await shared.after("a", 0)
    await shared.close()
    await asyncio.sleep(0)
    assert reads(log) == 1


async def test_the_fastest_waits_for_the_others_only_a_moment(shared: SharedLog, log: Writing) -> None:
    await shared.after("slow", 0)
    position, began = 0, time.monotonic()
    while position < 100:
        position = (await shared.after("fast", position)).up_to
    assert time.monotonic() - began < 2
    assert [each.stored.position for each in (await shared.after("slow", 0)).items] == list(range(1, 11))
    assert position == 100


async def test_one_that_left_is_not_waited_for(log: Writing) -> None:
    patient = SharedLog(log.store, limit=10, window=3, patience=60)
    await patient.after("slow", 0)
    await patient.after("fast", 0)
    patient.leave("slow")
    position = 0
    async with asyncio.timeout(5):
        while position < 200:
            position = (await patient.after("fast", position)).up_to
    await patient.close()


async def test_one_in_front_moves_the_window_and_one_behind_reads_for_itself(shared: SharedLog, log: Writing) -> None:
    behind = await shared.after("behind", 0)
    ahead = await shared.after("ahead", 100)
    assert (behind.after, ahead.after) == (0, 100)
    again = await shared.after("also ahead", 105)
    assert again is ahead
    before = reads(log)
    assert (await shared.after("behind", 10)).after == 10
    assert reads(log) == before + 1


async def test_those_at_the_head_are_woken_by_the_next_event(shared: SharedLog, log: Writing) -> None:
    waiting = [asyncio.create_task(shared.after(name, 200)) for name in "abc"]
    await asyncio.sleep(0.02)
    assert not any(each.done() for each in waiting)
    log.add_unknown(UUID(int=1))
    await log.announce()
    found: list[Slice] = await asyncio.wait_for(asyncio.gather(*waiting), 2)
    assert {(each.after, each.up_to) for each in found} == {(200, 201)}


async def test_one_that_comes_to_the_head_late_does_not_sleep_over_what_it_has_not_seen(
    shared: SharedLog, log: Writing
) -> None:
    first = asyncio.create_task(shared.after("first", 200))
    await asyncio.sleep(0.01)
    log.add_unknown(UUID(int=1))
    late = await asyncio.wait_for(shared.after("late", 199), 1)
    assert late.up_to == 201
    await log.announce()
    assert (await asyncio.wait_for(first, 2)).up_to == 201
