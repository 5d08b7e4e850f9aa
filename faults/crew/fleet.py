"""The processes of a campaign: writers that are killed, stalled and started again, readers that never stop."""

import asyncio
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import orjson

from faults.crew.readers import ReaderOrder
from faults.crew.writers import WriterOrder

ROOT = Path(__file__).parents[2]
STALL_SECONDS = 2.5
"""Longer than the server lets an idle holder of the lock live."""


def start(module: str, order: object, errors: Path) -> subprocess.Popen[bytes]:
    """`python -m module ORDER`, its complaints in a file."""
    told = orjson.dumps(asdict(order)).decode()  # pyright: ignore[reportArgumentType] -- orders are dataclasses
    with errors.open("ab") as stderr:
        return subprocess.Popen([sys.executable, "-m", module, told], cwd=ROOT, stderr=stderr)


class Writer:
    """One writer through all of its incarnations."""

    def __init__(self, order: WriterOrder) -> None:
        self._order = order
        self._errors = Path(order.folder) / f"writer-{order.number}.errors"
        self._process: subprocess.Popen[bytes] | None = None
        self.kills = 0

    def start(self) -> None:
        """The next incarnation."""
        self._order = replace(self._order, incarnation=self._order.incarnation + 1)
        self._process = start("faults.crew.writers", self._order, self._errors)

    @property
    def at_work(self) -> bool:
        """Whether this incarnation has begun to send and is not done."""
        journal = self._order.journal
        return self._running and journal.exists() and journal.stat().st_size > 0

    @property
    def done(self) -> bool:
        """Whether it ended by itself. A writer that fails is a finding: its complaint is raised."""
        if self._process is None or (code := self._process.poll()) is None:
            return False
        if code not in (0, -signal.SIGKILL):
            raise RuntimeError(f"writer {self._order.name} failed: {self._errors.read_text()[-2000:]}")
        return code == 0

    @property
    def _running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Kill -9, then start the next incarnation."""
        self.end()
        self.kills += 1
        self.start()

    async def stall(self) -> None:
        """Stop it for longer than the lock waits for anybody, then let it go on."""
        if self._process is not None and self._running:
            self._process.send_signal(signal.SIGSTOP)
            try:
                await asyncio.sleep(STALL_SECONDS)
            finally:
                self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """Make sure that it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Reader:
    """One reader, and the file in which it puts down what it is shown."""

    def __init__(self, order: ReaderOrder) -> None:
        self.path = Path(order.path)
        self._errors = self.path.with_suffix(".errors")
        self._process: subprocess.Popen[Any] = start("faults.crew.readers", order, self._errors)

    async def finish(self) -> None:
        """Let it read to the end of the log."""
        self._process.terminate()
        code = await asyncio.to_thread(self._process.wait, 120)
        if code != 0:
            raise RuntimeError(f"reader {self.path.name} failed: {self._errors.read_text()[-2000:]}")

    async def begun(self) -> None:
        """Return when it follows the log: a stop that comes earlier would simply end it."""
        async with asyncio.timeout(60):
            while not self.path.exists():
                assert self._process.poll() is None, self._errors.read_text()[-2000:]
                await asyncio.sleep(0.05)

    def end(self) -> None:
        """Make sure that it does not run."""
        self._process.kill()
        self._process.wait()
