"""How a load's process and the measurement talk: ready, go, figures, bye; one line each."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import orjson

from bench.load.figures import Figures

ROOT = Path(__file__).parents[2]


def wait_for_go() -> None:
    """In the load: say that everything is connected and warm, and wait for the others."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()


def report(measured: Figures) -> None:
    """In the load: hand the figures over, and stay until the measurement has looked at the server."""
    sys.stdout.buffer.write(orjson.dumps(asdict(measured)) + b"\n")
    sys.stdout.flush()
    sys.stdin.readline()


def run(module: str, orders: Sequence[object], server_cpu: Callable[[], Mapping[int, float]]) -> list[Figures]:
    """In the measurement: one process for each order, all let loose at the same moment."""
    processes = [_start(module, order) for order in orders]
    try:
        for process in processes:
            _line(process)
        before = server_cpu()
        for process in processes:
            _tell(process)
        measured = [Figures(**orjson.loads(_line(process))) for process in processes]
        used = sum(seconds - before.get(process, 0.0) for process, seconds in server_cpu().items())
        for each in measured:
            each.server_cpu = used / len(measured)
        for process in processes:
            _tell(process)
            process.wait(30)
    finally:
        for process in processes:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    pipe.close()
    return measured


@contextmanager
def beside(module: str, order: object) -> Iterator[None]:
    """In the measurement: a process that attends meanwhile and is not measured."""
    process = _start(module, order)
    try:
        _line(process)
        yield
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()


def _start(module: str, order: object) -> subprocess.Popen[bytes]:
    told = orjson.dumps(asdict(order)).decode()  # pyright: ignore[reportArgumentType] -- orders are dataclasses
    command = [sys.executable, "-m", module, told]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _line(process: subprocess.Popen[bytes]) -> bytes:
    said = process.stdout.readline() if process.stdout else b""
    if not said:
        raise RuntimeError(f"a load ended before it was done; its complaint is above (exit code {process.wait()})")
    return said


def _tell(process: subprocess.Popen[bytes]) -> None:
    if process.stdin:
        process.stdin.write(b"\n")
        process.stdin.flush()
