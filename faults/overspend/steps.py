"""Workers that kill themselves with -9 at one named step between the provider's last byte and the end of the work."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar
from uuid import UUID

import uvloop

from adapters.postgres.event_store import PostgresBatch
from commands.handling import Command
from commands.models import LanguageModel, ModelError, ModelReply, ModelRequest, TextDelta
from commands.ports import CommandRow
from domain.log import StoredEvent
from domain.pricing import Conditions
from domain.values import Text
from faults.dag.process import only_complaints
from faults.overspend.plants import PLANTS
from faults.overspend.process import BRISK, Order
from streams.dispatcher import AttemptRun, Dispatcher
from streams.dispatcher.attempt import _Prepared
from toybox.system import running

STEPS: Mapping[str, str] = {
    "admitted": "everything is held, and not one byte has left",
    "first piece": "the answer has begun",
    "last byte": "the provider has said all, its count as well",
    "failed": "the provider has broken off",
    "before keep": "the answer's text is about to be kept",
    "kept": "the text is where it belongs",
    "before outcome": "the outcome is known and about to be told",
    "before commit": "the outcome is decided, its append not sent",
    "committed": "the outcome is in the log, and nobody has been told",
    "recorded": "the worker knows that the outcome is in the log",
    "before release": "only the lease is left to give back",
}
OUTCOMES = ("llm_job.completed", "llm_job.failed", "llm_job.retry_scheduled")


@dataclass(frozen=True, slots=True)
class StepOrder(Order):
    """A worker, and which jobs are its end, where."""

    marks: str = ""
    """A folder with a file for each death: nobody dies twice at the same place."""
    deaths: Mapping[str, str] = field(default_factory=dict[str, str])


class Fate:
    """Who dies where, in this process."""

    order: ClassVar[StepOrder]

    @classmethod
    def reach(cls, job: UUID, attempt: int, step: str) -> None:
        """Go on, or die here; the mark says in which attempt."""
        if cls.order.deaths.get(str(job)) != step:
            return
        try:
            with (Path(cls.order.marks) / str(job)).open("x") as mark:
                mark.write(str(attempt))
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class _Watched:
    """A model whose first piece is a step."""

    model: LanguageModel
    job: UUID
    attempt: int

    async def stream(self, request: ModelRequest) -> AsyncGenerator[TextDelta | ModelReply, None]:
        async with aclosing(self.model.stream(request)) as pieces:
            async for piece in pieces:
                yield piece
                Fate.reach(self.job, self.attempt, "first piece")

    async def complete(self, request: ModelRequest) -> ModelReply:
        return await self.model.complete(request)

    def conditions(self, request: ModelRequest) -> Conditions:
        return self.model.conditions(request)

    async def aclose(self) -> None:
        await self.model.aclose()


class Mortal(AttemptRun):
    """Passes every step."""

    async def run(self) -> float:
        waits = await super().run()
        Fate.reach(self.job.id, self.attempt, "before release")
        return waits

    async def _call(self, prepared: _Prepared, queue_ms: int) -> None:
        Fate.reach(self.job.id, self.attempt, "admitted")
        await super()._call(prepared, queue_ms)

    async def _answer(self, model: LanguageModel, request: ModelRequest) -> ModelReply:
        try:
            reply = await super()._answer(_Watched(model, self.job.id, self.attempt), request)
        except ModelError:
            Fate.reach(self.job.id, self.attempt, "failed")
            raise
        Fate.reach(self.job.id, self.attempt, "last byte")
        return reply

    async def _keep(self, text: str) -> str | Text:
        answered = self._started_at > 0  # before, it is the request that is kept
        if answered:
            Fate.reach(self.job.id, self.attempt, "before keep")
        kept = await super()._keep(text)
        if answered:
            Fate.reach(self.job.id, self.attempt, "kept")
        return kept

    async def _record(self, outcome: Command, key: str = "outcome") -> bool:
        Fate.reach(self.job.id, self.attempt, "before outcome")
        taken = await super()._record(outcome, key)
        Fate.reach(self.job.id, self.attempt, "recorded")
        return taken


class MortalDispatcher(Dispatcher):
    """See `Mortal`."""

    ATTEMPT = Mortal


def _mind_commits() -> None:
    commit = PostgresBatch.commit

    async def minded(self: PostgresBatch, events: Sequence[StoredEvent], commands: Sequence[CommandRow]) -> None:
        told = [(each.stream_id, each.payload()["attempt"]) for each in events if each.type in OUTCOMES]
        for job, attempt in told:
            Fate.reach(job, attempt, "before commit")
        await commit(self, events, commands)
        for job, attempt in told:
            Fate.reach(job, attempt, "committed")

    PostgresBatch.commit = minded  # type: ignore[method-assign] -- where a worker dies


async def live(order: StepOrder) -> None:
    """Work until killed."""
    async with running(order.settings, roles=order.roles, environ={}, pace=BRISK, dispatcher=MortalDispatcher):
        await asyncio.Event().wait()


def begin_steps(order: StepOrder, errors: Path) -> None:
    """What a forked worker does, its complaints in a file."""
    with errors.open("ab") as stderr:
        os.dup2(stderr.fileno(), 2)
    only_complaints()
    Fate.order = order
    PLANTS[order.plant][0]()
    _mind_commits()
    uvloop.run(live(order))
