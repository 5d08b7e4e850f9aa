"""Lines of a prompt that tell the scripted provider how to behave, for tests and demos of failure.

    #scripted: fail overloaded            fails always
    #scripted: fail overloaded twice      fails the first two attempts at this prompt, then answers
    #scripted: fail cut_stream 3 times    `once`, `twice` or a number; cut_stream first says half of its answer
    #scripted: delay 0.5                  waits this many seconds before it answers
    #scripted: text All is well.          answers with this; several such lines become lines of the answer

A failure is one of the kinds of `commands.models.ModelError`. Counts live in this process and start anew with it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast, get_args

from commands.models import FailureKind, Message

_LINE = re.compile(r"^\s*#scripted:\s*(\w+)\s*(.*?)\s*$", re.MULTILINE)
_FAIL = re.compile(r"(\w+)(?:\s+(?:(once|twice)|(\d{1,6})\s+times?|always))?")
_TIMES = {"once": 1, "twice": 2}
_KINDS: frozenset[str] = frozenset(get_args(FailureKind)) - {"cancelled"}


@dataclass(frozen=True, slots=True)
class Directives:
    """What a prompt asks of the scripted provider."""

    delay: float = 0.0
    text: str | None = None
    fail: FailureKind | None = None
    times: int | None = None
    """How often it fails; None is always."""


class BadDirective(ValueError):
    """A directive that cannot be read; its text says how it should look."""


def directives_in(messages: Iterable[Message]) -> Directives:
    delay, said, fail, times = 0.0, list[str](), None, None
    for verb, rest in (found for message in messages for found in _LINE.findall(message.content)):
        match verb:
            case "delay":
                delay = _seconds(rest)
            case "text":
                said.append(rest)
            case "fail":
                fail, times = _failure(rest)
            case _:
                raise BadDirective(f"#scripted: {verb} is not known; say fail, delay or text")
    return Directives(delay=delay, text="\n".join(said) if said else None, fail=fail, times=times)


def without_directives(text: str) -> str:
    return _LINE.sub("", text)


def _seconds(text: str) -> float:
    if not re.fullmatch(r"\d{1,4}(\.\d{1,6})?", text):
        raise BadDirective(f"#scripted: delay takes seconds such as 0.5, not {text[:40]!r}")
    return float(text)


def _failure(text: str) -> tuple[FailureKind, int | None]:
    found = _FAIL.fullmatch(text)
    if found is None or found[1] not in _KINDS:
        raise BadDirective(f"#scripted: fail takes one of {', '.join(sorted(_KINDS))}, then once, twice or N times")
    kind = cast("FailureKind", found[1])
    if found[2]:
        return kind, _TIMES[found[2]]
    return kind, int(found[3]) if found[3] else None
