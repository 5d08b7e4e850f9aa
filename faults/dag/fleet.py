"""The processes of a campaign: workers that are killed and started again, a projector, the model provider."""

import asyncio
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Self

from faults.crew.fleet import ROOT
from faults.dag.process import begin
from tests.support.vendors.app import KEY

STALL_SECONDS = 4.5
"""Longer than a campaign's lease: others take the jobs of a worker that is stopped for so long."""


FORKS = multiprocessing.get_context("forkserver")
"""Importing toybox takes seconds: a process that has done so once makes all others by forking."""
FORKS.set_forkserver_preload(["faults.dag.process"])


class Member:
    """One process through all of its lives."""

    def __init__(self, order: Any, folder: Path, target: Callable[[Any, Path], None] = begin) -> None:
        self._order = order
        """A dataclass with a name, which each life gets as its own."""
        self._target = target
        self.name = order.name
        self.life = 0
        self.kills = 0
        self.errors = folder / f"{order.name}.errors"
        self._process: ForkServerProcess | None = None

    @property
    def alias(self) -> str:
        """This life's name, as the log has it."""
        return f"{self.name}-{self.life}"

    def start(self) -> None:
        """The next life."""
        self.life += 1
        self._process = FORKS.Process(target=self._target, args=(replace(self._order, name=self.alias), self.errors))
        self._process.start()

    def check(self) -> None:
        """It never ends by itself."""
        if self._process is not None and self._process.exitcode is not None:
            raise RuntimeError(self._ended(self._process.exitcode))

    def died(self) -> bool:
        """Whether it has killed itself; it ends in no other way."""
        code = self._process.exitcode if self._process else None
        if code not in (None, -signal.SIGKILL):
            raise RuntimeError(self._ended(code))
        return code is not None

    def kill(self) -> None:
        """Kill -9, then start the next life."""
        self.end()
        self.kills += 1
        self.start()

    async def stall(self, seconds: float = STALL_SECONDS) -> None:
        """Stop it for longer than its leases last, then let it go on."""
        process = self._process
        assert process is not None
        assert process.pid is not None
        os.kill(process.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            if process.is_alive():
                os.kill(process.pid, signal.SIGCONT)

    async def stop(self) -> None:
        """Ask it to end, and see that it does so in order."""
        if self._process is None:
            return
        self._process.terminate()
        await asyncio.to_thread(self._process.join, 60)
        # A process that has hardly begun has not yet said what SIGTERM means.
        if (code := self._process.exitcode) not in (0, -signal.SIGTERM):
            raise RuntimeError(self._ended(code))

    def end(self) -> None:
        """Make sure that it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.join()

    def _ended(self, code: int | None) -> str:
        said = self.errors.read_text()[-2000:] if self.errors.exists() else ""
        return f"{self.alias} ended with {code}: {said}"

    def complaints(self) -> list[str]:
        """Errors in its log: what it survived all the same, and no kill explains."""
        lines = self.errors.read_text().splitlines() if self.errors.exists() else []
        told = [line for line in lines if not line.startswith("{") or json.loads(line)["level"] == "error"]
        return [f"{self.name}: {line.strip()[-1500:]}" for line in told]


class Provider:
    """The local model server with its journal, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.journal = folder / "provider.journal"
        command = [sys.executable, "-m", "tests.support.vendors", "--journal", str(self.journal), "--key", KEY]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"

    async def behave(self, rows: Iterable[dict[str, Any]]) -> None:
        """Tell it how to answer whom."""
        body = json.dumps(list(rows)).encode()
        request = urllib.request.Request(f"{self.url}/_behaviours", body, method="POST")  # noqa: S310 -- our own server

        def ask() -> None:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 -- the same
                answer.read()

        await asyncio.to_thread(ask)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
