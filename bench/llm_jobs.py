"""How many LLM jobs one worker process admits and settles a second on one hot budget, beside the bare append.

`python -m bench.llm_jobs [--quick] [--rounds 3] [--jobs 4000] [--profile]`
"""

import argparse
import asyncio
import os
import secrets
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import psycopg
import uvloop

from bench.append import CALLERS, COMMANDS, Server, a_server, prepare
from bench.load.figures import Figures, Line, line
from bench.load.llm_jobs import MODEL, PROVIDER, JobsOrder, job_number
from bench.load.toybox_commands import CommandsOrder
from bench.load.turns import beside, run
from commands.budgets import OpenBudget
from commands.handling import Caller, Command
from commands.llm_jobs import ChatMessage, QueueLlmJob
from domain.ids import Scope
from domain.values import derived_id
from faults.crew.sending import quiet_logs
from faults.overspend.stage import StageRunningProject
from tests.support.postgres import fresh_database
from tests.support.story import OWNER
from toybox.system import running

AT_ONCE = 256
PATIENCE_SECONDS = 60
JOBS = "bench.load.llm_jobs"
ALONE, MANY, FEW, WHOLE = (
    "admission + settlement, 64 slots",
    "admission + settlement, 256 slots",
    "admission + settlement, 16 slots",
    "worker beside a projector, 64 slots",
)
BARE = "bare append, 64 callers"
BAR = 1_000


async def fill(order: JobsOrder) -> None:
    """One budget for everything, one project, and as many jobs of it as are ordered."""
    project = derived_id("bench-project")
    async with running(order.settings, roles=()) as system:

        async def send(command: Command, key: str) -> None:
            await system.commands.send(command, Caller(OWNER, "http", key))

        await send(StageRunningProject(project_id=project), "project")
        await send(OpenBudget(scope=Scope(kind="global"), limit=Decimal(1_000_000)), "budget")
        for first in range(0, order.jobs, AT_ONCE):
            numbers = range(first, min(order.jobs, first + AT_ONCE))
            await asyncio.gather(*(send(_job(project, number), f"job {number}") for number in numbers))


def _job(project: UUID, number: int) -> QueueLlmJob:
    return QueueLlmJob(
        job_id=job_number(number),
        project_id=project,
        provider=PROVIDER,
        model=MODEL,
        messages=[ChatMessage(role="user", content=f"Question {number}: what is the answer?")],
        max_output_tokens=100,
    )


def _projected(conninfo: str, jobs: int) -> None:
    """Wait until the queue's read model has them all."""
    until = time.monotonic() + PATIENCE_SECONDS
    with psycopg.connect(conninfo, autocommit=True) as connection:
        while time.monotonic() < until:
            try:
                row = connection.execute("select count(*) from llm_jobs where status = 'queued'").fetchone()
            except psycopg.errors.UndefinedTable:
                row = None
            if row and row[0] >= jobs:
                return
            time.sleep(0.1)
    raise RuntimeError(f"the projector did not catch up in {PATIENCE_SECONDS} s")


class Bench:
    """Each load in turn, round after round, each in a database of its own."""

    def __init__(self, server: Server, jobs: int, seconds: float) -> None:
        self._server, self._jobs, self._seconds = server, jobs, seconds

    def loads(self) -> dict[str, Callable[[], Figures]]:
        """Every line of the table, in its order."""
        return {
            ALONE: lambda: self.work(64, alone=True),
            MANY: lambda: self.work(256, alone=True),
            FEW: lambda: self.work(16, alone=True),
            WHOLE: lambda: self.work(64, alone=False),
            BARE: self._bare,
        }

    def work(self, slots: int, *, alone: bool, profile: bool = False) -> Figures:
        """A worker with so many slots until no job is left."""
        with fresh_database(self._server.conninfo) as conninfo:
            asyncio.run(prepare(conninfo))
            folder = self._folder()
            order = JobsOrder(conninfo, folder, ["worker"], self._jobs, slots, alone, profile)
            if alone:
                uvloop.run(fill(order))
                return run(JOBS, [order], self._server.cpu)[0]
            with beside(JOBS, JobsOrder(conninfo, folder, ["projector"])):
                uvloop.run(fill(order))
                _projected(conninfo, self._jobs)
                return run(JOBS, [order], self._server.cpu)[0]

    def _bare(self) -> Figures:
        with fresh_database(self._server.conninfo) as conninfo:
            asyncio.run(prepare(conninfo))
            name = secrets.token_hex(4)
            order = CommandsOrder(conninfo, name, name, CALLERS, self._seconds)
            return run(COMMANDS, [order], self._server.cpu)[0]

    def _folder(self) -> str:
        folder: Path = self._server.folder / secrets.token_hex(4)
        folder.mkdir()
        return str(folder)


def table(lines: dict[str, Line]) -> list[str]:
    """What is printed."""
    heads = ("per second", "p50 ms", "p99 ms", "client CPU", "server CPU", "events/s", "in a batch", "CPU share")
    said = [f"{'median of the rounds; CPU in s per 1,000':42}" + "".join(f"{head:>12}" for head in heads)]
    for name, each in lines.items():
        cells = (
            f"{each.rate:,.0f}",
            f"{each.p50:.1f}",
            f"{each.p99:.1f}",
            f"{each.client_cpu:.3f}",
            f"{each.server_cpu:.3f}",
            f"{each.notes.get('events', each.rate):,.0f}",
            f"{each.notes['batch_size']:.1f}",
            f"{each.notes['processor_share']:.2f}",
        )
        said.append(f"{name:42}" + "".join(f"{cell:>12}" for cell in cells))
    return said


def bars(lines: dict[str, Line]) -> list[str]:
    """What toybox promises; and what a processor of its own would allow, where others keep this one busy."""
    alone = max(lines[ALONE], lines[MANY], key=lambda each: each.rate)
    bare = lines[BARE]
    possible = 1_000 / alone.client_cpu
    return [
        f"  {'kept  ' if alone.rate >= BAR else 'MISSED'}  >= {BAR:,} jobs/s per worker process: {alone.rate:,.0f}",
        f"          {possible:,.0f} jobs/s if the process had a processor of its own ({alone.client_cpu:.2f} ms each)",
        f"          {alone.rate / bare.rate:.3f} x the bare append of the same run; a job is two commands, six events",
    ]


def main() -> None:
    """Measure what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(prog="python -m bench.llm_jobs", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=4_000)
    parser.add_argument("--quick", action="store_true", help="one round of few jobs: shows that it works, no more")
    parser.add_argument("--only", choices=[ALONE, MANY, FEW, WHOLE], help="this line alone, without bars")
    parser.add_argument("--profile", action="store_true", help="afterwards, print where the time of a job goes")
    asked = parser.parse_args()
    quiet_logs()
    rounds, jobs, seconds = (1, 500, 1.0) if asked.quick else (asked.rounds, asked.jobs, 5.0)
    with a_server(None) as server:
        print(asyncio.run(prepare(server.conninfo)))
        print(f"{os.cpu_count()} processors, load average {os.getloadavg()[0]:.1f} before the start: trust the ratios")
        bench = Bench(server, jobs, seconds)
        measured: dict[str, list[Figures]] = {}
        loads = bench.loads()
        for number in range(rounds):
            for name, load in loads.items():
                if asked.only in (None, name):
                    measured.setdefault(name, []).append(load())
                    print(f"round {number + 1} of {rounds}: {name}: {measured[name][-1].rate:,.0f}/s", flush=True)
        lines = {name: line(each) for name, each in measured.items()}
        print("", *table(lines), "", sep="\n")
        if asked.only is None:
            print("promises:", *bars(lines), sep="\n")
        if asked.profile:
            bench.work(64, alone=True, profile=True)


if __name__ == "__main__":
    main()
