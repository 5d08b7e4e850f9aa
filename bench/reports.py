"""How long cost reports take over 100 thousand and over 10 million costs, by the API's own routes.

`python -m bench.reports [--quick] [--large 10000000] [--small 100000] [--runs 100000] [--rounds 40] [--turns 3]`
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

from adapters.postgres.migrate import migrate
from bench.append import Server, a_server
from bench.load.spending import AGENTS, BEGINS, DAYS, PROJECTS, agent, load, project
from faults.crew.sending import quiet_logs
from tests.support.client import Api, api_on_postgres, build_read_models
from tests.support.postgres import fresh_database
from toybox import inventory
from toybox.serving.collector import spare_what_stands

BAR_MS: Final = 50.0
BAR_RATIO: Final = 1.3


def asked() -> dict[str, tuple[str, dict[str, Any]]]:
    """The mix of reports: what dashboards, finance and auditors ask."""
    report, berlin, india = "/api/cost/report", "Europe/Berlin", "Asia/Kolkata"
    one: dict[str, Any] = {"project_id": str(project(7))}
    month = {"from": "2026-05-01", "to": "2026-06-01"}
    year = {"from": "2025-11-01", "to": "2026-11-01"}
    return {
        "all time, total": (report, {"bucket": "none"}),
        "all time by project": (report, {"bucket": "none", "group_by": "project"}),
        "all time by agent": (report, {"bucket": "none", "group_by": "agent"}),
        "all time by model, tier": (report, {"bucket": "none", "group_by": ["model", "tier"]}),
        "year by month": (report, {"bucket": "month", **year}),
        "year by month, project, Berlin": (report, {"bucket": "month", "group_by": "project", "zone": berlin, **year}),
        "year by week, model, India": (report, {"bucket": "week", "group_by": "model", "zone": india, **year}),
        "year by day": (report, {"bucket": "day", **year}),
        "year by day, Berlin": (report, {"bucket": "day", "zone": berlin, **year}),
        "year by day, India": (report, {"bucket": "day", "zone": india, "limit": 1000, **year}),
        "year by day, project": (report, {"bucket": "day", "group_by": "project", **year}),
        "month by day, project, Berlin": (report, {"bucket": "day", "group_by": "project", "zone": berlin, **month}),
        "month by day, key": (report, {"bucket": "day", "group_by": "key", **month}),
        "month by hour": (report, {"bucket": "hour", "limit": 1000, **month}),
        "month by agent, Los Angeles": (
            report, {"bucket": "none", "group_by": "agent", "zone": "America/Los_Angeles", **month},
        ),
        "month by project, model": (report, {"bucket": "none", "group_by": ["project", "model"], **month}),
        "month by agent, model, key, tier": (
            report, {"bucket": "none", "group_by": ["agent", "model", "key", "tier"], **month},
        ),
        "a project's year by month, agent": (report, {"bucket": "month", "group_by": "agent", **one, **year}),
        "a project's year by day, Berlin": (report, {"bucket": "day", "zone": berlin, **one, **year}),
        "a project's year by week, phase, model": (
            report, {"bucket": "week", "group_by": ["phase", "model"], **one, **year},
        ),
        "an agent's year by day, India": (
            report, {"bucket": "day", "zone": india, "agent_id": str(agent(7, 3)), "limit": 1000, **year},
        ),
        "a model's year by month, project": (
            report, {"bucket": "month", "group_by": "project", "model": "model-3", "provider": "provider-3", **year},
        ),
        "top agents, 30 days": ("/api/cost/top", {"by": "agent", "from": "2026-05-01", "to": "2026-05-31"}),
        "top projects, 30 days, Berlin": (
            "/api/cost/top", {"by": "project", "zone": berlin, "from": "2026-05-01", "to": "2026-05-31"},
        ),
        "history of a year, Berlin": ("/api/cost/history", {"bucket": "day", "zone": berlin, **year}),
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds of one report."""

    p50: float
    p95: float
    cpu: float
    """Of this process and of PostgreSQL's, on average."""

    @classmethod
    def of(cls, taken: list[float], used: float) -> "Times":
        """The percentiles of some, which used so much processor time in all."""
        cuts = quantiles(taken, n=100, method="inclusive")
        return cls(cuts[49], cuts[94], used / len(taken))

    @classmethod
    def best(cls, each: list["Times"]) -> "Times":
        """Of several turns the one that others of the machine disturbed least."""
        return min(each, key=lambda times: times.p95)


@asynccontextmanager
async def a_system(conninfo: str) -> AsyncIterator[Api]:
    """The whole application over this database, without a socket."""
    with tempfile.TemporaryDirectory() as folder:
        async with api_on_postgres(conninfo, Path(folder)) as api:
            spare_what_stands()  # as every process of toybox does when it is ready
            yield api


async def measure(api: Api, rounds: int, server: Server) -> dict[str, Times]:
    """Every report so often, in turn; the first of each warms up and does not count."""
    taken: dict[str, list[float]] = {name: [] for name in asked()}
    used = dict.fromkeys(taken, 0.0)
    for number in range(rounds + 2):
        for name, (path, params) in asked().items():
            before = server.cpu()
            began, own = time.perf_counter(), time.process_time()
            answer = await api.http.get(path, params=params)
            spent, own = time.perf_counter() - began, time.process_time() - own
            assert answer.status_code == 200, f"{name}: {answer.text}"
            if number > 1:
                taken[name].append(spent * 1e3)
                served = sum(now - before[each] for each, now in server.cpu().items() if each in before)
                used[name] += (own + served) * 1e3
    return {name: Times.of(each, used[name]) for name, each in taken.items()}


async def run(server: Server, costs: int, runs: int, rounds: int, turns: int) -> dict[str, Times]:
    """Load, check, measure; on a database of its own."""
    with fresh_database(server.conninfo) as conninfo:
        await migrate(conninfo)
        await build_read_models(conninfo)
        began = time.perf_counter()
        figures = await load(conninfo, costs, runs)
        print(f"\n{costs:,} costs loaded and checked in {time.perf_counter() - began:,.0f} s: {figures}", flush=True)
        async with a_system(conninfo) as api:
            found = [await measure(api, rounds, server) for _ in range(turns)]
            return {name: Times.best([each[name] for each in found]) for name in asked()}


def show(small: Mapping[str, Times], large: Mapping[str, Times], counts: tuple[int, int]) -> bool:
    """The table, and whether the bars are kept."""
    print(
        f"\n{'':44}{counts[0]:>24,}{counts[1]:>26,}\n{'report':44}{'p50':>8}{'p95':>8}{'CPU':>8}{'p50':>10}{'p95':>8}{'CPU':>8}{'ratio':>8}"
    )
    for name, now in large.items():
        then = small[name]
        figures = f"{then.p50:8.1f}{then.p95:8.1f}{then.cpu:8.1f}{now.p50:10.1f}{now.p95:8.1f}{now.cpu:8.1f}"
        print(f"{name:44}{figures}{now.p50 / then.p50:8.2f}")
    slowest = max(large, key=lambda name: large[name].p95)
    ratios = {name: large[name].p50 / small[name].p50 for name in large}
    steepest = max(ratios, key=ratios.__getitem__)
    kept = [large[slowest].p95 < BAR_MS, ratios[steepest] <= BAR_RATIO]
    print(f"\n{'kept  ' if kept[0] else 'MISSED'}  every p95 < {BAR_MS:.0f} ms: {slowest}, {large[slowest].p95:.1f} ms")
    print(f"{'kept  ' if kept[1] else 'MISSED'}  every ratio ≤ {BAR_RATIO}: {steepest}, {ratios[steepest]:.2f}")
    return all(kept)


def main() -> None:
    """Measure what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(prog="python -m bench.reports", description=__doc__)
    parser.add_argument("--small", type=int, default=100_000)
    parser.add_argument("--large", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=100_000, help="of both: the same agents at the same times")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--turns", type=int, default=3, help="of so many rounds; the best one of each report counts")
    parser.add_argument("--quick", action="store_true", help="20,000 and 200,000 costs: shows that it works, no more")
    given = parser.parse_args()
    if given.quick:
        given.small, given.large, given.runs, given.rounds, given.turns = 20_000, 200_000, 20_000, 10, 1
    quiet_logs()
    inventory.load()
    print(f"{os.cpu_count()} processors, load average {os.getloadavg()[0]:.1f} before: trust the ratios")
    print(f"{given.runs:,} runs: an agent's calls with one model within a quarter of an hour, the same in both")
    print(f"{PROJECTS} projects, {AGENTS} agents each, {DAYS} days from {BEGINS.date()}")
    with a_server(None) as server:
        small = asyncio.run(run(server, given.small, given.runs, given.rounds, given.turns))
        large = asyncio.run(run(server, given.large, given.runs, given.rounds, given.turns))
    print(f"load average {os.getloadavg()[0]:.1f} at the end")
    show(small, large, (given.small, given.large))


if __name__ == "__main__":
    main()
