"""The load of LLM jobs: one worker process of toybox against a provider that answers at once, timed job by job."""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import orjson
import uvloop
from pydantic import SecretStr

from bench.load.figures import figures
from bench.load.profiling import profiled
from bench.load.turns import report, wait_for_go
from commands.models import LanguageModel, ModelReply, ModelRequest, TextDelta
from commands.sequencer import BatchReport
from domain.pricing import Conditions, Usage
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


class Instant:
    """A model in this very process that answers without thinking."""

    async def get(self, provider: str, project_id: UUID | None = None) -> LanguageModel:  # noqa: ARG002 -- it is all of them
        """Itself."""
        return self

    async def stream(self, request: ModelRequest) -> AsyncGenerator[TextDelta | ModelReply, None]:
        yield TextDelta("At once.")
        yield ModelReply(
            text="At once.",
            model=request.model,
            response_id="instant",
            finish_reason="stop",
            usage=Usage.simple(request.model, input_tokens=5, output_tokens=2),
        )

    async def complete(self, request: ModelRequest) -> ModelReply:
        async for piece in self.stream(request):
            if isinstance(piece, ModelReply):
                return piece
        raise AssertionError("it always replies")

    def conditions(self, request: ModelRequest) -> Conditions:  # noqa: ARG002 -- asks for nothing special
        """It has no cache."""
        return Conditions(reading=frozenset({"input"}))

    async def aclose(self) -> None:
        """Nothing is open."""


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

    def __init__(self, *, spending: Spending, **more: Any) -> None:
        super().__init__(spending=replace(spending, models=Instant()), **more)

    async def run(self) -> None:
        await TimedDispatcher.go.wait()
        await super().run()


async def work(order: JobsOrder) -> None:
    """Take everything that waits, as fast as it goes."""
    batches: list[BatchReport] = []
    Timed.done, Timed.wanted, TimedDispatcher.go = asyncio.Event(), order.jobs, asyncio.Event()
    async with running(order.settings, roles=order.roles, observe=batches.append, dispatcher=TimedDispatcher):
        await asyncio.sleep(0.5)
        spare_what_stands()
        await asyncio.to_thread(wait_for_go)
        batches.clear()
        cpu, began = time.process_time(), time.perf_counter()
        with profiled(order.profile):
            TimedDispatcher.go.set()
            await Timed.done.wait()
        seconds, used = time.perf_counter() - began, time.process_time() - cpu
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
