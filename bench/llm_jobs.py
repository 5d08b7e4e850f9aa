"""How many LLM jobs one worker process admits and settles a second on one hot budget, beside the bare append.

`python -m bench.llm_jobs [--quick] [--rounds 3] [--jobs 5000] [--slots 64] [--profile]`
"""

import argparse
import asyncio
import time
from decimal import Decimal
from uuid import UUID

import psycopg
import uvloop

from bench.append import Server, a_server, prepare
from bench.load.figures import Figures
from bench.load.llm_jobs import MODEL, PROVIDER, JobsOrder
from bench.load.turns import _start, run
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


async def fill(order: JobsOrder, jobs: int) -> None:
    """One budget for everything, one project, and so many jobs of it in the queue."""
    project = derived_id("bench-project")
    async with running(order.settings, roles=()) as system:

        async def send(command: Command, key: str) -> None:
            await system.commands.send(command, Caller(OWNER, "http", key))

        await send(StageRunningProject(project_id=project), "project")
        await send(OpenBudget(scope=Scope(kind="global"), limit=Decimal(1_000_000)), "budget")
        for first in range(0, jobs, AT_ONCE):
            numbers = range(first, min(jobs, first + AT_ONCE))
            await asyncio.gather(*(send(_job(project, number), f"job {number}") for number in numbers))


def _job(project: UUID, number: int) -> QueueLlmJob:
    return QueueLlmJob(
        job_id=derived_id("bench-job", number),
        project_id=project,
        provider=PROVIDER,
        model=MODEL,
        messages=[ChatMessage(role="user", content=f"Question {number}: what is the answer?")],
        max_output_tokens=100,
    )


def projected(conninfo: str, jobs: int) -> None:
    """Wait until the queue's read model has them all."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for _ in range(600):
            try:
                row = connection.execute("select count(*) from llm_jobs where status = 'queued'").fetchone()
            except psycopg.errors.UndefinedTable:
                row = None
            if row and row[0] >= jobs:
                return
            time.sleep(0.1)
    raise RuntimeError("the projector did not catch up in a minute")


def measure(server: Server, jobs: int, slots: int, *, profile: bool = False) -> Figures:
    with fresh_database(server.conninfo) as conninfo:
        asyncio.run(prepare(conninfo))
        folder = server.folder / conninfo_name(conninfo)
        folder.mkdir()
        projector = _start("bench.load.llm_jobs", JobsOrder(conninfo, str(folder), ["projector"]))
        try:
            uvloop.run(fill(JobsOrder(conninfo, str(folder), []), jobs))
            projected(conninfo, jobs)
            order = JobsOrder(conninfo, str(folder), ["worker"], jobs, slots, profile)
            return run("bench.load.llm_jobs", [order], server.cpu)[0]
        finally:
            projector.kill()
            projector.wait()


def conninfo_name(conninfo: str) -> str:
    return psycopg.conninfo.conninfo_to_dict(conninfo)["dbname"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.llm_jobs", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--profile", action="store_true")
    asked = parser.parse_args()
    quiet_logs()
    with a_server(None) as server:
        figures = measure(server, asked.jobs, asked.slots, profile=asked.profile)
        print(figures)


if __name__ == "__main__":
    main()
