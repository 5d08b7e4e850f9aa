"""What a writer meant to do and what it was answered, in files that outlive its kill -9."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import orjson

from commands.handling import Caller
from commands.sequencer import Answer
from domain.values import derived_id
from tests.commands.counter import Count
from tests.support.story import OWNER

SENT, ANSWERED = b"S", b"A"


def counter_id(number: int) -> UUID:
    """The counter of this number."""
    return derived_id("faults-counter", number)


@dataclass(frozen=True, slots=True)
class Work:
    """One command to send, under a key of its own: count on one counter, perhaps on a second one too."""

    key: str
    counter: int
    amount: int
    also: int | None = None

    @property
    def caller(self) -> Caller:
        """Who sends it: the key makes the command id."""
        return Caller(OWNER, "http", self.key)

    @property
    def command(self) -> Count:
        """The command."""
        also = "" if self.also is None else str(counter_id(self.also))
        return Count(counter_id=counter_id(self.counter), amount=self.amount, also=also)

    @property
    def effect(self) -> list[tuple[UUID, int]]:
        """The stream and amount of each event that it must cause, in order."""
        touched = [self.counter] if self.also is None else [self.counter, self.also]
        return [(counter_id(each), self.amount) for each in touched]


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What the writer was told, as it was told."""

    first: int
    last: int
    versions: dict[str, int]
    repeated: bool


class Journal:
    """One incarnation's file. A killed process loses no bytes that `write` took: only a dead machine would."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)

    def sent(self, work: Work) -> None:
        """Call it before sending."""
        self._line(SENT, work)

    def answered(self, work: Work, answer: Answer) -> None:
        """Call it after the answer has arrived."""
        versions = {str(stream): version for stream, version in answer.versions.items()}
        told = {"first": answer.first, "last": answer.position, "versions": versions, "repeated": answer.repeated}
        self._line(ANSWERED, {"key": work.key, "told": told})

    def _line(self, mark: bytes, body: object) -> None:
        os.write(self._file, mark + orjson.dumps(body) + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._file)


@dataclass(slots=True)
class Story:
    """All that the writers have put down: the union of their journals."""

    sent: dict[str, Work]
    answered: dict[str, list[Acknowledged]]

    @property
    def unanswered(self) -> list[Work]:
        """Commands whose outcome nobody knows yet."""
        return [work for key, work in self.sent.items() if key not in self.answered]


def read_journals(folder: Path, pattern: str = "*.journal") -> Story:
    """Read back what was put down. A line that a kill cut off was never followed by a send."""
    story = Story({}, {})
    for path in sorted(folder.glob(pattern)):
        for mark, body in _lines(path):
            if mark == SENT:
                story.sent[body["key"]] = Work(**body)
            else:
                story.answered.setdefault(body["key"], []).append(Acknowledged(**body["told"]))
    return story


def _lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    with path.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                yield line[:1], orjson.loads(line[1:])


class Progress:
    """Counts the answers in a folder of journals while they grow."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, int] = {}
        self.answers = 0

    def look(self) -> int:
        """How many answers there are by now."""
        for path in self._folder.glob("*.journal"):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read[path] = self._read.get(path, 0) + len(whole)
            self.answers += whole.count(b"\n" + ANSWERED) + whole.startswith(ANSWERED)
        return self.answers
