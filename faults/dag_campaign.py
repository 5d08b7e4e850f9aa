"""The DAG campaign: projects of many agents run to their ends while the workers that run them are killed -9.

`python -m faults.dag_campaign --agents 200 --kills 20 --seed 1`
"""

import asyncio
import random
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import orjson
import uvloop

from adapters.postgres.embedded import EmbeddedPostgres
from domain.log import StoredEvent
from faults.crew.asking import command_line
from faults.dag.audit import audit_budgets, audit_requests
from faults.dag.fleet import Member, Provider
from faults.dag.money import CARD
from faults.dag.person import Person
from faults.dag.plan import TRIES, Plan, blocked, through
from faults.dag.plants import EXPOSED_BY
from faults.dag.process import Order, only_complaints
from faults.dag.verdict import Verdict, judge
from tests.support.postgres import server_folder
from tests.support.vendors.app import KEY
from tests.support.vendors.journal import read_journal
from toybox.system import System, running

OVERDUE = 0.1
"""Blows strike workers that have calls under way; one that finds none for so long takes any."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """How much of everything."""

    agents: int = 200
    blocked_agents: int = 24
    checkpoints: int = 5
    phases: int = 5
    workers: int = 3
    slots: int = 4
    kills: int = 20
    stalls: int = 2
    projector_kills: int = 2
    room: int = 3
    """Calls at once that the projects' money is enough for; the workers could make more."""
    seed: int = 1
    patience: int = 900
    """Seconds after which the campaign no longer waits."""
    requests: int = 0
    """After so many requests a campaign against a planted bug has seen enough; 0: it goes on to its end."""
    until_holds_end: bool = True
    """Go on until every hold has ended; otherwise those of lost attempts may still run at the end."""
    plant: str = ""
    usual_pace: bool = False

    def __post_init__(self) -> None:
        assert self.kills + self.stalls + 4 < TRIES, "with so many kills an agent could run out of attempts by bad luck"


@dataclass(frozen=True, slots=True, order=True)
class Blow:
    """Something that is done when this share of the agents has ended."""

    at: float
    kind: Literal["kill worker", "stall worker", "kill projector"]


class Run:
    """One campaign on one fresh server."""

    def __init__(self, campaign: Campaign, conninfo: str, folder: Path, tell: Callable[[str], None]) -> None:
        self._campaign, self._folder, self._tell = campaign, folder, tell
        self._rng = random.Random(campaign.seed)
        self._plans: list[Plan] = [through(campaign.agents, campaign.checkpoints, campaign.phases, campaign.seed)]
        if campaign.blocked_agents:
            self._plans.append(blocked(campaign.blocked_agents, campaign.seed))
        self._order = Order(
            name="person",
            roles=[],
            database_url=conninfo,
            data_dir=str(folder / "toybox"),
            vendor_key=KEY,
            slots=campaign.slots,
            plant=campaign.plant,
            usual_pace=campaign.usual_pace,
        )
        worker = replace(self._order, roles=["worker"])
        names = [f"w{number}" for number in range(1, campaign.workers + 1)]
        self._workers = [Member(replace(worker, name=name), folder) for name in names]
        self._projector = Member(replace(self._order, name="projector", roles=["projector"]), folder)
        self._stalling: dict[str, asyncio.Task[None]] = {}
        self._blows = self._plan_blows()

    def _plan_blows(self) -> list[Blow]:
        """When what happens, the last first."""
        chosen = self._campaign
        kinds: list[Literal["kill worker", "stall worker", "kill projector"]] = [
            *["kill worker"] * chosen.kills,  # pyright: ignore[reportAssignmentType]
            *["stall worker"] * chosen.stalls,
            *["kill projector"] * chosen.projector_kills,
        ]
        return sorted((Blow(self._rng.uniform(0.02, 0.7), kind) for kind in kinds), reverse=True)

    async def __call__(self) -> Verdict:
        """Prepare, let loose, beat, wait, judge."""
        prices = Path(self._order.data_dir) / "prices"
        prices.mkdir(parents=True)
        (prices / "vendor.json").write_bytes(orjson.dumps(CARD))
        members = [self._projector, *self._workers]
        verdict, began = Verdict(), time.monotonic()
        with Provider(self._folder) as provider:
            async with running(self._order.settings, roles=(), pace=self._order.pace) as system:
                for plan in self._plans:
                    await provider.behave(plan.behaviours())
                person = Person(system, self._plans, room=self._campaign.room)
                try:
                    await person.begin(provider.url)
                    for each in members:
                        each.start()
                    await self._see_it_through(person, provider)
                    for each in reversed(members):
                        await each.stop()
                finally:
                    for task in self._stalling.values():
                        task.cancel()
                    for each in members:
                        each.end()
                log = await _whole_log(system)
        verdict.figures |= {
            "s": round(time.monotonic() - began),
            "agents": sum(len(plan.workers) for plan in self._plans),
            "events": len(log),
            "worker kills": sum(each.kills for each in self._workers),
            "projector kills": self._projector.kills,
            "stalls": self._campaign.stalls - sum(blow.kind == "stall worker" for blow in self._blows),
            "jobs parked": sum(each.type == "llm_job.parked" for each in log),
            "times a limit was raised for what was lost": person.raised,
        }
        for blow in self._blows:
            verdict.found("not done", f"{blow.kind} at {blow.at:.0%}")
        for each in members:
            for complaint in each.complaints():
                verdict.found("complaint", complaint)
        judge(verdict, log, self._plans)
        audit_budgets(verdict, log)
        audit_requests(verdict, log, read_journal(provider.journal))
        return verdict

    async def _see_it_through(self, person: Person, provider: Provider) -> None:
        give_up = time.monotonic() + self._campaign.patience
        told = 0.0
        waits_for_holds = self._campaign.until_holds_end
        while not (person.done and not (waits_for_holds and person.open_holds)) and time.monotonic() < give_up:
            if self._campaign.requests and len(read_journal(provider.journal)) >= self._campaign.requests:
                await asyncio.sleep(1.0)  # outcomes are on their way
                break
            await person.look()
            for each in [self._projector, *self._workers]:
                each.check()
            share = person.agents_ended / person.agents_planned
            if share >= told + 0.1:
                told = share
                self._tell(f"{share:4.0%} of {person.agents_planned} agents ended, {len(self._blows)} blows to come")
            while self._blows and self._blows[-1].at <= share and self._strike(self._blows[-1], person):
                self._blows.pop()
            await asyncio.sleep(0.05)
        await asyncio.gather(*self._stalling.values())

    def _strike(self, blow: Blow, person: Person) -> bool:
        """Do it; False when there is nobody to do it to at this moment."""
        if blow.kind == "kill projector":
            self._projector.kill()
            return True
        busy = set(person.at_work.values())
        victims = [each for each in self._workers if each.alias in busy and each.alias not in self._stalling]
        if not victims and person.agents_ended / person.agents_planned > blow.at + OVERDUE:
            victims = [each for each in self._workers if each.alias not in self._stalling]
        if not victims:
            return False
        victim = self._rng.choice(victims)
        if blow.kind == "kill worker":
            victim.kill()
        else:
            self._stalling[victim.alias] = asyncio.create_task(self._stall(victim))
        return True

    async def _stall(self, victim: Member) -> None:
        alias = victim.alias
        await victim.stall()
        del self._stalling[alias]
        self._tell(f"{alias} was stopped and goes on")


async def _whole_log(system: System) -> list[StoredEvent]:
    found: list[StoredEvent] = []
    while more := await system.store.read(found[-1].position if found else 0, 10_000):
        found += more
    return found


async def run(campaign: Campaign, home: Path, tell: Callable[[str], None] = lambda _: None) -> Verdict:
    """Run one campaign on a server of its own under `home`, a folder that is thrown away."""
    folder = home / f"campaign-{secrets.token_hex(4)}"
    folder.mkdir()
    async with EmbeddedPostgres(home / f"data-{secrets.token_hex(4)}") as server:
        return await Run(campaign, server.conninfo, folder, tell)()


async def control(plant: str, home: Path, seed: int = 1) -> Verdict:
    """A short campaign without blows against a planted bug."""
    small = Campaign(
        agents=10,
        blocked_agents=0,
        checkpoints=1,
        workers=1,
        kills=0,
        stalls=0,
        projector_kills=0,
        seed=seed,
        patience=60,
        requests=6,
        plant=plant,
    )
    return await run(small, home)


def main() -> int:
    """Run what the command line asks for; 0 when everything is as it must be."""
    size = ("agents", "blocked_agents", "checkpoints", "phases", "workers", "slots", "room")
    blows = ("kills", "stalls", "projector_kills", "seed", "patience")
    parser = command_line("dag_campaign", __doc__, Campaign(), *size, *blows)
    parser.add_argument("--usual-pace", action="store_true", help="leases of 10 s, holds that last a minute longer")
    parser.add_argument("--plants", choices=["too", "only", "none"], default="too", help="run against planted bugs")
    asked = vars(parser.parse_args())
    plants = asked.pop("plants")
    only_complaints()
    began = time.monotonic()

    def tell(line: str) -> None:
        print(f"{time.monotonic() - began:7.1f} s  {line}", flush=True)

    good = True
    with server_folder() as home:
        if plants != "only":
            verdict = uvloop.run(run(Campaign(**asked), home, tell))
            print(*verdict.lines(), sep="\n")
            good = verdict.clean
            print("the campaign: every end as computed, no fault" if good else "the campaign: FAULTS, see above")
        if plants != "none":
            for plant, finding in EXPOSED_BY.items():
                verdict = uvloop.run(control(plant, home, asked["seed"]))
                caught = verdict.counts[finding] > 0
                tell(f"planted {plant}: {'caught' if caught else 'NOT CAUGHT'}, {dict(verdict.counts)}")
                good = good and caught
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
