"""What every protocol's usage has in common: counts that may be missing, wrong or new."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from adapters.llm.fields import Malformed, mapping, whole
from domain.pricing import Bucket, Pass, Usage

MOST = 1_000_000_000
"""Tokens, or uses of a tool, that one answer can take at most, to be believed."""
LONGEST_PATH = 200
"""Characters of a field's path that an event takes."""


@dataclass(frozen=True, slots=True)
class Counted:
    """The usage of one answer, and what should be looked at although it can be billed."""

    usage: Usage
    remarks: Sequence[str] = field(default_factory=list[str])


def required(usage: Mapping[str, object], name: str) -> int:
    """A count without which nothing can be billed; Malformed where it is missing. Missing is unknown, never zero."""
    count = whole(usage.get(name))
    if count is None:
        raise Malformed(f"the usage lacks {name}")
    return count


def optional(usage: Mapping[str, object], name: str) -> int:
    """A count that providers leave out where it is nothing; Malformed when it is there and no count."""
    value = usage.get(name)
    if value is None:
        return 0
    count = whole(value)
    if count is None:
        raise Malformed(f"the usage has {name} = {value!r}, which is no count")
    return count


def parts(whole_name: str, of: int, counts: Mapping[str, int]) -> int:
    """What is left of a whole after its parts; Malformed when the parts are more than the whole."""
    left = of - sum(counts.values())
    if left < 0:
        told = " + ".join(f"{name} {count}" for name, count in counts.items() if count)
        raise Malformed(f"the usage counts more in parts than in all: {told} of {whole_name} {of}")
    return left


def believable(read: int, written: int, *, answered: bool) -> None:
    """Malformed when a prompt, or an answer that is there, is counted as nothing."""
    if read == 0 or (written == 0 and answered):
        raise Malformed("the usage counts nothing for a prompt or an answer that is not empty")


def unknown_counts(usage: Mapping[str, object], known: Mapping[str, Collection[str]]) -> list[str]:
    """Fields with a number in them that this release does not know; `known` has the fields of each part by its path."""
    return sorted(path for path in _counts(usage, "", known) if len(path) <= LONGEST_PATH)


def _counts(part: Mapping[str, object], path: str, known: Mapping[str, Collection[str]]) -> Iterator[str]:
    for name, value in part.items():
        here = f"{path}{name}"
        if isinstance(value, Mapping):
            yield from _counts(mapping(value), f"{here}.", known)
        elif isinstance(value, int | float) and value is not True and value and name not in known.get(path[:-1], ()):
            yield here


def a_pass(model: str, counts: Mapping[Bucket, int], *, kind: str = "message") -> Pass:
    """One model's part; Malformed when the answer calls model or part by something that is no name."""
    with _malformed():
        return Pass.of(model, counts, kind=kind)


def usage_of(passes: Sequence[Pass], **conditions: Any) -> Usage:
    """A usage under the conditions that the answer names; Malformed when one of them is no name."""
    for each in (quantity for one in passes for quantity in one.quantities):
        if each.quantity > MOST:
            raise Malformed(f"the usage counts {each.quantity} {each.bucket}, more than one answer can take")
    with _malformed():
        return Usage(passes=list(passes), **conditions)


@contextmanager
def _malformed() -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise Malformed(f"the usage has {where} = {first['input']!r}: {first['msg']}") from None
