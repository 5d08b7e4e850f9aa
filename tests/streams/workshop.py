"""A worker over a story: its queue is read from the log, its model says what the test wants, when it wants."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import count
from pathlib import Path
from uuid import UUID

from adapters.blueprints import outputs_used, render
from adapters.objects.local import LocalObjects
from commands.budgets import OpenBudget
from commands.handling import Caller, Command, Commands
from commands.llm_jobs import ChatMessage, QueueLlmJob
from commands.models import LanguageModel, ModelError, ModelReply, ModelRequest, TextDelta
from commands.sequencer import Answer
from domain.budgets import Budget
from domain.following import LostJob, ReadyJob
from domain.ids import Scope, budget_id
from domain.llm_jobs import LlmJob
from domain.pricing import Conditions, ModelPrices, Price, Quote, Usage
from streams.dispatcher import AttemptRun, Dispatcher, Pace, Spending
from streams.prompts import Prompts
from tests.support.story import Story

EVERYTHING = Scope(kind="global")
QUICK = Pace(lease_seconds=2, heartbeat_seconds=0.05, poll_seconds=0.05, again_seconds=0.05)


@dataclass
class Model:
    """Answers when it is let go; what it was asked is there to be read."""

    asked: list[ModelRequest] = field(default_factory=list[ModelRequest])
    fails: list[ModelError] = field(default_factory=list[ModelError])
    text: str = "An answer."
    usage: Usage | None = None
    """Instead of three tokens read and two written."""
    go: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    pause: asyncio.Event | None = None
    """Between the first token and the rest, until it is set."""

    async def get(self, provider: str, project_id: UUID | None = None) -> LanguageModel:
        """Every provider is this one."""
        return self

    async def stream(self, request: ModelRequest) -> AsyncGenerator[TextDelta | ModelReply, None]:
        self.asked.append(request)
        self.begun.set()
        await self.go.wait()
        if self.fails:
            raise self.fails.pop(0)
        yield TextDelta(self.text)
        if self.pause:
            await self.pause.wait()
        usage = self.usage or Usage.simple(request.model, input_tokens=3, output_tokens=2)
        yield ModelReply(self.text, request.model, "id", "stop", usage)

    async def complete(self, request: ModelRequest) -> ModelReply:
        raise NotImplementedError("the dispatcher streams every answer")

    def conditions(self, request: ModelRequest) -> Conditions:
        return Conditions()

    async def aclose(self) -> None:
        """It holds nothing."""


class OnePrice:
    """Every model costs a dollar a million."""

    def quote(self, provider: str, model: str, at: date) -> Quote:
        price = Price(rates={"input": "1", "output": "1"})
        return Quote(card="one", model=model, prices=ModelPrices(model=model, prices=(price,)))


@dataclass
class Queue:
    """What is queued, from the log; or what a read model that is behind would say."""

    story: Story
    looks: int = 0
    stale: tuple[UUID, ...] = ()
    silent: list[LostJob] = field(default_factory=list[LostJob])

    async def ready(self, limit: int, *, skipping: Collection[UUID] = ()) -> Sequence[ReadyJob]:
        self.looks += 1
        streams = {each.stream_id for each in self.story.events if each.type == LlmJob.Queued.TYPE}
        queued = [each for each in streams if self.story.state(LlmJob, each).status == "queued"]
        return [ReadyJob(each) for each in (*self.stale, *queued) if each not in skipping][:limit]

    async def seconds_to_next(self) -> float | None:
        return None

    async def lost(self, stale_after: float) -> Sequence[LostJob]:
        return self.silent


@dataclass
class Leases:
    """Who has what; never stale by itself."""

    held: dict[UUID, str] = field(default_factory=dict[UUID, str])
    fences: dict[UUID, int] = field(default_factory=dict[UUID, int])
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    renewed: list[set[UUID]] = field(default_factory=list[set[UUID]])
    swept: list[float] = field(default_factory=list[float])

    async def claim(self, jobs: Sequence[ReadyJob], holder: str, stale_after: float) -> Mapping[UUID, int]:
        free = [each.job_id for each in jobs if each.job_id not in self.held]
        self.held.update(dict.fromkeys(free, holder))
        self.fences.update({each: next(self.numbers) for each in free})
        return {each: self.fences[each] for each in free}

    async def renew(self, grants: Mapping[UUID, int], stale_after: float) -> set[UUID]:
        self.renewed.append(set(grants))
        return {each for each, fence in grants.items() if self.fences.get(each) == fence}

    async def release(self, grants: Mapping[UUID, int]) -> None:
        for each, fence in grants.items():
            if self.fences.get(each) == fence:
                del self.held[each], self.fences[each]

    async def sweep(self, stale_for: float) -> None:
        self.swept.append(stale_for)


class Door(Commands):
    """The way to the write side, with somebody beside it who acts before or behind a command."""

    before: Callable[[Command], Awaitable[object]] | None = None
    behind: Callable[[Command], Awaitable[object]] | None = None

    async def send(self, command: Command, caller: Caller, *, expected: Mapping[UUID, int] | None = None) -> Answer:
        """Carry out a command, unless whoever stands before it raises."""
        if self.before:
            await self.before(command)
        answer = await super().send(command, caller, expected=expected)
        if self.behind:
            await self.behind(command)
        return answer


@dataclass
class Workshop:
    """One worker and everything around it."""

    story: Story
    door: Door
    spending: Spending
    model: Model
    queue: Queue
    leases: Leases

    async def queue_job(self, name: str = "job") -> UUID:
        """A chat without a project."""
        job = self.story.id(name)
        messages = [ChatMessage(role="user", content="Hello?")]
        await self.story.given(QueueLlmJob(job_id=job, provider="any", model="some", messages=messages))
        return job

    def job(self, job: UUID) -> LlmJob:
        """As the log has it now."""
        return self.story.state(LlmJob, job)

    @property
    def budget(self) -> Budget:
        """Of everything."""
        return self.story.state(Budget, budget_id(EVERYTHING))

    async def attempt(self, job: UUID, *, worker: str = "one", leased: bool = True) -> AttemptRun:
        """The job's next attempt in a worker's hands."""
        return await AttemptRun.of(self.spending, worker, job, is_leased=lambda: leased)

    async def until(self, kind: str, count: int = 1) -> None:
        """Return when the log has so many events of a type."""
        async with asyncio.timeout(5):
            while sum(each.type == kind for each in self.story.events) < count:
                await self.story.store.wait(len(self.story.events), 0.05)

    @asynccontextmanager
    async def worker(self, slots: int = 4) -> AsyncIterator[Dispatcher]:
        """A running dispatcher."""
        made = Dispatcher(worker="one", spending=self.spending, queue=self.queue, leases=self.leases, slots=slots)
        running = asyncio.create_task(made.run())
        try:
            yield made
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def workshop(story: Story, folder: Path) -> Workshop:
    """With a dollar to spend."""
    await story.given(OpenBudget(scope=EVERYTHING, limit=Decimal(1)))
    objects, model = LocalObjects(folder, story.keyring), Model()
    prompts = Prompts(story.store, story.keyring, objects, render, outputs_used)
    door = Door(story.sequencer, story.keyring)
    spending = Spending(door, story.store, prompts, model, OnePrice(), objects, story.clock, QUICK)
    return Workshop(story, door, spending, model, Queue(story), Leases())
