"""How fast toybox appends, beside the eventsourcing library and bare Postgres on the same server in the same run.

`python -m bench.append [--quick] [--rounds 3] [--seconds 5] [--profile] [--postgres CONNINFO]`
"""

import argparse
import asyncio
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from adapters.postgres.embedded.postmaster import Postmaster
from adapters.postgres.guards import check_durability
from adapters.postgres.migrate import migrate
from bench.load import pgbench
from bench.load.figures import Figures, Line, line, together
from bench.load.library import LibraryOrder, Way
from bench.load.saying import machine, promise
from bench.load.toybox_commands import CommandsOrder
from bench.load.turns import run
from tests.support.postgres import server_folder

CALLERS = 64
COMMANDS, LIBRARY = "bench.load.toybox_commands", "bench.load.library"
ONE, TWO, ALONE = "toybox, 64 callers, one process", "toybox, 64 callers each, two processes", "toybox, one caller"
LIBRARY_TURNS, LIBRARY_COLLIDING = "library, Application.save in turn", "library, Application.save colliding"
RECORDER, ROWS = "library, recorder, distinct aggregates", "pgbench, single-row inserts"


@dataclass(frozen=True, slots=True)
class Server:
    """Where the loads run."""

    conninfo: str
    folder: Path
    cpu: Callable[[], Mapping[int, float]]
    """Processor seconds that each of the server's processes has used; nothing where it is not ours to look at."""


class Bench:
    """Each load in turn, round after round."""

    def __init__(self, server: Server, seconds: float) -> None:
        self._server, self._seconds = server, seconds

    def loads(self) -> dict[str, Callable[[], Figures]]:
        """Every line of the table, in its order."""
        return {
            ONE: lambda: self._toybox(1, CALLERS),
            TWO: lambda: self._toybox(2, CALLERS),
            ALONE: lambda: self._toybox(1, 1),
            LIBRARY_TURNS: lambda: self._library("in turn"),
            LIBRARY_COLLIDING: lambda: self._library("colliding"),
            RECORDER: lambda: self._library("recorder"),
            ROWS: lambda: pgbench.run(
                self._server.conninfo, self._server.folder, clients=CALLERS, seconds=self._seconds
            ),
        }

    def _toybox(self, processes: int, callers: int, *, profile: bool = False) -> Figures:
        hot = secrets.token_hex(4)
        orders = [
            CommandsOrder(self._server.conninfo, f"{hot}-{number}", hot, callers, self._seconds, profile)
            for number in range(processes)
        ]
        measured = run(COMMANDS, orders, self._server.cpu)
        if processes == 1:
            return measured[0]
        both = together(measured)
        both.server_cpu = sum(one.server_cpu for one in measured)
        return both

    def _library(self, way: Way) -> Figures:
        return run(LIBRARY, [LibraryOrder(self._server.conninfo, way, CALLERS, self._seconds)], self._server.cpu)[0]

    def profile(self) -> None:
        """One more run of the first load under a profiler; prints where the time goes."""
        self._toybox(1, CALLERS, profile=True)


@contextmanager
def a_server(named: str | None) -> Iterator[Server]:
    """The server that was named, else an embedded one in a folder that is thrown away."""
    with server_folder() as folder:
        if named:
            yield Server(named, folder, dict)
            return
        postmaster = Postmaster(folder / "data", {})
        conninfo = postmaster.start()
        try:
            yield Server(conninfo, folder, lambda: _cpu_of_children(postmaster.pid))
        finally:
            postmaster.stop()


def _cpu_of_children(pid: int | None) -> dict[int, float]:
    used: dict[int, float] = {}
    for child in psutil.Process(pid).children():
        with suppress(psutil.NoSuchProcess):
            times = child.cpu_times()
            used[child.pid] = times.user + times.system
    return used


async def prepare(conninfo: str) -> str:
    """Migrate, refuse a server that is fast because it forgets, and answer what it is."""
    await migrate(conninfo)
    async with await psycopg.AsyncConnection.connect(conninfo) as connection:
        await check_durability(connection)
        row = await (await connection.execute("show server_version")).fetchone()
        return f"PostgreSQL {row[0] if row else '?'}, fsync and synchronous_commit on"


def table(lines: dict[str, Line]) -> list[str]:
    """What is printed: figures, then ratios to the library's save and to bare inserts."""
    save = max(lines[LIBRARY_TURNS].rate, lines[LIBRARY_COLLIDING].rate)
    rows = lines[ROWS].rate
    heads = ("per second", "p50 ms", "p99 ms", "client CPU", "server CPU", "× save", "× rows")
    said = [f"{'median of the rounds; CPU in s per 1,000':42}" + "".join(f"{head:>11}" for head in heads)]
    for name, each in lines.items():
        cells = (
            f"{each.rate:,.0f}",
            *(f"{figure:.2f}" if figure else "-" for figure in (each.p50, each.p99)),
            *(f"{figure:.3f}" if figure else "-" for figure in (each.client_cpu, each.server_cpu)),
            *(f"{each.rate / other:.2f}" if other else "-" for other in (save, rows)),
        )
        said.append(f"{name:42}" + "".join(f"{cell:>11}" for cell in cells))
    return said


def bars(lines: dict[str, Line]) -> list[str]:
    """What toybox promises, and whether this run kept it."""
    one, two, save = lines[ONE], lines[TWO], max(lines[LIBRARY_TURNS].rate, lines[LIBRARY_COLLIDING].rate)
    promised = {
        f"one process ≥ 10,000 commands/s: {one.rate:,.0f}": one.rate >= 10_000,
        f"two processes no less than one: {two.rate / one.rate:.2f} ×": two.rate >= one.rate,
        f"p99 of two processes < 25 ms: {two.p99:.1f} ms": two.p99 < 25,
        f"p99 of two processes within 3 × of one alone: {two.p99 / one.p99:.2f} ×": two.p99 <= 3 * one.p99,
        f"neither of two starves (fewer / more ≥ 0.5): {two.notes['fairness']:.2f}": two.notes["fairness"] >= 0.5,
        f"≥ 8 × the library's save: {one.rate / save:.1f} ×": one.rate >= 8 * save,
        f"≥ 8 × the library's recorder: {one.rate / lines[RECORDER].rate:.1f} ×": one.rate >= 8 * lines[RECORDER].rate,
        f"≥ bare single-row inserts: {one.rate / lines[ROWS].rate:.2f} ×": one.rate >= lines[ROWS].rate,
    }
    return [promise(text, kept=kept) for text, kept in promised.items()]


def main() -> None:
    """Measure what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(prog="python -m bench.append", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load in each round")
    parser.add_argument("--quick", action="store_true", help="one round of one second: shows that it works, no more")
    parser.add_argument("--profile", action="store_true", help="afterwards, print where the time of a command goes")
    parser.add_argument("--postgres", help="measure on this server instead of an embedded one")
    asked = parser.parse_args()
    rounds, seconds = (1, 1.0) if asked.quick else (asked.rounds, asked.seconds)
    with a_server(asked.postgres) as server:
        print(asyncio.run(prepare(server.conninfo)))
        print(machine())
        bench = Bench(server, seconds)
        measured: dict[str, list[Figures]] = {}
        for number in range(rounds):
            for name, load in bench.loads().items():
                measured.setdefault(name, []).append(load())
                print(f"round {number + 1} of {rounds}: {name}: {measured[name][-1].rate:,.0f}/s", flush=True)
        lines = {name: line(each) for name, each in measured.items()}
        print("", *table(lines), "", sep="\n")
        for name, each in lines.items():
            if each.notes:
                print(f"{name}: " + ", ".join(f"{note} {value:.2f}" for note, value in each.notes.items()))
        print("", "promises:", *bars(lines), sep="\n")
        if asked.profile:
            bench.profile()


if __name__ == "__main__":
    main()
