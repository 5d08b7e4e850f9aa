"""Deadlines: what is due is asked for once, what was refused does not stand in the way of the rest."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from commands.handling import Command
from domain.following import Due
from domain.llm_jobs import LlmJob
from streams import deadlines
from streams.deadlines import Deadlines
from tests.streams.workshop import Workshop

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Table:
    """Rows as a read model would have them; they stay, as those of a paused project do."""

    rows: list[Due] = field(default_factory=list[Due])
    left: float | None = None
    looks: int = 0

    async def due(self, limit: int, *, skipping: Collection[int] = ()) -> Sequence[Due]:
        self.looks += 1
        return [each for each in self.rows if each.position not in skipping][:limit]

    async def seconds_to_next(self) -> float | None:
        return self.left


class Alone:
    """Nobody else wants to lead."""

    @asynccontextmanager
    async def leading(self, what: str) -> AsyncIterator[None]:
        yield

    async def check(self, what: str) -> None:
        """It still leads."""


@asynccontextmanager
async def running(shop: Workshop, table: Table) -> AsyncIterator[None]:
    """A runner over the story."""
    made = Deadlines(table, reader=shop.story.store, commands=shop.door, leadership=Alone())
    task = asyncio.create_task(made.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def retrying(shop: Workshop, name: str) -> Due:
    """A job whose retry is scheduled, and the deadline for it."""
    job = await shop.queue_job(name)
    attempt = await shop.attempt(job, leased=False)
    await attempt.run()
    scheduled = shop.story.events[-2]
    assert scheduled.type == LlmJob.RetryScheduled.TYPE
    return Due(scheduled.type, job, job, scheduled.position, LONG_AGO)


async def test_a_retry_goes_back_to_the_queue_when_the_logs_clock_says_so(shop: Workshop) -> None:
    table = Table([await retrying(shop, "one")])
    shop.story.clock.advance(60)
    async with running(shop, table):
        await shop.until("llm_job.resumed")
    assert shop.job(table.rows[0].stream_id).status == "queued"


async def test_what_is_refused_as_not_due_leaves_room_for_what_is(shop: Workshop) -> None:
    early = [await retrying(shop, f"early {number}") for number in range(deadlines.BATCH)]
    due = await retrying(shop, "due")
    shop.story.clock.advance(60)
    for each in early:  # the table is behind: these are long back in the queue
        await shop.story.given(deadlines.RequeueLlmJob(job_id=each.stream_id))
    async with running(shop, Table([*early, due])):
        await shop.until("llm_job.resumed", deadlines.BATCH + 1)
    assert shop.job(due.stream_id).status == "queued"


async def test_a_deadline_that_stays_refused_costs_no_attention(shop: Workshop) -> None:
    table = Table([await retrying(shop, "not yet")])
    async with running(shop, table):
        await asyncio.sleep(0.5)
    assert table.looks <= 3


async def test_a_deadline_that_fails_unexpectedly_does_not_stop_the_others(shop: Workshop) -> None:
    broken, due = await retrying(shop, "broken"), await retrying(shop, "due")
    shop.story.clock.advance(60)
    failed = asyncio.Event()

    async def fail(command: Command) -> None:
        if isinstance(command, deadlines.RequeueLlmJob) and command.job_id == broken.stream_id:
            failed.set()
            raise KeyError("a bug")

    shop.door.before = fail
    table = Table([broken])
    async with running(shop, table):
        await failed.wait()
        table.rows.append(due)
        await shop.until("llm_job.resumed")
    assert shop.job(due.stream_id).status == "queued"
