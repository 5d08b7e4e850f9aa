"""How fast the embedded projector catches up, each shipped projection alone, over a mixed log of a busy installation.

`python -m bench.projections [--quick] [--rounds 3] [--events 48000] [--only NAME]`
"""

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import uvloop
from psycopg_pool import AsyncConnectionPool

from adapters.postgres.connections import pool
from adapters.postgres.event_store import PostgresStore
from adapters.postgres.migrate import migrate
from bench.append import Server, a_server
from bench.faust import log_of
from domain.log import StoredEvent
from faults.crew.sending import quiet_logs
from projections.documents import Document
from projections.projector import PROJECTIONS, Projection
from streams.follower import Follower
from tests.streams.kafka_following import append
from tests.support.postgres import fresh_database
from toybox import inventory
from toybox.serving.collector import spare_what_stands

BARS = {"documents": 15_000, "tables": 30_000}
SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Rate:
    """One projection's catch-up."""

    events: float
    """Of the log, a second."""
    heard: float
    """Of those that it has a handler for, a second."""
    cpu: float
    """Microseconds of this process for each event of the log."""
    server: float
    """Microseconds of PostgreSQL's processes for each event of the log."""


def kind(projection: Projection) -> str:
    """Which bar is its own."""
    return "documents" if isinstance(projection, Document) else "tables"


async def catch_up(
    store: PostgresStore,
    opened: AsyncConnectionPool[Any],
    projection: Projection,
    events: Sequence[StoredEvent],
    server: Server,
) -> Rate:
    """From the first event to the head, by the product's own follower."""
    heard = sum(1 for each in events if projection.hears(each.type))
    follower = Follower(store, opened, [projection])
    before = server.cpu()
    began, used = time.perf_counter(), time.process_time()
    follower.start()
    await follower.wait_for([projection.name], len(events), SECONDS)
    seconds, cpu = time.perf_counter() - began, time.process_time() - used
    served = sum(each - before.get(process, 0.0) for process, each in server.cpu().items())
    await follower.stop()
    each = 1e6 / len(events)
    return Rate(len(events) / seconds, heard / seconds, cpu * each, served * each)


async def one_round(
    conninfo: str, events: Sequence[StoredEvent], chosen: Sequence[Projection], server: Server
) -> dict[str, Rate]:
    """On a database of its own, whose projections stand at the first event when the rest comes."""
    await migrate(conninfo)
    async with pool(conninfo, size=8) as opened:
        store = PostgresStore(conninfo, opened)
        await append(store, events[:1])
        first = Follower(store, opened, chosen)
        first.start()
        await first.wait_for([each.name for each in chosen], 1, SECONDS)
        await first.stop()
        await append(store, events[1:])
        spare_what_stands()
        return {each.name: await catch_up(store, opened, each, events, server) for each in chosen}


async def measure(server: Server, asked: argparse.Namespace) -> None:
    """Round after round, then the medians beside the bars."""
    events = await log_of(asked.events)
    chosen = [each for each in PROJECTIONS.values() if asked.only in (None, each.name)]
    rounds: list[dict[str, Rate]] = []
    for number in range(asked.rounds):
        with fresh_database(server.conninfo) as conninfo:
            rounds.append(await one_round(conninfo, events, chosen, server))
        print(f"round {number + 1} of {asked.rounds}", flush=True)
    print(f"\n{len(events):,} events\n{'':22}{'log':>12}{'heard':>12}{'CPU each':>12}{'PostgreSQL':>14}")
    for name, bar in BARS.items():
        group = [each.name for each in chosen if kind(each) == name]
        rates = {each: median(found[each].events for found in rounds) for each in group}
        for each in sorted(group, key=rates.__getitem__):
            heard = median(found[each].heard for found in rounds)
            cpu, served = (median(getattr(found[each], what) for found in rounds) for what in ("cpu", "server"))
            print(f"  {each:20}{rates[each]:>10,.0f}/s{heard:>10,.0f}/s{cpu:>9.1f} µs{served:>11.1f} µs")
        if group:
            least = min(group, key=rates.__getitem__)
            kept = "kept  " if rates[least] >= bar else "MISSED"
            print(f"{kept}  {name} ≥ {bar:,} events/s: the slowest, {least}, {rates[least]:,.0f}\n")


def main() -> None:
    """Measure what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(prog="python -m bench.projections", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--events", type=int, default=48_000)
    parser.add_argument("--only", help="one projection")
    parser.add_argument("--quick", action="store_true", help="one round of 12,000: shows that it works, no more")
    asked = parser.parse_args()
    if asked.quick:
        asked.rounds, asked.events = 1, 12_000
    quiet_logs()
    inventory.load()
    with a_server(None) as server:
        print(f"{os.cpu_count()} processors, load average {os.getloadavg()[0]:.1f} before: trust the ratios")
        uvloop.run(measure(server, asked))


if __name__ == "__main__":
    main()
