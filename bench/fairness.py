"""How long others wait while one project floods the queue: by turns, and first come first served, on one server.

`python -m bench.fairness [--flood 5000] [--others 5] [--every 200] [--seconds 20] [--workers 2] [--slots 16]`
"""

import argparse
import asyncio
import logging
import os
import secrets
import tempfile
import time
from collections import defaultdict
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
import uvloop
from pydantic import SecretStr

from adapters.postgres.queueing import PostgresJobQueue
from bench.append import a_server
from commands.agents import AddAgent, WantedReview
from commands.handling import Caller, Command, Principal
from commands.llm_jobs import ChatMessage, QueueLlmJob
from commands.projects import AddPhase, CreateProject, InitializeProject, StartProject
from commands.providers import RegisterProvider
from domain.following import ReadyJob
from domain.ids import derived_id
from domain.values import AiConfig
from streams.dispatcher import Dispatcher, Pace
from tests.support.postgres import fresh_database
from toybox.settings import Settings
from toybox.system import System, running

PACE = Pace()
SCRIPTED = AiConfig(provider="scripted", model="scripted-small")
ENDS = ("llm_job.completed", "llm_job.failed")
_OLDEST = (
    "select job_id from llm_jobs where status = 'queued' and job_id <> all(%s::uuid[]) and not exists ("
    "select from leases where resource = job_id and heartbeat_at >= clock_timestamp() - make_interval(secs => %s))"
    " order by queued_position limit %s"
)


class OldestFirst(PostgresJobQueue):
    """The control: whoever came first is first, whoever it is."""

    async def ready(self, limit: int, *, skipping: Collection[UUID] = ()) -> Sequence[ReadyJob]:
        """In the order in which they were queued."""
        rows = await self._rows(_OLDEST, [list(skipping), self._lease_seconds, limit])
        return [ReadyJob(row[0]) for row in rows]


def only_warnings() -> None:
    """The figures are what this is about."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))


class FirstComeFirstServed(Dispatcher):
    """A worker whose queue knows no turns."""

    def __init__(self, *, queue: PostgresJobQueue, **more: Any) -> None:
        super().__init__(queue=OldestFirst(queue._pool, lease_seconds=PACE.lease_seconds), **more)  # noqa: SLF001


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked for, and of how many."""

    flood: int
    others: int
    every_ms: int
    seconds: float
    workers: int
    slots: int
    call_ms: int


@dataclass(frozen=True, slots=True)
class Waits:
    """From a job's entry into the log to its start, in seconds, shortest first."""

    flood: Sequence[float]
    others: Sequence[float]
    rate: float
    """Jobs a second from the first start to the last end, all together."""


class Town:
    """Projects that ask a model, in the process that also works."""

    def __init__(self, system: System, load: Load) -> None:
        self._system, self._load = system, load
        self._principal = Principal("bench", frozenset({"*"}))
        self.names: dict[UUID, str] = {}

    async def send(self, command: Command) -> None:
        """A command of a person."""
        await self._system.commands.send(command, Caller(self._principal, "cli", secrets.token_hex(8)))

    async def project(self, name: str) -> UUID:
        """A project that runs and goes on running: its only agent waits for a person."""
        project = derived_id("bench", name)
        await self.send(CreateProject(project_id=project, name=name, ai=SCRIPTED))
        await self.send(AddPhase(project_id=project, name="ask"))
        review = WantedReview(title="Good enough?")
        await self.send(AddAgent(project_id=project, phase="ask", name="asker", prompt="Say hello", checkpoint=review))
        await self.send(InitializeProject(project_id=project, inputs=[]))
        await self.send(StartProject(project_id=project))
        return project

    async def ask(self, project: UUID, number: int, name: str) -> None:
        """One chat."""
        job = derived_id("bench", project, number)
        self.names[job] = name
        said = f"#scripted: delay {self._load.call_ms / 1000:.3f}\n#scripted: text Yes."
        messages = [ChatMessage(role="user", content=said)]
        chosen: dict[str, Any] = {"provider": "scripted", "model": "scripted-small", "max_output_tokens": 16}
        await self.send(QueueLlmJob(job_id=job, project_id=project, messages=messages, **chosen))

    async def flood(self, project: UUID) -> None:
        """All at once, 64 at a time."""
        for start in range(0, self._load.flood, 64):
            numbers = range(start, min(start + 64, self._load.flood))
            await asyncio.gather(*(self.ask(project, each, "flood") for each in numbers))

    async def drip(self, project: UUID) -> None:
        """One job after the other, whatever becomes of them."""
        loop, every = asyncio.get_running_loop(), self._load.every_ms / 1000
        began = loop.time()
        for number in range(round(self._load.seconds / every)):
            await asyncio.sleep(max(0, began + number * every - loop.time()))
            await self.ask(project, number, "others")

    async def until_done(self, patience: float = 600) -> None:
        """Until every chat has ended."""
        async with asyncio.timeout(patience):
            position, left = 0, set(self.names)
            while left:
                head = await self._system.store.wait(position, 1.0)
                for stored in await self._system.store.read(position, 1_000_000, types=set(ENDS), up_to=head):
                    left.discard(stored.stream_id)
                position = head


async def measured(conninfo: str, folder: Path, load: Load, *, turns: bool) -> Waits:
    """One run on a database of its own."""
    settings = Settings(
        data_dir=folder, database_url=SecretStr(conninfo), worker_slots=load.slots, pool_size=20, log_level="error"
    )
    kind = Dispatcher if turns else FirstComeFirstServed
    async with AsyncExitStack() as stack:
        roles = ("projector", "worker")
        system = await stack.enter_async_context(running(settings, roles=roles, environ={}, dispatcher=kind))
        for _ in range(load.workers - 1):
            await stack.enter_async_context(running(settings, roles=("worker",), environ={}, dispatcher=kind))
        town = Town(system, load)
        await town.send(RegisterProvider(name="scripted", kind="scripted"))
        flooding = await town.project("flood")
        others = [await town.project(f"other {number}") for number in range(load.others)]
        await town.flood(flooding)
        await asyncio.gather(*(town.drip(each) for each in others))
        await town.until_done()
        return await read(system, town.names)


async def read(system: System, names: dict[UUID, str]) -> Waits:
    """From the log alone."""
    queued, started = dict[UUID, datetime](), dict[UUID, datetime]()
    ended: list[datetime] = []
    types = {"llm_job.queued", "llm_job.started", *ENDS}
    position, head = 0, await system.store.head()
    while position < head:
        batch = await system.store.read(position, 20_000, types=types, up_to=head)
        for each in batch:
            if each.stream_id in names:
                match each.type:
                    case "llm_job.queued":
                        queued[each.stream_id] = each.recorded_at
                    case "llm_job.started":
                        started.setdefault(each.stream_id, each.recorded_at)
                    case _:
                        ended.append(each.recorded_at)
        position = batch[-1].position if len(batch) == 20_000 else head
    waits: dict[str, list[float]] = defaultdict(list)
    for job, name in names.items():
        waits[name].append((started[job] - queued[job]).total_seconds())
    seconds = (max(ended) - min(started.values())).total_seconds()
    return Waits(sorted(waits["flood"]), sorted(waits["others"]), len(names) / seconds)


def at(waits: Sequence[float], share: float) -> str:
    """A percentile, in milliseconds."""
    return f"{waits[min(len(waits) - 1, int(len(waits) * share))] * 1000:>9,.0f}" if waits else f"{'-':>9}"


def main() -> None:
    """Both ways, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flood", type=int, default=5_000)
    parser.add_argument("--others", type=int, default=5)
    parser.add_argument("--every", type=int, default=200, metavar="MS")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--call", type=int, default=50, metavar="MS")
    parser.add_argument("--postgres", metavar="CONNINFO")
    given = parser.parse_args()
    load = Load(given.flood, given.others, given.every, given.seconds, given.workers, given.slots, given.call)
    only_warnings()
    print(f"load average {os.getloadavg()[0]:.1f}; {load}")
    print(f"{'':<28}{'jobs':>7}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'longest':>9}{'jobs/s':>9}")
    with a_server(given.postgres) as server:
        for name, turns in (("by turns", True), ("first come, first served", False)):
            began = time.monotonic()
            with fresh_database(server.conninfo) as conninfo, tempfile.TemporaryDirectory() as folder:
                waits = uvloop.run(measured(conninfo, Path(folder), load, turns=turns))
            for who, found in (("others", waits.others), ("flood", waits.flood)):
                figures = "".join(at(found, share) for share in (0.5, 0.95, 0.99, 1))
                print(f"{f'{name}: {who}':<28}{len(found):>7}{figures}{waits.rate:>9,.0f}")
            print(f"{'':<28}{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
