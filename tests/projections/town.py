"""A busy town: projects that run by the real commands and reactions, with everything that can happen to them."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from functools import cache
from random import Random
from typing import Any, TypeVar
from uuid import UUID

from commands.agents import (
    AddAgent,
    CancelAgent,
    ConfigureAgent,
    DefineLibraryAgent,
    RemoveAgent,
    ReportAgentProgress,
    ResetAgent,
    StartAgentAttempt,
    WantedReview,
)
from commands.assets import ApproveAsset, RegisterAsset, RejectAsset, SupersedeAsset
from commands.budgets import (
    ChangeBudgetLimit,
    ChangeCostSettings,
    CloseBudget,
    ExpireHold,
    OpenBudget,
    RollBudgetWindows,
)
from commands.checkpoints import EscalateCheckpoint, ExpireCheckpoint, ResolveCheckpoint, ViewCheckpoint
from commands.handling import Command
from commands.identity.access_keys import IssueAccessKey, RevokeAccessKey, RotateAccessKey
from commands.llm_jobs import CancelLlmJob, ChatMessage, DenyLlmJob, LoseAttempt, QueueLlmJob, RequeueLlmJob
from commands.projects import (
    AddPhase,
    ArchiveProject,
    CancelProject,
    ChangeAiConfig,
    ChangeProjectSettings,
    ChangeQualitySettings,
    CreateProject,
    GivenInput,
    InitializeProject,
    PauseProject,
    ResetProject,
    ResumeProject,
    StartProject,
)
from commands.provider_keys import EndKeyOverlap, NoteKeyUse, RevokeProviderKey, RotateProviderKey, StoreProviderKey
from commands.providers import ConfigureProvider, RegisterProvider, RemoveProvider
from domain.agents import Agent
from domain.budgets import Budget, Window
from domain.checkpoints import Asset, Checkpoint, Decision
from domain.identity.access_keys import AccessKey
from domain.ids import Scope, budget_id, provider_key_id
from domain.kernel import Aggregate
from domain.llm_jobs import LlmJob
from domain.projects import Project, QualitySettings
from domain.providers import ProviderConfig
from domain.values import AiConfig
from tests.commands.staging import admit, complete, fail
from tests.projections.outage import outage
from tests.projections.playing import Play
from tests.projections.queueing import choosing, queueing
from tests.projections.repricing import bring_cards, think_again
from tests.projections.town_webhooks import webhook_commands
from tests.support.story import Story, telling

A = TypeVar("A", bound=Aggregate)
WHISPER = "whispered by a person"
"""Stands in every free text: no read model may hold it in the clear."""
DECISIONS: Sequence[Decision] = ("approve", "edit", "reject", "respond")
GRAPH: Sequence[tuple[str, str, Sequence[str]]] = [
    ("collect", "reader", ()),
    ("collect", "checker", ("reader",)),
    ("collect", "counter", ("reader",)),
    ("collect", "joiner", ("checker", "counter")),
    ("write", "writer", ("joiner",)),
    ("write", "editor", ("writer",)),
]


class Town(Play):
    """One log, its people, and a die that decides what they do."""

    def __init__(self, story: Story, seed: int) -> None:
        super().__init__(story, Random(seed))
        self.streams: dict[type[Aggregate], dict[UUID, Any]] = {}
        self._projects = 0
        self._made = 0
        self.lost: list[tuple[LlmJob, int]] = []

    async def live(self, events: int) -> None:
        """Go on until the log is that long."""
        await self._settle()
        deeds: list[tuple[int, Callable[[], Any]]] = [
            (40, self._admit), (40, self._report), (12, self._review), (5, self._pass_time), (3, self._operate),
            (2, self._budget), (1, self._file), (2, self._project), (1, self._keys), (1, self._chat),
        ]  # fmt: skip
        weights, actions = zip(*deeds, strict=True)
        while len(self.events) < events:
            await self.dice.choices(actions, weights)[0]()
            await self.react()

    def some(self, kind: type[A], wanted: Callable[[A], bool] = lambda _: True) -> A | None:
        """One of those, by the die."""
        found = [each for each in self.streams.get(kind, {}).values() if wanted(each)]
        return self.dice.choice(found) if found else None

    def remember(self, stream: UUID, known: Aggregate) -> None:
        """What is over is no longer drawn."""
        over = isinstance(known, LlmJob) and known.status in ("completed", "failed", "cancelled")
        over = over or (isinstance(known, Checkpoint) and known.status != "pending")
        same = self.streams.setdefault(type(known), {})
        if over:
            same.pop(stream, None)
        else:
            same[stream] = known

    # --- what people and workers do ---

    async def _settle(self) -> None:
        await self.send(ChangeCostSettings(shape=False))
        await bring_cards(self)
        await choosing(self)
        await self.send(OpenBudget(scope=Scope(kind="global"), limit=Decimal(400)))
        await self.send(RegisterProvider(name="scripted", kind="scripted"))
        await outage(self.story, self.send, WHISPER)
        for name in ("reader", "old-hand"):
            await self.send(DefineLibraryAgent(name=name, role="clerk", instructions=WHISPER, prompt=WHISPER))
        await self.react()
        for _ in range(3):
            await self._project()
        await self._operate()
        await self.react()
        await self._pay()

    async def limit(self) -> None:
        """Limits in windows; at the end, so that towns stay as they were."""
        scope = Scope(kind="provider", provider="scripted")
        for command in (
            OpenBudget(scope=scope, limit=Decimal(10**6), window=Window(kind="rolling", hours=1)),
            OpenBudget(scope=scope, limit=Decimal(10**6), window=Window(kind="day")),
            CloseBudget(budget_id=budget_id(scope), name="usd-day-utc"),
        ):
            await self.send(command)
        self.story.clock.advance(3600)
        await self.send(RollBudgetWindows(budget_id=budget_id(scope)))
        await self.react()

    async def _pay(self) -> None:
        """Everything that can happen to provider keys and cost settings; no die, so that towns stay as they were."""

        def kept(number: int, **more: object) -> dict[str, Any]:
            facts = {"kept_at": self.story.clock.now, "last_four": "abcd", "fingerprint": f"{number:064x}"}
            return {"secret_id": UUID(int=number), **facts, **more}

        project = next(iter(self.streams[Project]))
        one, own = provider_key_id("scripted", "default"), provider_key_id("scripted", "own")
        for command in (
            ChangeCostSettings(),
            StoreProviderKey(**kept(1, provider="scripted")),
            NoteKeyUse(key_id=one, secret_id=UUID(int=1)),
            RotateProviderKey(**kept(2, key_id=one, overlap_seconds=0)),
            EndKeyOverlap(key_id=one, secret_id=UUID(int=1)),
            RotateProviderKey(**kept(3, key_id=one)),
            StoreProviderKey(**kept(4, provider="scripted", label="own", project_id=project)),
            RevokeProviderKey(key_id=own),
            StoreProviderKey(**kept(5, provider="scripted", label="own", project_id=project)),
            *webhook_commands(project, self.story.clock.now),
        ):
            await self.send(command)

    async def _project(self) -> None:
        """A new one, unless enough of them are under way."""
        if len([each for each in self.streams.get(Project, {}).values() if each.status in ("running", "paused")]) > 3:
            return
        self._projects += 1
        project = self.story.id("project", self._projects)
        ai = AiConfig(provider="scripted", model="scripted-small", temperature=Decimal("0.5"))
        quality = QualitySettings(checkpoints=["checker"], retries=1, minimum_score=Decimal("0.8"))
        name = f"Project {self._projects}"
        await self.send(CreateProject(project_id=project, name=name, description=WHISPER, ai=ai, quality=quality))
        for phase in ("collect", "write"):
            await self.send(AddPhase(project_id=project, name=phase))
        for phase, agent, needs in GRAPH:
            review = (
                WantedReview(title="Good enough?", question=WHISPER, expires_in_seconds=60)
                if agent == "editor"
                else None
            )
            facts: dict[str, Any] = {"project_id": project, "phase": phase, "name": agent, "depends_on": list(needs)}
            skip = "skip" if self.chance(30) else "block"
            await self.send(AddAgent(**facts, prompt=WHISPER, on_failure=skip, checkpoint=review, library="reader"))
        if self.chance(30):
            extra = AddAgent(project_id=project, phase="write", name="spare", depends_on=[])
            await self.send(extra)
            await self.send(RemoveAgent(agent_id=extra.streams()[1]))
            if self.chance(60):
                await self.send(extra)
        if self.chance(60):
            await self.send(
                OpenBudget(scope=Scope(kind="project", project_id=project), limit=Decimal(self._die(3, 20)))
            )
        if self.chance(30):
            scope = Scope(kind="phase", project_id=project, phase="write")
            await self.send(OpenBudget(scope=scope, limit=Decimal(2)))
        given = [GivenInput(name="topic", text=WHISPER)]
        await self.send(InitializeProject(project_id=project, inputs=given))
        await self.send(StartProject(project_id=project))

    async def _admit(self) -> None:
        job = self.some(LlmJob, lambda each: each.status == "queued")
        if job is None:
            return
        attempt, project = job.attempt + 1, job.project_id
        if self.chance(2):
            facts: dict[str, Any] = {"kind": "price_unknown", "detail": WHISPER}
            await self.send(DenyLlmJob(job_id=job.id, attempt=attempt, project_id=project, **facts))
            return
        bound = Decimal(self._die(1, 12)) / 8
        await self.send(admit(job.id, str(bound), attempt, project_id=project, hold_seconds=700))

    async def _report(self) -> None:
        if self.lost and self.chance(30):
            job, attempt = self.lost.pop(self.dice.randrange(len(self.lost)))
            late = complete if self.chance(70) else fail
            await self.send(late(job.id, "0.0625", attempt, project_id=job.project_id))
            return
        job = self.some(LlmJob, lambda each: each.status == "running")
        if job is None:
            return
        number, project = job.attempt, job.project_id
        match self.dice.choices(range(5), (70, 12, 8, 7, 3))[0]:
            case 0:
                amount = self.dice.choice(["0.0625", "0.1", "0.25", None, "0.000000000001", "2"])
                await self.send(complete(job.id, amount, number, project_id=project))
            case 1:
                await self.send(fail(job.id, None, number, project_id=project, sent=self.chance(50)))
            case 2:
                bad: dict[str, Any] = {
                    "kind": self.dice.choice(["invalid_request", "timeout", "cut"]),
                    "retryable": False,
                    "detail": WHISPER,
                }
                await self.send(fail(job.id, "0.01", number, project_id=project, **bad))
            case 3:
                if await self.send(LoseAttempt(job_id=job.id, attempt=number, project_id=project)):
                    self.lost.append((job, number))
            case _:
                await self.send(CancelLlmJob(job_id=job.id, reason="not_wanted"))
                self.lost.append((job, number))

    async def _review(self) -> None:
        agent = self.some(Agent, lambda each: each.status == "running")
        if agent and self.chance(20):
            facts: dict[str, Any] = {"run": agent.run, "attempt": agent.attempt, "percentage": self._die(0, 100)}
            await self.send(ReportAgentProgress(agent_id=agent.id, **facts))
        found = self.some(Checkpoint)
        if found is None or self.chance(30):
            return
        of: dict[str, Any] = {"project_id": found.project_id, "checkpoint_id": found.id}
        if self.chance(30):
            await self.send(ViewCheckpoint(checkpoint_id=found.id))
        if self.chance(20):
            await self.send(EscalateCheckpoint(**of, note=WHISPER))
        decision = self.dice.choices(DECISIONS, (50, 15, 15, 20))[0]
        edit: dict[str, Any] = (
            {"content_digest": self._digest(), "content_size": self._die(1, 9999)} if decision == "edit" else {}
        )
        await self.send(ResolveCheckpoint(**of, decision=decision, digest=found.digest, comment=WHISPER, **edit))

    async def _pass_time(self) -> None:
        """Let time pass and do what has become due."""
        self.story.clock.advance(self.dice.choice([1, 10, 100, 800]))
        now = self.story.clock.now
        for agent in list(self.streams.get(Agent, {}).values()):
            if agent.retry_at and agent.retry_at <= now:
                facts: dict[str, Any] = {"run": agent.run, "attempt": agent.next_attempt}
                await self.send(StartAgentAttempt(agent_id=agent.id, **facts))
        for job in list(self.streams.get(LlmJob, {}).values()):
            if job.status == "retrying" and job.due_at <= now:
                await self.send(RequeueLlmJob(job_id=job.id))
        for each in list(self.streams.get(Checkpoint, {}).values()):
            if each.due_at and each.due_at <= now:
                await self.send(ExpireCheckpoint(checkpoint_id=each.id))
        for budget in list(self.streams.get(Budget, {}).values()):
            for attempt, hold in list(budget.holds.items()):
                if hold.expires_at <= now:
                    await self.send(ExpireHold(budget_id=budget.id, attempt_id=attempt))

    async def _operate(self) -> None:
        project = self.some(Project, lambda each: self.chance(10) or each.status in ("running", "paused"))
        agent = self.some(Agent, lambda each: project is not None and each.project_id == project.id)
        if project is None or agent is None or agent.project_id is None:
            return
        of: dict[str, Any] = {"project_id": project.id}
        deeds: list[Command] = [
            PauseProject(**of, note=WHISPER),
            *[ResumeProject(project_id=each) for each in self.streams[Project]],
            ResetProject(**of, what=self.dice.choice(["all", "failed"])),
            StartProject(**of),
            ChangeProjectSettings(**of, name=f"{project.name}'", description=WHISPER),
            ChangeQualitySettings(**of, quality=QualitySettings(checkpoints=["writer"], retries=0)),
            ChangeAiConfig(**of, ai=AiConfig(provider="scripted", model="scripted-large")),
            ResetAgent(agent_id=agent.id),
            CancelAgent(agent_id=agent.id, project_id=agent.project_id, note=WHISPER),
            ConfigureAgent(agent_id=agent.id, project_id=agent.project_id, instructions=WHISPER, retries=2),
            ConfigureProvider(name="scripted", config=ProviderConfig(timeout_seconds=self._die(10, 99))),
            RemoveProvider(name="scripted"),
            RegisterProvider(name="scripted", kind="scripted"),
        ]
        if self._projects > 4 and self.chance(10):
            await self.send(CancelProject(**of, note=WHISPER))
            await self.send(ArchiveProject(**of))
            return
        for deed in self.dice.sample(deeds, 4):
            await self.send(deed)

    async def _budget(self) -> None:
        budget = self.some(Budget)
        if budget is None:
            return
        if self.chance(15):
            await self.send(CloseBudget(budget_id=budget.id))
            await self.send(OpenBudget(scope=budget.scope, limit=budget.limit + 1, thresholds=[10, 90]))
        elif self.chance(70):
            await self.send(ChangeBudgetLimit(budget_id=budget.id, limit=budget.limit + self._die(1, 5)))
        else:
            await self.send(ChangeBudgetLimit(budget_id=budget.id, limit=budget.settled + budget.held))

    async def _file(self) -> None:
        project, asset = self.some(Project), self.some(Asset)
        if project:
            facts: dict[str, Any] = {
                "name": f"notes-{self._die(1, 3)}.md",
                "media_type": "text/markdown",
                "digest": self._digest(),
            }
            await self.send(RegisterAsset(project_id=project.id, size=self._die(1, 99), **facts))
        if asset:
            decide = ApproveAsset if self.chance(70) else RejectAsset
            await self.send(decide(asset_id=asset.id, digest=asset.digest))
            await self.send(SupersedeAsset(asset_id=asset.id, digest=self._digest(), size=self._die(1, 99)))

    async def _keys(self) -> None:
        fresh: dict[str, Any] = {"key_hash": self._digest(), "prefix": "tbx_abcdef"}
        key = self.some(AccessKey, lambda each: each.revoked_by is None and each.successor is None)
        if key is None or self.chance(40):
            until = self.story.clock.now + timedelta(days=1)
            permissions = ("projects.create", "projects.start")
            await self.send(IssueAccessKey(**fresh, label="robot", permissions=permissions, expires_at=until))
        elif self.chance(50):
            await self.send(RotateAccessKey(**fresh, key_id=key.id, permissions=tuple(key.permissions)))
        else:
            await self.send(RevokeAccessKey(key_id=key.id))

    async def _chat(self) -> None:
        self._made += 1
        project = self.some(Project) if self.chance(50) else None
        said = [ChatMessage(role="user", content=WHISPER)]
        facts: dict[str, Any] = {
            "provider": "scripted",
            "model": "scripted-small",
            "messages": said,
            "priority": self._die(0, 9),
        }
        stream = self.story.id("chat", self._made)
        await self.send(QueueLlmJob(job_id=stream, project_id=project.id if project else None, **facts))

    def _die(self, low: int, high: int) -> int:
        return self.dice.randint(low, high)

    def _digest(self) -> str:
        self._made += 1
        return hashlib.sha256(f"content {self._made}".encode()).hexdigest()


async def town(events: int, seed: int = 1) -> Town:
    """A town with a log of at least so many events."""
    async with telling() as story:
        made = Town(story, seed)
        await made.live(events)
        await made.limit()
        await queueing(made)
        await think_again(made)
        return made


@cache
def busy(seed: int = 6) -> Town:
    """A town that many tests look at, and none changes."""
    with ThreadPoolExecutor(1) as executor:  # a loop of its own: every test has one
        return executor.submit(lambda: asyncio.run(town(2500, seed))).result()
