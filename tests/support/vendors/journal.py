"""What a vendor server was asked, in order; in a file, each line is durable before the request is answered."""

import json
import os
import threading
import time
from pathlib import Path
from typing import Any


class Journal:
    """Requests, each with its attempt id, model and in the end its outcome."""

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Condition()
        self._entries: list[dict[str, Any]] = []
        self._file = path.open("ab") if path is not None else None

    def request(self, **facts: Any) -> int:
        """Record a request before anything is answered; returns its number."""
        with self._lock:
            number = len(self._entries)
            entry = {"number": number, "at": time.time(), "outcome": None, "usage": None, **facts}
            self._entries.append(entry)
            self._write(entry)
            self._lock.notify_all()
            return number

    def outcome(self, number: int, outcome: str, usage: dict[str, Any] | None) -> None:
        with self._lock:
            self._entries[number].update(outcome=outcome, usage=usage)
            self._write({"number": number, "outcome": outcome, "usage": usage})
            self._lock.notify_all()

    def entries(self) -> list[dict[str, Any]]:
        with self._lock:
            return [dict(entry) for entry in self._entries]

    def wait(self, count: int = 1, outcome: str | None = None, seconds: float = 5.0) -> dict[str, Any]:
        """The last entry, as soon as there are so many and the last of them has come to this end."""

        def come() -> bool:
            return len(self._entries) >= count and outcome in (None, self._entries[-1]["outcome"])

        with self._lock:
            if not self._lock.wait_for(come, seconds):
                raise TimeoutError(f"the journal has {self._entries[-3:]}")
            return dict(self._entries[-1])

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _write(self, line: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(line).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The entries of a journal file, outcomes filled in: for tests whose server is gone."""
    entries: dict[int, dict[str, Any]] = {}
    for line in path.read_bytes().splitlines():
        row = json.loads(line)
        entries.setdefault(row["number"], {}).update(row)
    return [entries[number] for number in sorted(entries)]
