"""Workers among the others: lost jobs, limits, the moment in which they stop, and answers of the log that are lost."""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from commands.handling import Command
from commands.llm_jobs import AdmitLlmJob, ChatMessage, QueueLlmJob
from commands.models import ModelError
from domain.errors import Unavailable
from domain.following import LostJob, ReadyJob
from domain.ids import attempt_id
from domain.log import LogReader, StoredEvent
from streams.dispatcher import AttemptRun
from tests.commands.staging import admit
from tests.streams.workshop import Leases, Queue, Workshop


@dataclass
class Line(Queue):
    """Jobs in the order in which they stand here; remembers whose turn it was."""

    waiting: list[UUID] = field(default_factory=list[UUID])
    given: list[UUID] = field(default_factory=list[UUID])

    async def ready(self, limit: int, *, skipping: Collection[UUID] = ()) -> Sequence[ReadyJob]:
        turns = [each for each in self.waiting if each not in skipping][:limit]
        self.given += turns
        return [ReadyJob(each) for each in turns]


async def test_a_lost_job_that_the_log_does_not_have_ends_no_call_and_keeps_no_other_lost(shop: Workshop) -> None:
    lost = await shop.queue_job("lost")
    await shop.story.given(admit(lost, "0.1", worker="dead", provider="any", model="some", hold_seconds=700))
    shop.queue.silent = [LostJob(shop.story.id("nothing"), 1), LostJob(lost, 1)]
    job = await shop.queue_job()
    async with shop.worker():
        await shop.model.begun.wait()
        await shop.until("llm_job.attempt_lost")
        shop.model.go.set()
        await shop.until("llm_job.completed", 2)
    assert (shop.job(job).status, shop.job(lost).status) == ("completed", "completed")
    assert len([each for each in shop.model.asked if each.attempt_id == attempt_id(job, 1)]) == 1


async def test_a_backlog_behind_a_rate_limit_is_not_gone_through_job_by_job_and_holds_up_nobody_else(
    shop: Workshop,
) -> None:
    shop.model.fails.append(ModelError("rate_limited", "slow down", sent=True, may_cost=False, retry_after=60))
    shop.model.go.set()
    await (await shop.attempt(await shop.queue_job("first"))).run()
    backlog = [await shop.queue_job(f"job {number}") for number in range(100)]
    line = Line(shop.story, waiting=backlog)
    async with replace(shop, queue=line).worker(slots=2):
        await asyncio.sleep(1.5)
        assert 2 < len(line.given) < 30
        other, asked_at = shop.story.id("other"), time.monotonic()
        messages = [ChatMessage(role="user", content="Hello?")]
        await shop.story.given(QueueLlmJob(job_id=other, provider="another", model="some", messages=messages))
        line.waiting.insert(0, other)
        await shop.until("llm_job.completed")
        assert time.monotonic() - asked_at < 0.3
    assert shop.job(other).status == "completed"


@dataclass
class SlowLeases(Leases):
    """Gives leases out when it is let go."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def claim(self, jobs: Sequence[ReadyJob], holder: str, stale_after: float) -> Mapping[UUID, int]:
        self.asked.set()
        await self.go.wait()
        return await super().claim(jobs, holder, stale_after)


async def test_a_job_that_is_claimed_while_the_worker_begins_to_drain_is_given_back(shop: Workshop) -> None:
    job = await shop.queue_job()
    leases = SlowLeases()
    async with replace(shop, leases=leases).worker() as made:
        await leases.asked.wait()
        await made.drain(0.1)
        leases.go.set()
        await asyncio.sleep(0.1)
        assert not leases.held
        assert not made.busy
    assert shop.job(job).status == "queued"
    assert not shop.model.asked


class Forgetful:
    """A log that is away when it is asked for the first time."""

    def __init__(self, reader: LogReader) -> None:
        self._reader, self.is_away = reader, False

    async def read_streams(self, stream_ids: Collection[UUID]) -> Mapping[UUID, Sequence[StoredEvent]]:
        if self.is_away:
            self.is_away = False
            raise Unavailable("away")
        return await self._reader.read_streams(stream_ids)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)


@pytest.mark.parametrize("lost", ["the answer to it", "what it led to"])
async def test_an_admission_whose_outcome_is_not_known_is_asked_for_again_and_not_paid_for_in_vain(
    shop: Workshop, lost: str
) -> None:
    job = await shop.queue_job()
    reader = Forgetful(shop.story.store)
    spending = replace(shop.spending, reader=reader)  # type: ignore[arg-type]

    async def break_off(command: Command) -> None:
        if isinstance(command, AdmitLlmJob):
            shop.door.behind = None
            if lost == "the answer to it":
                raise Unavailable("away")
            reader.is_away = True

    shop.door.behind = break_off
    shop.model.go.set()
    await (await AttemptRun.of(spending, "one", job)).run()
    assert shop.job(job).status == "completed"
    assert (shop.budget.settled, shop.budget.held) == (Decimal("0.000005"), 0)
