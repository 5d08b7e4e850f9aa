"""The product in one process on a database of the test's own, driven through its commands, watched through its log."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import orjson
from pydantic import SecretStr

from adapters.blueprints import LoadedBlueprint, parse_blueprint, resolve_inputs
from commands.checkpoints import ResolveCheckpoint
from commands.handling import Caller, Command, Principal
from commands.projects import CreateProjectFromBlueprint, GivenInput, StartProject
from commands.providers import RegisterProvider
from commands.sequencer import Answer
from domain.agents import Agent
from domain.budgets import Budget
from domain.checkpoints import Decision
from domain.errors import Conflict
from domain.ids import Scope, agent_id, budget_id, job_id
from domain.kernel import A, evolve
from domain.llm_jobs import LlmJob
from domain.log import StoredEvent
from domain.projects import Project
from domain.providers import ProviderConfig
from domain.values import INLINE_TEXT, Text
from streams.dispatcher import Pace
from tests.support.vendors.server import VendorServer
from toybox.settings import ALL_ROLES, Role, Settings
from toybox.system import System, running

OWNER = Principal("owner", frozenset({"*"}))
FAST = Pace(lease_seconds=3, heartbeat_seconds=0.5, grace_seconds=20, poll_seconds=0.2, again_seconds=0.2)
VENDOR = {"provider": "vendor", "model": "some-model", "max_output_tokens": 200}
"""AI config of agents that a vendor's local server answers."""
CARD = {
    "provider": "vendor",
    "effective_from": "2020-01-01",
    "source": "made up for tests",
    "models": [{"model": "*", "prices": [{"rates": {"input": "1", "output": "5"}}]}],
}


def settings(database: str, folder: Path, **given: Any) -> Settings:
    """Settings of a process on this database."""
    given = {"worker_slots": 8, **given}
    return Settings(data_dir=folder / "toybox", database_url=SecretStr(database), **given)


def blueprint(agents: Mapping[str, Mapping[str, Any]], **top: Any) -> LoadedBlueprint:
    """A blueprint of one phase, or of those that agents name; a prompt says which agent asks."""
    phases: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for name, given in agents.items():
        spec = {"name": name, "instructions": "You answer.", "prompt": f"This is agent {name}.", **given}
        phases[spec.pop("phase", "work")].append(spec)
    whole = {
        "blueprint": 1,
        "name": "a-project",
        "description": "Made for a test.",
        "defaults": {"provider": "scripted", "model": "scripted-1", "max_output_tokens": 200},
        "phases": [{"name": name, "agents": found} for name, found in phases.items()],
        **top,
    }
    text = orjson.dumps(whole).decode()
    return LoadedBlueprint(parse_blueprint(text, name="made.json"), text, Path())


@dataclass
class Product:
    """One running process of toybox and whoever sits in front of it."""

    system: System
    project: UUID

    # --- doing ---

    async def send(self, command: Command, **how: Any) -> Answer:
        """What the owner asks for."""
        return await self.system.commands.send(command, Caller(OWNER, "http", str(uuid4())), **how)

    async def create(
        self, loaded: LoadedBlueprint, *, inputs: Mapping[str, str] | None = None, budget: str | None = None
    ) -> None:
        """A project as the blueprint describes it, not started yet."""
        values = resolve_inputs(loaded.blueprint, inputs or {}, base_dir=loaded.base_dir)
        given: list[GivenInput] = []
        for name, value in values.items():
            text: str | Text = str(value)
            if len(str(value).encode()) > INLINE_TEXT:
                stored = await self.system.objects.put(self.project, str(value).encode(), makes_key=True)
                text = Text(digest=stored.digest, size=stored.size)
            given.append(GivenInput(name=name, kind=loaded.blueprint.inputs[name].type, text=text))
        await self.send(
            CreateProjectFromBlueprint(
                project_id=self.project,
                blueprint=loaded.blueprint,
                inputs=tuple(given),
                budget_limit=None if budget is None else Decimal(budget),
            )
        )

    async def start(self) -> None:
        """Let it run."""
        await self.send(StartProject(project_id=self.project))

    async def use(self, vendor: VendorServer) -> None:
        """Let models of a local server be asked."""
        config = ProviderConfig(base_url=vendor.openai_url, key_env="VENDOR_KEY")
        with suppress(Conflict):  # another system of this test did so before
            await self.send(RegisterProvider(name="vendor", kind="openai_compatible", config=config))

    async def decide(
        self, asked: StoredEvent, decision: Decision, *, comment: str | None = None, content: str | None = None
    ) -> None:
        """Decide about the result that a `checkpoint.requested` is about."""
        stored = await self.system.objects.put(self.project, content.encode()) if content else None
        await self.send(
            ResolveCheckpoint(
                project_id=self.project,
                checkpoint_id=asked.stream_id,
                decision=decision,
                digest=asked.payload()["digest"],
                comment=comment,
                content_digest=stored and stored.digest,
                content_size=stored and stored.size,
            )
        )

    # --- looking ---

    async def log(self, *types: str) -> list[StoredEvent]:
        """Every event so far, or those of these types."""
        found: list[StoredEvent] = []
        while more := await self.system.store.read(found[-1].position if found else 0, 5_000, types=types or None):
            found += more
        return found

    async def came(self, kind: str, count: int = 1, *, seconds: float = 15) -> list[StoredEvent]:
        """The events of a type, as soon as there are so many."""
        position = 0
        try:
            async with asyncio.timeout(seconds):
                while len(found := await self.log(kind)) < count:
                    position = await self.system.store.wait(position, 1.0)
        except TimeoutError:
            tail = [(each.type, each.payload()) for each in (await self.log())[-8:]]
            raise AssertionError(f"{kind} did not come {count} times; the log ends with {tail}") from None
        return found

    async def ended(self, status: str, *, seconds: float = 30) -> Project:
        """The project, as soon as it has come to this end."""
        await self.came(f"project.{status}", seconds=seconds)
        return await self.state(Project, self.project)

    async def quiet(self, seconds: float = 1.0) -> None:
        """Return when nothing was appended for so long."""
        position = await self.system.store.head()
        while (head := await self.system.store.wait(position, seconds)) > position:
            position = head

    async def state(self, kind: type[A], stream_id: UUID) -> A:
        """An aggregate as a fresh fold of its stored history."""
        found: A | None = None
        for stored in await self.system.store.read_stream(stream_id):
            found = evolve(found, stored)
        assert isinstance(found, kind), f"no {kind.TOPIC} {stream_id}"
        return found

    async def agent(self, name: str) -> Agent:
        """An agent of the project."""
        return await self.state(Agent, agent_id(self.project, name))

    async def job(self, agent: str, run: int = 1, attempt: int = 1) -> LlmJob:
        """The job of an agent's attempt."""
        return await self.state(LlmJob, job_id(agent_id(self.project, agent), run, attempt))

    @property
    def budget_id(self) -> UUID:
        """The whole project's budget."""
        return budget_id(Scope(kind="project", project_id=self.project))

    async def budget(self) -> Budget:
        """The whole project's budget."""
        return await self.state(Budget, self.budget_id)

    async def output(self, agent: str) -> str:
        """What an agent's result says."""
        asset = (await self.agent(agent)).asset
        assert asset, f"{agent} has no result"
        return (await self.system.objects.read(self.project, asset.digest)).decode()

    async def shown(self, query: str, count: int) -> list[tuple[Any, ...]]:
        """What a read model says, once it has so many rows."""
        async with asyncio.timeout(10), self.system.pool.connection() as connection:
            while len(rows := await (await connection.execute(query.encode())).fetchall()) < count:  # noqa: ASYNC110 -- tables tell nobody
                await asyncio.sleep(0.05)
        return rows


@asynccontextmanager
async def product(
    database: str,
    folder: Path,
    *,
    roles: Collection[Role] = ALL_ROLES,
    pace: Pace = FAST,
    vendor: VendorServer | None = None,
    project: UUID | None = None,
    **given: Any,
) -> AsyncIterator[Product]:
    """Start it, and stop it at the end. A vendor's server becomes the provider `vendor`, at a dollar a million."""
    chosen = settings(database, folder, **given)
    if vendor:
        (chosen.data_dir / "prices").mkdir(parents=True, exist_ok=True)
        (chosen.data_dir / "prices" / "vendor.json").write_bytes(orjson.dumps(CARD))
    environ = {"VENDOR_KEY": vendor.key or ""} if vendor else {}
    async with running(chosen, roles=roles, environ=environ, pace=pace) as system:
        toybox = Product(system, project or uuid4())
        if vendor:
            await toybox.use(vendor)
        yield toybox


def highest_use(events: list[StoredEvent], budget: UUID) -> Decimal:
    """The most that a budget ever had settled and held together, over its limit of that moment; read from the log."""
    limit = settled = held = Decimal(0)
    holds: dict[str, Decimal] = {}
    worst = Decimal("-Infinity")
    for each in events:
        if each.stream_id != budget:
            continue
        said = each.payload()
        match each.type:
            case "budget.opened" | "budget.limit_changed":
                limit = Decimal(said["limit"])
            case "budget.reserved":
                holds[said["attempt_id"]] = Decimal(said["amount"])
            case "budget.released":
                del holds[said["attempt_id"]]
            case "budget.settled" | "budget.hold_expired":
                del holds[said["attempt_id"]]
                settled += Decimal(said["amount"])
            case "budget.adjusted":
                settled += Decimal(said["delta"])
        held = sum(holds.values(), Decimal(0))
        worst = max(worst, settled + held - limit)
    return worst
