"""The processes of the campaign: workers, a projector, and the front, which asks for all that people ask for."""

import asyncio
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop
from pydantic import SecretStr

from commands.handling import Caller, Principal
from commands.identity.access_keys import IssueAccessKey
from commands.provider_health import ChangeHealthSettings
from commands.providers import RegisterProvider
from domain.errors import ToyboxError, Unavailable
from domain.provider_health import HealthRules
from domain.providers import ProviderConfig
from faults.dag.process import only_complaints
from faults.overspend.plan import CALLER_KEY, HASH, PROVIDER, Plan, Step
from faults.overspend.plants import PLANTS
from faults.overspend.stage import StageRunningProject
from streams.dispatcher import Pace
from toybox.serving.collector import spare_what_stands
from toybox.settings import Role, Settings
from toybox.system import System, running

BRISK = Pace(lease_seconds=1, heartbeat_seconds=0.3, grace_seconds=1, poll_seconds=0.2, again_seconds=0.2)
"""A tenth of the usual lease: holds of lost attempts expire within the run."""
AT_ONCE = 24
"""Commands of the front under way together."""
ANYBODY = Principal("anybody", frozenset({"*"}))
CALLER = Principal("caller", frozenset({"*"}), CALLER_KEY)


@dataclass(frozen=True, slots=True)
class Order:
    """All that a process is told."""

    name: str
    roles: list[Role]
    database_url: str
    data_dir: str
    slots: int = 8
    plant: str = ""
    seed: int = 0
    jobs: int = 0
    """How many the front asks for; 0: this is not the front."""
    provider: str = ""
    """Its address."""

    @property
    def settings(self) -> Settings:
        """As its environment would have them."""
        return Settings(
            data_dir=Path(self.data_dir),
            database_url=SecretStr(self.database_url),
            worker_name=self.name,
            worker_slots=self.slots,
            pool_size=4,
        )


class Front:
    """Asks for everything in the plan, from the beginning in each of its lives: what was done is answered again."""

    def __init__(self, order: Order, system: System) -> None:
        self._order, self._system = order, system
        self._plan = Plan.of(order.seed, order.jobs)

    async def ask(self) -> None:
        """The stage, the limits, then everything else, some at once."""
        key = IssueAccessKey(key_hash=HASH, prefix="tbx_caller", label="caller", permissions=("llm_jobs.queue",))
        config = ProviderConfig(base_url=f"{self._order.provider}/v1")
        await self._send(Step("provider", RegisterProvider(name=PROVIDER, kind="openai_compatible", config=config)))
        # This provider fails by the dozen, on purpose: whoever rests long after it only makes the campaign longer.
        impatient = HealthRules(cooldown_seconds=1, cooldown_longest_seconds=1, credit_cooldown_seconds=1)
        await self._send(Step("health", ChangeHealthSettings(rules=impatient)))
        await self._send(Step("key", key))
        for name, project in self._plan.projects.items():
            await self._send(Step(f"project {name}", StageRunningProject(project_id=project)))
        for each in self._plan.limits:
            await self._send(each)
        steps = iter(self._plan.steps)

        async def some() -> None:
            for each in steps:
                await self._send(each)

        await asyncio.gather(*(some() for _ in range(AT_ONCE)))

    async def _send(self, step: Step) -> None:
        caller = Caller(CALLER if step.with_key else ANYBODY, "http", f"{self._order.seed} {step.key}")
        while True:
            try:
                await self._system.commands.send(step.command, caller)
            except Unavailable as away:
                await asyncio.sleep(away.retry_after or 0.1)
            except ToyboxError:
                return  # a limit below what is spent, a cancel of what has ended or is not there yet
            else:
                return


async def live(order: Order) -> None:
    """Work until SIGTERM."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    change, dispatcher = PLANTS[order.plant]
    change()
    async with running(order.settings, roles=order.roles, environ={}, pace=BRISK, dispatcher=dispatcher) as system:
        spare_what_stands()
        if order.jobs:
            await Front(order, system).ask()
        await stopping.wait()


def begin(order: Order, errors: Path) -> None:
    """What a forked process does, its complaints in a file."""
    with errors.open("ab") as stderr:
        os.dup2(stderr.fileno(), 2)
    only_complaints()
    uvloop.run(live(order))


async def build(order: Order, needed: Sequence[str]) -> None:
    """Bring the tables of an empty database into being, so that copies of it begin at once."""
    async with running(order.settings, roles=order.roles, environ={}) as system:
        await system.follower.wait_for(needed, 0, 60)
