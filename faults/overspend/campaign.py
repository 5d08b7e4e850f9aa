"""One seed: a fresh database, workers that are killed, a front that asks, a provider that lies, and the verdict."""

import asyncio
import random
import secrets
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from uuid import UUID

from adapters.postgres.connections import pool
from adapters.postgres.log import PostgresLog
from domain.log import StoredEvent
from faults.dag.fleet import FORKS, Member
from faults.overspend.ground import Ground
from faults.overspend.plan import Plan
from faults.overspend.process import Order, begin
from faults.overspend.provider import serve
from faults.overspend.verdict import Verdict, judge
from tests.support.postgres import fresh_database
from tests.support.vendors.journal import read_journal

STALL_SECONDS = 3.0
"""Longer than a lease lasts, and longer than most holds: what such a worker reports comes after their expiry."""
ENDS = {"llm_job.completed", "llm_job.failed", "llm_job.cancelled", "llm_job.parked"}
GOES_ON = {"llm_job.queued", "llm_job.resumed", "llm_job.admitted", "llm_job.retry_scheduled", "llm_job.attempt_lost"}
HOLD_ENDS = {"budget.settled", "budget.released", "budget.hold_expired"}


@dataclass(frozen=True, slots=True)
class Campaign:
    """How much of everything."""

    seed: int = 1
    jobs: int = 1_000
    workers: int = 4
    slots: int = 8
    worker_kills: int = 6
    front_kills: int = 1
    projector_kills: int = 1
    stalls: int = 2
    patience: float = 45.0
    """Seconds in which nothing new comes into the log, after which the campaign no longer waits."""
    plant: str = ""

    def blows(self, rng: random.Random) -> list[tuple[float, str]]:
        """At which share of the work whom something happens to, the last first."""
        kinds = ["worker"] * self.worker_kills + ["front"] * self.front_kills
        kinds += ["projector"] * self.projector_kills + ["stall"] * self.stalls
        return sorted(((rng.uniform(0.03, 0.55), kind) for kind in kinds), reverse=True)


class Watch:
    """What a look at the log tells while it grows."""

    def __init__(self) -> None:
        self.log: list[StoredEvent] = []
        self.going: set[UUID] = set()
        self.asked: set[UUID] = set()
        self.admissions = 0
        self.holds: dict[tuple[UUID, str], datetime] = {}
        self.whole = False
        """Whether the last step of the plan was taken."""

    def take(self, stored: StoredEvent) -> None:
        """One event more."""
        self.log.append(stored)
        if stored.type in ENDS:
            self.going.discard(stored.stream_id)
        elif stored.type in GOES_ON:
            self.going.add(stored.stream_id)
            self.asked.add(stored.stream_id)
            self.admissions += stored.type == "llm_job.admitted"
        elif stored.type == "budget.reserved":
            said = stored.payload()
            self.holds[stored.stream_id, said["attempt_id"]] = datetime.fromisoformat(said["expires_at"])
        elif stored.type in HOLD_ENDS:
            self.holds.pop((stored.stream_id, stored.payload()["attempt_id"]), None)


class Run:
    """One seed on a server that others use as well."""

    def __init__(self, campaign: Campaign, conninfo: str, data_dir: Path, folder: Path) -> None:
        self._campaign, self._conninfo, self._folder = campaign, conninfo, folder
        self._plan = Plan.of(campaign.seed, campaign.jobs)
        self._rng = random.Random(f"blows {campaign.seed}")
        self._blows = campaign.blows(self._rng)
        order = Order("", [], conninfo, str(data_dir), campaign.slots, campaign.plant, campaign.seed)
        self._workers = [
            Member(replace(order, name=f"w{number}", roles=["worker"]), folder, begin)
            for number in range(1, campaign.workers + 1)
        ]
        self._projector = Member(replace(order, name="projector", roles=["projector"]), folder, begin)
        self._order, self._front = order, Member(order, folder, begin)
        self._stalling: list[asyncio.Task[None]] = []
        self._watch = Watch()

    async def __call__(self) -> Verdict:
        """Let loose, beat, wait, judge."""
        verdict, began = Verdict(), time.monotonic()
        journal = self._folder / "provider.journal"
        provider = self._provide(journal)
        members: list[Member] = []
        try:
            url = f"http://127.0.0.1:{await port_in(self._folder / 'port')}"
            front = replace(self._order, name="front", jobs=self._campaign.jobs, provider=url)
            self._front = Member(front, self._folder, begin)
            members = [self._projector, *self._workers, self._front]
            for each in members:
                each.start()
            async with pool(self._conninfo, size=1) as opened:
                await self._see_it_through(PostgresLog(self._conninfo, opened), members)
                for each in members:
                    each.end()
                await self._look(PostgresLog(self._conninfo, opened))
        finally:
            for task in self._stalling:
                task.cancel()
            for each in members:
                each.end()
            provider.kill()
            provider.join()
        verdict.figures |= {
            "seed": self._campaign.seed,
            "s": round(time.monotonic() - began, 1),
            "worker kills": sum(each.kills for each in self._workers),
        }
        self._close(verdict, members)
        stopped = self._campaign.stalls * self._campaign.slots
        judge(verdict, self._watch.log, read_journal(journal), self._plan.whole, astray=stopped)
        return verdict

    def _provide(self, journal: Path) -> ForkServerProcess:
        process = FORKS.Process(target=serve, args=(self._campaign.seed, journal, self._folder / "port"))
        process.start()
        return process

    async def _see_it_through(self, log: PostgresLog, members: list[Member]) -> None:
        seen, give_up = 0, time.monotonic() + self._campaign.patience
        while not await self._over(log) and time.monotonic() < give_up:
            if len(self._watch.log) > seen:
                seen, give_up = len(self._watch.log), time.monotonic() + self._campaign.patience
            for each in members:
                each.check()
            share = self._watch.admissions / self._campaign.jobs
            while self._blows and (self._blows[-1][0] <= share or self._nothing_goes):
                self._strike(self._blows.pop()[1])
            await asyncio.sleep(0.05)
        await asyncio.gather(*self._stalling)

    @property
    def _nothing_goes(self) -> bool:
        """Everything was asked for, and nothing is on its way."""
        return len(self._watch.asked) >= self._campaign.jobs and not self._watch.going

    async def _over(self, log: PostgresLog) -> bool:
        """Whether only those are left that wait for money, and no money is held any more."""
        await self._look(log)
        return self._watch.whole and self._nothing_goes and not self._watch.holds and not self._blows

    async def _look(self, log: PostgresLog) -> None:
        seen = self._watch.log
        while more := await log.read(seen[-1].position if seen else 0, 5_000):
            for stored in more:
                self._watch.take(stored)
                if stored.type == "budget.limit_changed":
                    self._watch.whole = stored.payload()["limit"] == f"{self._plan.whole.normalize():f}"

    def _strike(self, kind: str) -> None:
        match kind:
            case "front":
                self._front.kill()
            case "projector":
                self._projector.kill()
            case "worker":
                self._rng.choice(self._workers).kill()
            case _:
                self._stalling.append(asyncio.create_task(self._rng.choice(self._workers).stall(STALL_SECONDS)))

    def _close(self, verdict: Verdict, members: list[Member]) -> None:
        for _, kind in self._blows:
            verdict.found("not done", f"a blow against the {kind}")
        if not self._nothing_goes or not self._watch.whole:
            verdict.found("not done", f"{len(self._watch.going)} jobs of {len(self._watch.asked)} were on their way")
        for (budget, attempt), expires_at in self._watch.holds.items():
            if expires_at < datetime.now(UTC) - timedelta(seconds=1):
                verdict.found("hold left", f"attempt {attempt} in budget {budget}, due at {expires_at}")
        for each in members:
            for complaint in each.complaints():
                verdict.found("complaint", complaint)


async def port_in(address: Path) -> int:
    """Where the provider listens, as soon as it says so."""
    return await asyncio.to_thread(_port_in, address)


def _port_in(address: Path) -> int:
    for _ in range(1_000):
        if address.exists():
            return int(address.read_text())
        time.sleep(0.02)
    raise RuntimeError("the provider did not start")


async def run(campaign: Campaign, at: Ground) -> Verdict:
    """One seed in a copy of the template."""
    folder = at.home / f"{campaign.seed}-{secrets.token_hex(3)}"
    folder.mkdir()
    with fresh_database(at.server, template=at.template) as conninfo:
        return await Run(campaign, conninfo, at.data_dir, folder)()


async def control(plant: str, at: Ground, seed: int = 1) -> Verdict:
    """A short campaign without blows against a planted bug."""
    small = Campaign(
        seed, jobs=80, workers=1, worker_kills=0, front_kills=0, projector_kills=0, stalls=0, patience=20, plant=plant
    )
    return await run(small, at)
