"""Whoever sits in front: starts the projects, decides at checkpoints, pays for what crashes cost, sees who works."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson

from adapters.blueprints import parse_blueprint
from commands.budgets import ChangeBudgetLimit, OpenBudget
from commands.checkpoints import ResolveCheckpoint
from commands.handling import Caller, Command, Principal
from commands.projects import CreateProjectFromBlueprint, StartProject
from commands.provider_health import ChangeHealthSettings
from commands.providers import RegisterProvider
from domain.ids import Scope, budget_id
from domain.log import StoredEvent
from domain.provider_health import HealthRules
from domain.providers import ProviderConfig
from faults.dag.money import limit_for
from faults.dag.plan import Plan, Worker
from faults.dag.process import KEY_VARIABLE
from toybox.system import System

PERSON = Principal("person", frozenset({"*"}))
PROVIDER, MODEL = "vendor", "some-model"
EDITED = b"written anew by a person"
GENEROUS = Decimal(10)
ENDED = ("agent.completed", "agent.failed", "agent.skipped")


class Person:
    """Follows the log, and acts on what it says."""

    def __init__(self, system: System, plans: Sequence[Plan], *, room: int) -> None:
        self._system = system
        self._plans = {each.project_id: each for each in plans}
        self._room = room
        self._position = 0
        self._limits: dict[UUID, Decimal] = {}
        self._holds: dict[str, list[dict[str, Any]]] = {}
        self._asked: Counter[str] = Counter()
        self.at_work: dict[str, str] = {}
        """Attempts that are out, and the worker that has each."""
        self.open_holds: set[tuple[UUID, str]] = set()
        self.agents_ended = 0
        self.projects_ended = 0
        self.raised = 0

    async def begin(self, url: str) -> None:
        """Register the provider, create the projects, start them."""
        config = ProviderConfig(base_url=f"{url}/v1", key_env=KEY_VARIABLE)
        await self._send(RegisterProvider(name=PROVIDER, kind="openai_compatible", config=config), "register")
        await self._send(OpenBudget(scope=Scope(kind="global"), limit=GENEROUS), "open the global budget")
        # Failures are planned here by the dozen: whoever rests long after them only makes the campaign longer.
        await self._send(
            ChangeHealthSettings(rules=HealthRules(cooldown_seconds=1, credit_cooldown_seconds=1)),
            "shorten the rest of circuits",
        )
        for plan in self._plans.values():
            await self._create(plan)
        for plan in self._plans.values():
            await self._send(StartProject(project_id=plan.project_id), f"start {plan.name}")

    async def _create(self, plan: Plan) -> None:
        blueprint = parse_blueprint(orjson.dumps(plan.blueprint(PROVIDER, MODEL)).decode(), name=plan.name)
        whole, phase = limit_for(plan.workers, self._room), plan.workers[-1].phase
        some = limit_for([each for each in plan.workers if each.phase == phase], max(1, self._room // 2))
        await self._send(
            CreateProjectFromBlueprint(project_id=plan.project_id, blueprint=blueprint, budget_limit=whole),
            f"create {plan.name}",
        )
        narrow = Scope(kind="phase", project_id=plan.project_id, phase=phase)
        await self._send(OpenBudget(scope=narrow, limit=some), f"open {plan.name} {phase}")
        self._limits[budget_id(Scope(kind="project", project_id=plan.project_id))] = whole
        self._limits[budget_id(narrow)] = some

    @property
    def agents_planned(self) -> int:
        """How many agents will come to an end."""
        return sum(end != "defined" for plan in self._plans.values() for end in plan.ends()[1].values())

    @property
    def done(self) -> bool:
        """Whether every project has ended."""
        return self.projects_ended == len(self._plans)

    async def look(self) -> None:
        """Take in what is new, and act on it."""
        for stored in await self._system.store.read(self._position, 5_000):
            self._position = stored.position
            self._note(stored, stored.payload())
            await self._act(stored, stored.payload())

    def _note(self, stored: StoredEvent, said: Mapping[str, Any]) -> None:
        match stored.type:
            case "llm_job.admitted":
                self._holds[said["attempt_id"]] = said["holds"]
                self.at_work[f"{stored.stream_id}"] = said["worker"].partition(".")[0]
            case (
                "llm_job.completed"
                | "llm_job.failed"
                | "llm_job.retry_scheduled"
                | "llm_job.rerouted"
                | "llm_job.attempt_lost"
            ):
                self.at_work.pop(f"{stored.stream_id}", None)
            case "budget.reserved":
                self.open_holds.add((stored.stream_id, said["attempt_id"]))
            case "budget.settled" | "budget.released" | "budget.hold_expired":
                self.open_holds.discard((stored.stream_id, said["attempt_id"]))
            case "project.completed" | "project.failed":
                self.projects_ended += 1
            case kind if kind in ENDED:
                self.agents_ended += 1
            case _:
                pass

    async def _act(self, stored: StoredEvent, said: Mapping[str, Any]) -> None:
        if stored.type == "checkpoint.requested":
            await self._decide(stored, said)
        elif stored.type == "llm_job.attempt_lost":
            for hold in self._holds.get(said["attempt_id"], []):
                await self._pay(UUID(hold["budget_id"]), hold["amount"], stored.position)
        elif stored.type == "budget.settled" and said["amount"] == said["held"]:
            await self._pay(stored.stream_id, said["amount"], stored.position)

    async def _decide(self, stored: StoredEvent, said: Mapping[str, Any]) -> None:
        """As planned for this agent's first, second, ... checkpoint."""
        worker = self._worker(stored.project_id, said["agent_name"])
        answer = worker.answers[min(self._asked[worker.name], len(worker.answers) - 1)]
        self._asked[worker.name] += 1
        content = await self._system.objects.put(UUID(said["project_id"]), EDITED) if answer == "edit" else None
        command = ResolveCheckpoint(
            project_id=said["project_id"],
            checkpoint_id=stored.stream_id,
            decision=answer,
            digest=said["digest"],
            comment="Once more, please." if answer == "respond" else None,
            content_digest=content and content.digest,
            content_size=content and content.size,
        )
        await self._send(command, f"decide {stored.stream_id}")

    def _worker(self, project_id: UUID | None, name: str) -> Worker:
        assert project_id is not None
        return next(each for each in self._plans[project_id].workers if each.name == name)

    async def _pay(self, budget: UUID, amount: str, position: int) -> None:
        """What failed, or was under way in a killed worker, counts in full: the rest could not be done without more."""
        if budget in self._limits:
            self._limits[budget] += Decimal(amount)
            self.raised += 1
            raised = ChangeBudgetLimit(budget_id=budget, limit=self._limits[budget])
            await self._send(raised, f"pay {position} {budget}")

    async def _send(self, command: Command, key: str) -> None:
        async with asyncio.timeout(30):
            await self._system.commands.send(command, Caller(PERSON, "http", key))
