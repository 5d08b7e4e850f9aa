"""The load of the eventsourcing library: its own application and its own recorder on the same Postgres, in threads."""

import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from uuid import UUID, uuid4

import orjson
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import IntegrityError, StoredEvent
from psycopg.conninfo import conninfo_to_dict

from bench.load.figures import figures
from bench.load.turns import report, wait_for_go

WARM_UP_SECONDS = 0.5
Way = Literal["in turn", "colliding", "recorder"]


@dataclass(frozen=True, slots=True)
class LibraryOrder:
    """All that the load is told."""

    conninfo: str
    way: Way
    """Save one hot aggregate in turn, or all at once with retries; or record events of distinct aggregates."""
    callers: int
    seconds: float


class Tally(Aggregate):
    """Counts, as the counter of toybox's load does."""

    def __init__(self) -> None:
        self.count = 0

    @event("Added")
    def add(self, amount: int) -> None:
        """Count."""
        self.count += amount


def environment(order: LibraryOrder) -> dict[str, str]:
    """The library's settings: a connection for each thread, and its cache at its fastest for what is done."""
    server = conninfo_to_dict(order.conninfo)
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": str(server["dbname"]),
        "POSTGRES_HOST": str(server["host"]),
        "POSTGRES_PORT": str(server.get("port") or 5432),
        "POSTGRES_USER": str(server.get("user") or ""),
        "POSTGRES_PASSWORD": str(server.get("password") or _from_file(server.get("passfile"))),
        "POSTGRES_POOL_SIZE": str(order.callers),
        "AGGREGATE_CACHE_MAXSIZE": "100",
        # Whoever is alone at a time need not ask the database what others have done.
        "AGGREGATE_CACHE_FASTFORWARD": "n" if order.way == "in turn" else "y",
    }


def _from_file(passfile: object) -> str:
    return Path(str(passfile)).read_text("utf-8").strip().rpartition(":")[2] if passfile else ""


class Load:
    """Threads that call."""

    def __init__(self, order: LibraryOrder) -> None:
        self._order = order
        self._app = Application[UUID](environment(order))
        self._turn: AbstractContextManager[object] = threading.Lock() if order.way == "in turn" else nullcontext()
        self._hot = Tally()
        self._app.save(self._hot)
        self.retries = 0

    def run(self, seconds: float) -> list[float]:
        """The latency of every call that ended in this time."""
        latencies: list[list[float]] = [[] for _ in range(self._order.callers)]
        until = time.perf_counter() + seconds

        def call(mine: list[float]) -> None:
            act = self._recording() if self._order.way == "recorder" else self._save
            began = time.perf_counter()
            while began < until:
                act()
                ended = time.perf_counter()
                mine.append(ended - began)
                began = ended

        threads = [threading.Thread(target=call, args=[each]) for each in latencies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [latency for each in latencies for latency in each]

    def _save(self) -> None:
        while True:
            try:
                with self._turn:
                    tally: Tally = self._app.repository.get(self._hot.id)
                    tally.add(1)
                    self._app.save(tally)
                return
            except IntegrityError:
                self.retries += 1

    def _recording(self) -> Callable[[], None]:
        originator_id, version = uuid4(), 0

        def record() -> None:
            nonlocal version
            version += 1
            happened = StoredEvent(originator_id, version, "tally.added", b'{"amount":1,"timestamp":"2026-11-21"}')
            self._app.recorder.insert_events([happened])

        return record

    def close(self) -> None:
        """Give the connections back."""
        self._app.close()


def measure(order: LibraryOrder) -> None:
    """Warm up, wait for the go, measure, report."""
    load = Load(order)
    load.run(WARM_UP_SECONDS)
    wait_for_go()
    load.retries = 0
    cpu, began = time.process_time(), time.perf_counter()
    latencies = load.run(order.seconds)
    seconds = time.perf_counter() - began
    report(figures(latencies, seconds, time.process_time() - cpu, retries_each=load.retries / max(1, len(latencies))))
    load.close()


if __name__ == "__main__":
    measure(LibraryOrder(**orjson.loads(sys.argv[1])))
