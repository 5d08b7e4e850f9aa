"""The recorder beside the relay: few runs, few writes, nothing lost while the database is away for a moment."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

from domain.delivering import Effects, FoundBatch, RelayedBatch, Run
from domain.errors import Unavailable
from domain.log import StoredEvent
from streams.recording import WAITING, Recorder, runs_of
from streams.relay.state import Place, Relayed

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Notebook:
    """A ledger in memory that is away when a test says so."""

    def __init__(self) -> None:
        self.writes: list[list[RelayedBatch]] = []
        self.away = False
        self.tried = asyncio.Event()

    @property
    def batches(self) -> list[RelayedBatch]:
        return [each for write in self.writes for each in write]

    async def note(self, batches: Sequence[RelayedBatch]) -> None:
        self.tried.set()
        if self.away:
            raise Unavailable("the database is away", retry_after=0.01)
        self.writes.append(list(batches))

    async def batch_of(self, position: int) -> FoundBatch | None:
        found = [each for each in self.batches if each.first <= position <= each.last]
        return FoundBatch(found[-1], outdated=False) if found else None

    async def relayed_to(self) -> int | None:
        return self.batches[-1].last if self.batches else None

    async def outcomes(self, command_ids: Collection[UUID]) -> Mapping[UUID, tuple[int, int] | None]:
        return dict.fromkeys(command_ids)

    async def reactions_on(self, partition: int) -> Mapping[str, int]:
        return {}

    async def effects(self, of: StoredEvent) -> Effects:
        return Effects([], of.position)


class Clock:
    """A minute passes with every look."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> datetime:
        self.looks += 1
        return NOON + timedelta(minutes=self.looks)


def relayed(position: int) -> Relayed:
    return Relayed(position, 0.01, (Place(position, 0, position + 100),))


def test_offsets_that_follow_one_another_are_one_run() -> None:
    places = [Place(1, 0, 10), Place(2, 1, 7), Place(4, 0, 11), Place(5, 0, 12), Place(9, 0, 14), Place(8, 1, 8)]
    assert list(runs_of(places)) == [Run(0, 10, [1, 4, 5]), Run(0, 14, [9]), Run(1, 7, [2, 8])]
    assert list(runs_of([])) == []
    assert [run.offset_of(5) for run in runs_of(places)] == [12, None, None]


async def test_transactions_are_written_together_each_with_its_own_time() -> None:
    ledger = Notebook()
    recorder = Recorder(ledger, topic="t", now=Clock(), pause=0.01)
    for position in (1, 2, 3):
        recorder.observe(relayed(position))
    await ran(recorder, ledger, 3)
    assert len(ledger.writes) == 1
    assert [(each.last, each.topic, each.relayed_at) for each in ledger.batches] == [
        (1, "t", NOON + timedelta(minutes=1)),
        (2, "t", NOON + timedelta(minutes=2)),
        (3, "t", NOON + timedelta(minutes=3)),
    ]


async def test_what_could_not_be_written_is_written_later_with_the_time_that_it_had() -> None:
    ledger = Notebook()
    ledger.away = True
    recorder = Recorder(ledger, topic="t", now=Clock(), pause=0.01)
    recorder.observe(relayed(1))
    task = asyncio.create_task(recorder.run())
    await ledger.tried.wait()
    recorder.observe(relayed(2))
    ledger.away = False
    await written(ledger, 2)
    await ended(task)
    assert [(each.last, each.relayed_at.minute) for each in ledger.batches] == [(1, 1), (2, 2)]


async def test_the_last_transactions_are_written_when_it_is_stopped() -> None:
    ledger = Notebook()
    recorder = Recorder(ledger, topic="t", now=Clock(), pause=60)
    recorder.observe(relayed(1))
    task = asyncio.create_task(recorder.run())
    await written(ledger, 1)
    recorder.observe(relayed(2))
    await ended(task)
    assert [each.last for each in ledger.batches] == [1, 2]


async def test_while_the_database_is_away_for_long_the_oldest_are_let_go() -> None:
    ledger = Notebook()
    recorder = Recorder(ledger, topic="t", now=Clock(), pause=0.01)
    for position in range(1, WAITING + 11):
        recorder.observe(relayed(position))
    await ran(recorder, ledger, WAITING)
    assert [ledger.batches[0].last, ledger.batches[-1].last, len(ledger.batches)] == [11, WAITING + 10, WAITING]


async def ran(recorder: Recorder, ledger: Notebook, count: int) -> None:
    """Let it run until so many are written."""
    task = asyncio.create_task(recorder.run())
    await written(ledger, count)
    await ended(task)


async def written(ledger: Notebook, count: int) -> None:
    async with asyncio.timeout(5):
        while len(ledger.batches) < count:  # noqa: ASYNC110 -- a notebook tells nobody
            await asyncio.sleep(0.005)


async def ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
