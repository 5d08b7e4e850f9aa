"""The load of LLM jobs: one worker process of toybox against a provider that answers at once, timed job by job."""

import asyncio
import random
import sys
import time
from collections import deque
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Final
from uuid import UUID

import orjson
import uvloop
from pydantic import SecretStr

from bench.load.figures import figures
from bench.load.profiling import profiled
from bench.load.turns import report, wait_for_go
from commands.models import LanguageModel, ModelReply, ModelRequest, TextDelta
from commands.sequencer import BatchReport
from domain.following import LostJob, ReadyJob
from domain.pricing import Conditions, Usage
from domain.values import derived_id
from faults.crew.sending import quiet_logs
from streams.dispatcher import AttemptRun, Dispatcher, Spending
from toybox.serving.collector import spare_what_stands
from toybox.settings import Role, Settings
from toybox.system import running

PROVIDER, MODEL = "scripted", "scripted-small"


@dataclass(frozen=True, slots=True)
class JobsOrder:
    """All that a process is told."""

    conninfo: str
    folder: str
    roles: list[Role]
    jobs: int = 0
    """How many wait in the queue."""
    slots: int = 64
    alone: bool = False
    """Admission and settlement and nothing else: the queue and the leases are in memory, nobody follows the log."""
    profile: bool = False

    @property
    def settings(self) -> Settings:
        """As its environment would have them."""
        return Settings(
            data_dir=Path(self.folder),
            database_url=SecretStr(self.conninfo),
            worker_slots=self.slots,
            pool_size=10,
        )


ANSWER: Final = ModelReply(
    text="At once.",
    model=MODEL,
    response_id="instant",
    finish_reason="stop",
    usage=Usage.simple(MODEL, input_tokens=5, output_tokens=2),
)
CONDITIONS: Final = Conditions(reading=frozenset({"input"}))


THINKS_SECONDS: Final = 0.05
"""At most. Answers that all come at the same moment would march through the worker in step; real ones never do."""


class Instant:
    """A model in this very process that hardly thinks, and says the same to everybody: it is not measured."""

    async def get(self, provider: str, project_id: UUID | None = None) -> LanguageModel:  # noqa: ARG002 -- it is all of them
        """Itself."""
        return self

    async def stream(self, request: ModelRequest) -> AsyncGenerator[TextDelta | ModelReply, None]:  # noqa: ARG002 -- whatever it is
        await asyncio.sleep(random.uniform(0, THINKS_SECONDS))
        yield TextDelta("At once.")
        yield ANSWER

    async def complete(self, request: ModelRequest) -> ModelReply:
        async for piece in self.stream(request):
            if isinstance(piece, ModelReply):
                return piece
        raise AssertionError("it always replies")

    def conditions(self, request: ModelRequest) -> Conditions:  # noqa: ARG002 -- asks for nothing special
        """It has no cache."""
        return CONDITIONS

    async def aclose(self) -> None:
        """Nothing is open."""


def job_number(number: int) -> UUID:
    """The id of the job with this number."""
    return derived_id("bench-job", number)


class MemoryQueue:
    """Every job of the bench, each once."""

    def __init__(self, jobs: int) -> None:
        self._left = deque(map(job_number, range(jobs)))

    async def ready(self, limit: int, *, skipping: Collection[UUID] = ()) -> Sequence[ReadyJob]:  # noqa: ARG002 -- each comes once
        """The next ones."""
        return [ReadyJob(self._left.popleft()) for _ in range(min(limit, len(self._left)))]

    async def seconds_to_next(self) -> float | None:
        """None is for later."""

    async def lost(self, stale_after: float) -> Sequence[LostJob]:  # noqa: ARG002 -- nobody dies here
        """None."""
        return []


class MemoryLeases:
    """Everything is free for the only worker."""

    async def claim(self, jobs: Sequence[ReadyJob], holder: str, stale_after: float) -> Mapping[UUID, int]:  # noqa: ARG002
        """All of them."""
        return {each.job_id: 1 for each in jobs}

    async def renew(self, grants: Mapping[UUID, int], stale_after: float) -> set[UUID]:  # noqa: ARG002
        """All of them."""
        return set(grants)

    async def release(self, grants: Mapping[UUID, int]) -> None:
        """As good as done."""

    async def sweep(self, stale_for: float) -> None:
        """Nothing is left behind."""


class Timed(AttemptRun):
    """Notes how long it took from the queue to the outcome in the log."""

    took: ClassVar[list[float]] = []
    wanted: ClassVar[int] = 0
    done: ClassVar[asyncio.Event]

    async def run(self) -> float:
        began = time.perf_counter()
        waits = await super().run()
        Timed.took.append(time.perf_counter() - began)
        if len(Timed.took) >= Timed.wanted:
            Timed.done.set()
        return waits


class TimedDispatcher(Dispatcher):
    """Begins when it is told to."""

    ATTEMPT = Timed
    go: ClassVar[asyncio.Event]
    order: ClassVar[JobsOrder]

    def __init__(self, *, spending: Spending, **more: Any) -> None:
        if self.order.alone:
            more |= {"queue": MemoryQueue(self.order.jobs), "leases": MemoryLeases()}
        super().__init__(spending=replace(spending, models=Instant()), **more)

    async def run(self) -> None:
        await TimedDispatcher.go.wait()
        await super().run()


async def work(order: JobsOrder) -> None:
    """Take everything that waits, as fast as it goes."""
    batches: list[BatchReport] = []
    Timed.done, Timed.wanted, TimedDispatcher.go = asyncio.Event(), order.jobs, asyncio.Event()
    TimedDispatcher.order = order
    roles = () if order.alone else order.roles
    async with running(order.settings, roles=roles, observe=batches.append, dispatcher=TimedDispatcher) as system:
        working = asyncio.create_task(system.dispatcher.run()) if order.alone else None
        await asyncio.sleep(0.5)
        spare_what_stands()
        await asyncio.to_thread(wait_for_go)
        batches.clear()
        cpu, began = time.process_time(), time.perf_counter()
        with profiled(order.profile):
            TimedDispatcher.go.set()
            await _until_done(working)
        seconds, used = time.perf_counter() - began, time.process_time() - cpu
        if working:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
        await asyncio.to_thread(
            report,
            figures(
                Timed.took,
                seconds,
                used,
                batch_size=sum(each.requests for each in batches) / len(batches),
                events=sum(each.events for each in batches) / seconds,
                commands=sum(each.requests for each in batches) / seconds,
                in_batches_share=sum(each.total_seconds for each in batches) / seconds,
                waiting_for_lock_share=sum(each.lock_seconds for each in batches) / seconds,
                processor_share=used / seconds,
            ),
        )


async def _until_done(working: asyncio.Task[None] | None) -> None:
    """Until the last job has ended; a dispatcher that breaks must not be waited for."""
    done = asyncio.create_task(Timed.done.wait())
    await asyncio.wait([done, working] if working else [done], return_when=asyncio.FIRST_COMPLETED)
    if not done.done() and working:
        working.result()


async def attend(order: JobsOrder) -> None:
    """The roles that are not measured, until the measurement is over."""
    async with running(order.settings, roles=order.roles):
        spare_what_stands()
        await asyncio.to_thread(wait_for_go)
        await asyncio.to_thread(sys.stdin.readline)


if __name__ == "__main__":
    quiet_logs()
    told = JobsOrder(**orjson.loads(sys.argv[1]))
    uvloop.run(work(told) if "worker" in told.roles else attend(told))
