"""How long read models stand still, partition by partition, while a second worker on Kafka joins and leaves under load.

`python -m bench.rebalance [--static] [--seconds 15] [--rate 300]`
"""

import argparse
import asyncio
import random
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import uvloop
from psycopg_pool import AsyncConnectionPool

from adapters.postgres.connections import pool
from adapters.postgres.embedded import EmbeddedPostgres
from adapters.postgres.event_store import PostgresStore
from adapters.postgres.migrate import migrate
from bench.load.saying import machine
from commands.handling import Caller
from faults.crew.faust_workers import WorkerOrder, WorkerProcess
from faults.crew.journals import Work, counter_id
from faults.crew.mirror import Counts, mirror_of
from faults.crew.relays import RelayOrder, RelayProcess
from faults.crew.sending import insist, quiet_logs, sending
from projections.projector import generation, partition_rows, rebuild
from streams.topics import Topics
from tests.commands.counter import OpenCounter
from tests.support.kafka_broker import a_broker
from tests.support.kafka_reading import committed, complaints
from tests.support.postgres import server_folder
from tests.support.story import OWNER

COUNTERS = 240
"""Enough that every partition has something to do all the time."""
CALLERS = 16
LOOK_SECONDS = 0.02
START_SECONDS = 10.0
"""What a process may take before it joins."""
CATCH_UP_SECONDS = 120.0


@dataclass(slots=True)
class Watch:
    """When each partition last moved, and how long it stood still at most since it was last asked."""

    moved: dict[int, float] = field(default_factory=dict[int, float])
    offsets: dict[int, int] = field(default_factory=dict[int, int])
    longest: dict[int, float] = field(default_factory=dict[int, float])

    def saw(self, offsets: Mapping[int, int], now: float) -> None:
        """What the table of positions says at this moment."""
        for partition, offset in offsets.items():
            since = now - self.moved.setdefault(partition, now)
            self.longest[partition] = max(since, self.longest.get(partition, 0.0))
            if offset != self.offsets.get(partition):
                self.offsets[partition], self.moved[partition] = offset, now

    def told(self, what: str) -> None:
        """The pauses of the time that ends now; the next one begins."""
        pauses = sorted(self.longest.values())
        print(f"  {what:30}{median(pauses):>9.2f} s{pauses[-1]:>9.2f} s   {len(pauses)} partitions", flush=True)
        self.longest.clear()


async def watch(opened: AsyncConnectionPool[Any], into: Watch) -> None:
    """Look until cancelled."""
    while True:
        async with opened.connection() as connection:
            if live := await generation(connection, Counts.name, "live"):
                rows = await partition_rows(connection, live)
                into.saw({number: row.next_offset for number, row in rows.items()}, time.monotonic())
        await asyncio.sleep(LOOK_SECONDS)


async def write(conninfo: str, rate: int) -> None:
    """Count on every counter until cancelled, so many times a second: a machine that is too busy pauses by itself."""
    rng, sent = random.Random(1), 0
    async with sending(conninfo) as (commands, _):

        async def call() -> None:
            nonlocal sent
            while True:
                sent += 1
                await insist(commands, Work(f"work-{sent}", rng.randrange(COUNTERS), 1, None))
                await asyncio.sleep(CALLERS / rate)

        async with asyncio.TaskGroup() as group:
            for _ in range(CALLERS):
                group.create_task(call())


async def judged(opened: AsyncConnectionPool[Any], store: PostgresStore, address: str, topic: str) -> list[str]:
    """Once everything is through: what is missing, doubled, or not what the log says."""
    async with asyncio.timeout(CATCH_UP_SECONDS):
        head = -1
        while head != (now := await store.head()) or await _position(opened) != now:
            head = now
            await asyncio.sleep(0.5)
    said = complaints(await asyncio.to_thread(committed, address, topic), range(1, head + 1))
    comparison = (await rebuild(opened, store, Counts())).comparison
    if not comparison.comparable or not comparison.equal:
        said.append(f"the view is not what the log says: {comparison.differences()}")
    async with opened.connection() as connection:
        counters = [counter_id(number) for number in range(COUNTERS)]
        sums = {row.key: row.view.count for row in await Counts.many(connection, counters)}
        twins = {
            row.key: row.view.count for row in await Counts.many(connection, [mirror_of(each) for each in counters])
        }
    if wrong := [each for each in counters if sums[each] != twins[mirror_of(each)]]:
        said.append(f"{len(wrong)} mirrors differ, the first that of {wrong[0]}")
    print(f"{head:,} events, {sum(sums.values()):,} counted, {sum(twins.values()):,} mirrored")
    return said


async def _position(opened: AsyncConnectionPool[Any]) -> int:
    async with opened.connection() as connection:
        live = await generation(connection, Counts.name, "live")
    return live.position if live else 0


async def measure(conninfo: str, address: str, folder: Path, asked: argparse.Namespace) -> list[str]:
    """Alone, joined, together, left, alone again."""
    prefix = f"rebalance-{secrets.token_hex(4)}"
    relay = RelayProcess(RelayOrder(conninfo, address, prefix, 500, str(folder / "relay.said")))
    first, second = (
        WorkerProcess(WorkerOrder(conninfo, address, prefix, name, str(folder / f"{name}.said"), asked.static))
        for name in ("first", "second")
    )
    await migrate(conninfo)
    seen = Watch()
    async with pool(conninfo, size=4) as opened, sending(conninfo) as (commands, store):
        for number in range(COUNTERS):
            for each in (counter_id(number), mirror_of(counter_id(number))):
                await commands.send(OpenCounter(counter_id=each), Caller(OWNER, "http", f"open {each}"))
        relay.start()
        first.start()
        writing = asyncio.create_task(write(conninfo, asked.rate))
        watching = asyncio.create_task(watch(opened, seen))
        try:
            async with asyncio.timeout(CATCH_UP_SECONDS):
                while len(seen.offsets) < 2 or await _position(opened) <= 2 * COUNTERS:  # noqa: ASYNC110 -- tables tell nobody
                    await asyncio.sleep(0.1)
            await asyncio.sleep(asked.seconds / 2)
            seen.longest.clear()
            print(f"without progress, per partition {'median':>9}{'longest':>11}")
            await asyncio.sleep(asked.seconds)
            seen.told("one worker")
            second.start()
            await asyncio.sleep(asked.seconds + START_SECONDS)
            seen.told("a second one joins")
            await asyncio.sleep(asked.seconds)
            seen.told("two workers")
            await asyncio.to_thread(second.leave)
            await asyncio.sleep(asked.seconds + 15 * asked.static)
            seen.told("the second one leaves")
            await asyncio.sleep(asked.seconds)
            seen.told("one worker again")
            writing.cancel()
            await asyncio.wait([writing])
            return await judged(opened, store, address, Topics.named(prefix).events.name)
        finally:
            watching.cancel()
            await asyncio.wait([watching])
            for each in (second, first, relay):
                each.end()


async def run(home: Path, asked: argparse.Namespace) -> list[str]:
    """On servers of its own."""
    with a_broker() as broker:
        async with EmbeddedPostgres(home / "data") as server:
            return await measure(server.conninfo, broker.address, home, asked)


def main() -> int:
    """Measure what the command line asks for, and print it; 1 when something was missed or done twice."""
    parser = argparse.ArgumentParser(prog="python -m bench.rebalance", description=__doc__)
    parser.add_argument("--static", action="store_true", help="members with names of their own, as TOYBOX_WORKER_NAME")
    parser.add_argument("--seconds", type=float, default=15.0, help="how long each part lasts")
    parser.add_argument("--rate", type=int, default=300, help="commands a second; each brings forth two events")
    asked = parser.parse_args()
    quiet_logs()
    print(machine())
    with server_folder() as home:
        said = uvloop.run(run(home, asked))
    print(
        *(
            said
            or ["nothing missed, nothing twice: the chain of each partition is unbroken, views equal a fresh build"]
        ),
        sep="\n",
    )
    return 1 if said else 0


if __name__ == "__main__":
    raise SystemExit(main())
