"""How many durable commands a second one server process takes over HTTP: `python -m bench.http [--quick]`.

Starts `toybox up` on a data directory of its own, opens one budget and changes its limit from 64 connections: one hot
aggregate, authentication, idempotency key, full envelope, committed before it is answered. `--role api` leaves the
read models and reactions to nobody, `all` has them follow in the same process.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import httpx
import psutil

from tests.support.postgres import server_folder

CONNECTIONS = 64


@contextmanager
def server(folder: Path, role: str) -> Iterator[tuple[psutil.Process, str, str]]:
    """A running server: its process, address and owner's key."""
    chosen = {"TOYBOX_DATA_DIR": str(folder), "TOYBOX_LOG_LEVEL": "warning", "TOYBOX_RATE_LIMIT": "1000000"}
    environment = {**os.environ, **chosen}
    command = [sys.executable, "-m", "toybox", "up", "--port", "0", "--json", "--role", role]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        yield psutil.Process(process.pid), ready["url"], (folder / "owner.key").read_text().strip()
    finally:
        process.terminate()
        process.wait(timeout=30)


def measure(folder: Path, role: str, seconds: float) -> dict[str, float]:
    """One round: figures of the load, and the server's processor time for each thousand commands."""
    with server(folder, role) as (process, url, key):
        scope = {"scope": {"kind": "global"}, "limit": "1"}
        made = httpx.post(f"{url}/api/budgets", json=scope, headers={"Authorization": f"Bearer {key}"}, timeout=30)
        made.raise_for_status()
        address = httpx.URL(url)
        before = sum(process.cpu_times()[:2])
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "bench.load.http_client",
                address.host,
                str(address.port),
                str(CONNECTIONS),
                str(seconds),
            ],
            input=json.dumps({"path": f"/api/budgets/{made.json()['id']}", "key": key}),
            capture_output=True,
            text=True,
            check=True,
        )
        figures = json.loads(done.stdout)
        spent = sum(process.cpu_times()[:2]) - before
    if set(figures["statuses"]) != {"200"}:
        raise RuntimeError(f"not every command was taken: {figures['statuses']}")
    number = figures["per_second"] * seconds
    return {**{name: figures[name] for name in ("per_second", "p50_ms", "p99_ms")}, "cpu_ms": spent / number * 1000}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    asked = parser.parse_args()
    rounds, seconds = (1, 3.0) if asked.quick else (asked.rounds, asked.seconds)
    print(f"{CONNECTIONS} connections, {rounds} round(s) of {seconds:g} s, median; load {os.getloadavg()[0]:.1f}")
    print(f"{'role':8} {'commands/s':>11} {'p50 ms':>8} {'p99 ms':>8} {'cpu ms each':>12}")
    for role in ("api", "all"):
        found = []
        for _ in range(rounds):
            with server_folder() as folder:
                found.append(measure(folder / "data", role, seconds))
        middle = {name: median(each[name] for each in found) for name in found[0]}
        print(
            f"{role:8} {middle['per_second']:11,.0f} {middle['p50_ms']:8.1f} {middle['p99_ms']:8.1f}"
            f" {middle['cpu_ms']:12.3f}"
        )


if __name__ == "__main__":
    main()
