"""Kill -9 at each step between a provider's last byte and the commit of what it cost: nothing may be free or left over.

`python -m faults.money_steps`
"""

import asyncio
import secrets
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import uvloop

from adapters.postgres.connections import pool
from adapters.postgres.log import PostgresLog
from commands.budgets import OpenBudget
from commands.handling import Caller, Command
from commands.llm_jobs import ChatMessage, QueueLlmJob
from commands.providers import RegisterProvider
from domain.ids import Scope, attempt_id
from domain.providers import ProviderConfig
from domain.values import derived_id
from faults.dag.fleet import FORKS, Member
from faults.dag.process import only_complaints
from faults.overspend.campaign import Watch, port_in
from faults.overspend.ground import Ground, ground
from faults.overspend.plan import PROVIDER
from faults.overspend.process import ANYBODY, Order, begin
from faults.overspend.provider import serve
from faults.overspend.steps import STEPS, StepOrder, begin_steps
from faults.overspend.verdict import Audit, Verdict, judge_money
from tests.support.postgres import fresh_database
from tests.support.vendors.journal import read_journal
from toybox.system import System, running

ANSWERED = [step for step in STEPS if step != "failed"]
FAILED = ["admitted", "failed", "before outcome", "before commit", "committed", "recorded", "before release"]
HABITS: Mapping[str, list[str]] = {
    "answer": ANSWERED,
    "long": ANSWERED,
    "no_usage": ["last byte", "before commit", "committed"],
    "cut": FAILED,
    "cut_before_usage": ["last byte", "before outcome", "committed"],
    "rate_limited": FAILED,
}
"""What the provider does, and the steps at which its worker dies."""
TOLD = ("committed", "recorded", "before release")
"""Steps behind the commit: the outcome stands, and the attempt is not lost."""
WORKERS = 2


@dataclass(frozen=True, slots=True)
class Death:
    """One job, which kills the first worker that comes so far with it."""

    habit: str
    step: str

    @property
    def job(self) -> UUID:
        """Its id."""
        return derived_id("money-steps", self.habit, self.step)


def deaths() -> Iterator[Death]:
    """Every step of every habit."""
    for habit, steps in HABITS.items():
        for step in steps:
            yield Death(habit, step)


class Steps:
    """The campaign on a server that others use as well."""

    def __init__(
        self, conninfo: str, data_dir: Path, folder: Path, wanted: Sequence[Death], *, plant: str, patience: float
    ) -> None:
        self._conninfo, self._folder, self._patience = conninfo, folder, patience
        self._deaths = wanted
        self._marks = folder / "marks"
        self._marks.mkdir()
        self._order = Order("front", [], conninfo, str(data_dir))
        fates = {str(each.job): each.step for each in self._deaths}
        facts: dict[str, Any] = {"database_url": conninfo, "data_dir": str(data_dir), "slots": 1, "plant": plant}
        self._workers = [
            Member(
                StepOrder(f"w{number}", ["worker"], marks=str(self._marks), deaths=fates, **facts),
                folder,
                begin_steps,
            )
            for number in range(WORKERS)
        ]
        self._projector = Member(Order("projector", ["projector"], conninfo, str(data_dir)), folder, begin)
        self._watch = Watch()

    async def __call__(self) -> Verdict:
        """Ask for every death, start whoever died again, wait for the horizon, judge."""
        verdict, began = Verdict(), time.monotonic()
        journal = self._folder / "provider.journal"
        provider = FORKS.Process(target=serve, args=(0, journal, self._folder / "port"))
        provider.start()
        members = [self._projector, *self._workers]
        try:
            url = f"http://127.0.0.1:{await port_in(self._folder / 'port')}"
            for each in members:
                each.start()
            async with running(self._order.settings, roles=(), environ={}) as system:
                await self._ask(system, url)
            async with pool(self._conninfo, size=1) as opened:
                await self._wait(PostgresLog(self._conninfo, opened))
        finally:
            for each in members:
                each.end()
            provider.kill()
            provider.join()
        verdict.figures |= {"s": round(time.monotonic() - began, 1), "deaths": len(list(self._marks.iterdir()))}
        if self._watch.going or self._watch.holds:
            verdict.found("not done", f"{len(self._watch.going)} jobs go on, {len(self._watch.holds)} holds are left")
        for each in members:
            for complaint in each.complaints():
                verdict.found("complaint", complaint)
        _, audit = judge_money(verdict, self._watch.log, read_journal(journal))
        for each in self._deaths:
            self._look_at(each, verdict, audit)
        return verdict

    async def _ask(self, system: System, url: str) -> None:
        async def send(command: Command, key: str) -> None:
            await system.commands.send(command, Caller(ANYBODY, "http", key))

        config = ProviderConfig(base_url=f"{url}/v1")
        await send(RegisterProvider(name=PROVIDER, kind="openai_compatible", config=config), "provider")
        await send(OpenBudget(scope=Scope(kind="global"), limit=Decimal(10)), "global")
        await send(
            OpenBudget(scope=Scope(kind="provider", provider=PROVIDER), limit=Decimal(10**7), unit="total_tokens"),
            "provider budget",
        )
        for each in self._deaths:
            message = ChatMessage(role="user", content=f"[[{each.habit}]] {each.step}")
            job = QueueLlmJob(
                job_id=each.job, provider=PROVIDER, model="any", messages=[message], timeout_seconds=2, max_attempts=8
            )
            await send(job, f"job {each.job}")

    async def _wait(self, log: PostgresLog) -> None:
        give_up = time.monotonic() + self._patience
        while time.monotonic() < give_up:
            for stored in await log.read(self._watch.log[-1].position if self._watch.log else 0, 10_000):
                self._watch.take(stored)
            for worker in self._workers:
                if worker.died():
                    worker.kill()
            self._projector.check()
            asked = len(self._watch.asked) == len(self._deaths)
            if asked and not self._watch.going and not self._watch.holds:
                return
            await asyncio.sleep(0.05)

    def _look_at(self, death: Death, verdict: Verdict, audit: Audit) -> None:
        """The attempt that died: settled, released, or at its bound until somebody knows better; never for nothing."""
        told = f"{death.habit} at {death.step!r}"
        mark = self._marks / str(death.job)
        if not mark.exists():
            verdict.found("not done", f"nobody died of {told}")
            return
        life = audit.lives[str(attempt_id(death.job, int(mark.read_text())))]
        if death.job in audit.unfinished:
            verdict.found("not done", f"{told}: its job never ended")
        elif death.step in TOLD:
            free = death.habit == "rate_limited"
            if (life.cost is None) != free or life.expired:
                verdict.found("miscounted", f"{told}: what stood in the log is not what counts: {life}")
        elif not (life.expired and life.estimated and life.cost == life.bound > 0):
            verdict.found("miscounted", f"{told}: cost {life.cost}, bound {life.bound}")


async def run(at: Ground, wanted: Sequence[Death], *, plant: str = "", patience: float = 240.0) -> Verdict:
    """One campaign."""
    folder = at.home / f"steps-{secrets.token_hex(3)}"
    folder.mkdir()
    with fresh_database(at.server, template=at.template) as conninfo:
        return await Steps(conninfo, at.data_dir, folder, wanted, plant=plant, patience=patience)()


async def control(at: Ground) -> Verdict:
    """Two deaths under a bug that must be caught: what was lost with its worker counts as free."""
    wanted = [Death("answer", "last byte"), Death("long", "kept")]
    return await run(at, wanted, plant="frees-what-is-lost", patience=40)


def main() -> int:
    """0 when everything is as it must be."""
    only_complaints()
    with ground() as at:
        verdict = uvloop.run(run(at, list(deaths())))
        print(*verdict.lines(), sep="\n")
        print("every attempt counts" if verdict.clean else "FAULTS, see above")
        caught = uvloop.run(control(at))
        found = caught.counts["miscounted"] > 0
        print(f"planted frees-what-is-lost: {'caught' if found else 'NOT CAUGHT'}, {dict(caught.counts)}")
    return 0 if verdict.clean and found else 1


if __name__ == "__main__":
    sys.exit(main())
