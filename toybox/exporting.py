"""Where an export goes: line by line into a pipe, or into a file that is whole or not there."""

import os
import stat
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Literal

import orjson

from adapters.durable_files import whole_file
from adapters.parquet import Kind, ParquetFile
from domain.errors import Refused, Unavailable
from toybox.client import Download
from toybox.terminal.failures import say

What = Literal["events", "costs"]
COLUMNS: Final[Mapping[What, Mapping[str, Kind]]] = {
    "events": {
        "position": "integer",
        "id": "text",
        "source": "text",
        "type": "text",
        "subject": "text",
        "time": "instant",
        "streamversion": "integer",
        "project": "text",
        "actor": "text",
        "command": "text",
        "correlation": "text",
        "causation": "text",
        "traceid": "text",
        "data": "json",
    },
    "costs": {
        "position": "integer",
        "event_id": "text",
        "kind": "text",
        "recorded_at": "instant",
        "booked_on": "day",
        "cost_id": "text",
        "project_id": "text",
        "phase": "text",
        "agent_id": "text",
        "key_id": "text",
        "job_id": "text",
        "attempt_id": "text",
        "provider": "text",
        "model": "text",
        "tier": "text",
        "input_tokens": "integer",
        "output_tokens": "integer",
        "cached_tokens": "integer",
        "reasoning_tokens": "integer",
        "amount": "amount",
        "delta": "amount",
        "estimated": "flag",
        "lines": "json",
    },
}
"""Of a Parquet file. What is the same in every CloudEvent of ours has none: `specversion`, `datacontenttype`."""


@dataclass(frozen=True, slots=True)
class Told:
    """The closing line: what there is, and where to go on."""

    what: What
    count: int
    after: int
    position: int
    bytes: int
    complete: bool = True

    def line(self, *, as_json: bool = False) -> str:
        """For a person, or for a program."""
        if as_json:
            return orjson.dumps(self).decode()
        noun = self.what if self.count != 1 else self.what[:-1]
        begun = "" if self.complete else "broken off: "
        return (
            f"{begun}{self.count:,} {noun}, positions {self.after + 1} to {self.position}, {self.bytes:,} bytes; "
            f"go on with --from {self.position}"
        )


def to_pipe(download: Download, what: What, *, as_json: bool = False) -> None:
    """Whole lines on standard output. Where they end early, it says how to go on."""
    pipe, last, count, size = sys.stdout.buffer, b"", 0, 0
    try:
        for line in download.lines:
            pipe.write(line + b"\n")
            last, count, size = line, count + 1, size + len(line) + 1
    except (Unavailable, KeyboardInterrupt):
        pipe.flush()
        reached = int(orjson.loads(last)["position"]) if last else download.after
        say(Told(what, count, download.after, reached, size, complete=False).line(as_json=as_json))
        raise
    pipe.flush()
    say(Told(what, count, download.after, download.up_to, size).line(as_json=as_json))


def to_file(download: Download, what: What, path: Path, *, parquet: bool, as_json: bool = False) -> None:
    """A file that has its name when all is in it."""
    with _written(path) as file:
        count = _parquet(download, what, file) if parquet else _ndjson(download, file)
        size = file.tell()
    told = Told(what, count, download.after, download.up_to, size)
    say(told.line(as_json=True) if as_json else f"{path}: {told.line()}")


@contextmanager
def _written(path: Path) -> Generator[IO[bytes]]:
    place = path.expanduser().resolve()  # a link stays one
    if place.exists() and not stat.S_ISREG(place.stat().st_mode):
        raise Refused(f"{path} is no file: name one, or write to a pipe with --out -", code="not_a_file")
    try:
        with whole_file(place) as file:
            yield file
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise Refused(f"{path} cannot be written ({reason}): choose another place", code="not_written") from error
    except Unavailable as error:
        raise Unavailable(
            f"the export broke off, {path} was not written; run it again ({error})", code="broken_off"
        ) from error


def _ndjson(download: Download, file: IO[bytes]) -> int:
    count = 0
    for count, line in enumerate(download.lines, 1):  # noqa: B007 -- how many there were
        file.write(line + b"\n")
    return count


def _parquet(download: Download, what: What, file: IO[bytes]) -> int:
    about = {"toybox.what": what, "toybox.after": str(download.after), "toybox.position": str(download.up_to)}
    count = 0
    with ParquetFile(file, COLUMNS[what], about) as rows:
        for count, line in enumerate(download.lines, 1):  # noqa: B007 -- how many there were
            rows.write(orjson.loads(line), len(line))
    return count
