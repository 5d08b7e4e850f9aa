"""Runs the command line as a process of its own, with an environment that nobody else's settings reach."""

import fcntl
import json
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tests.support.checkout import ROOT

PATIENCE = 60.0
TINY = """\
blueprint: 1
name: tiny
description: Two agents and a gate.
inputs:
  topic: {type: text, description: What it is about, default: tides}
defaults: {provider: scripted, model: scripted-1, max_output_tokens: 500}
phases:
  - name: write
    agents:
      - name: first
        instructions: You write.
        prompt: |
          #scripted: text First about {{ inputs.topic }}.
      - name: second
        depends_on: [first]
        instructions: You write.
        prompt: |
          #scripted: text Second after {{ outputs.first }}
        output: {asset: second.md}
        checkpoint: {title: "Good?", question: "Is it good?"}
"""


class Toybox:
    """The program on one data directory."""

    def __init__(self, folder: Path) -> None:
        self.data_dir = folder / "data"
        self.home = folder / "home"
        self.log = folder / "server.log"
        self.home.mkdir(exist_ok=True)
        self.blueprint = folder / "tiny.yaml"
        self.blueprint.write_text(TINY)

    def environment(self, **more: str) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.home), "TOYBOX_DATA_DIR": str(self.data_dir), **more}

    @contextmanager
    def started(
        self, *words: str, log: IO[str] | None = None, environment: Mapping[str, str] | None = None
    ) -> Iterator["subprocess.Popen[str]"]:
        """The program while it runs; it never outlives its test."""
        process = subprocess.Popen(
            [sys.executable, "-m", "toybox", *words],
            cwd=ROOT,
            env=self.environment(**(environment or {})),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log or subprocess.PIPE,
            text=True,
            preexec_fn=_heed_ctrl_c,  # noqa: PLW1509 -- it calls nothing that could hold a lock
        )
        with process:
            try:
                yield process
            finally:
                process.kill()

    def __call__(self, *words: str, code: int = 0, **environment: str) -> "Said":
        """Run to the end; the exit code is part of what is promised."""
        with self.started(*words, environment=environment) as process:
            out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == code, f"{words} ended with {process.returncode}\n{out}\n{err}"
        return Said(out, err)

    def at_a_terminal(self, *words: str, answers: Sequence[tuple[str, str]], code: int = 0) -> str:
        """Run with a person at the keyboard, who answers each prompt; all that was on the screen."""
        ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        command = [sys.executable, "-m", "toybox", *words]
        known = self.environment(TERM="xterm-256color")
        with subprocess.Popen(
            command,
            cwd=ROOT,
            env=known,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            preexec_fn=_heed_ctrl_c,  # noqa: PLW1509 -- it calls nothing that could hold a lock
        ) as process:
            os.close(theirs)
            try:
                screen = _conversation(ours, list(answers))
                assert process.wait(PATIENCE) == code, screen
            finally:
                process.kill()
                os.close(ours)
        return screen

    @property
    def address(self) -> dict[str, Any]:
        return json.loads((self.data_dir / "server.json").read_text())

    def _is_ready(self, pid: int) -> bool:
        try:
            return self.address["pid"] == pid
        except FileNotFoundError:
            return False

    @contextmanager
    def up(self, *words: str) -> Iterator["subprocess.Popen[str]"]:
        """A server that is ready, stopped at the end."""
        # Its log is no pipe: nobody reads while it runs, and a full pipe would stop it.
        with self.log.open("a") as log, self.started("up", "--port", "0", *words, log=log) as process:
            wait_for(lambda: self._is_ready(process.pid) or process.poll() is not None)
            assert process.poll() is None, self.log.read_text()
            yield process
            ended(process, signal.SIGTERM)


def _heed_ctrl_c() -> None:
    """As from a terminal: a suite that runs in the background of a shell is started with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def ended(process: "subprocess.Popen[str]", number: signal.Signals) -> "Said":
    """Ask a process to end, and hear it out."""
    if process.poll() is None:
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
        return Said(out, err or "")
    return Said("", "")


class Said:
    """What a process printed."""

    def __init__(self, out: str, err: str) -> None:
        self.out = out
        self.err = err

    @property
    def json(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def last_words(self) -> str:
        """The line that tells what went wrong."""
        return self.err.strip().splitlines()[-1]


def _conversation(terminal: int, answers: list[tuple[str, str]]) -> str:
    screen, seen = b"", 0
    while select.select([terminal], [], [], PATIENCE)[0]:
        try:
            screen += os.read(terminal, 65_536)
        except OSError:  # the other side is closed
            break
        if answers and answers[0][0].encode() in screen[seen:]:
            seen = len(screen)
            os.write(terminal, answers.pop(0)[1].encode() + b"\n")
    return screen.decode("utf-8", "replace")


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def listening(process: "subprocess.Popen[str]", word: str) -> str:
    """Lines of a running process up to the one with this word."""
    heard = ""
    assert process.stdout is not None
    for line in process.stdout:
        heard += line
        if word in line:
            return heard
    raise AssertionError(f"{word!r} was never said:\n{heard}")
