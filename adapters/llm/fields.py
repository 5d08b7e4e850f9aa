"""Single fields of JSON answers, which may have any shape whatever their protocol says."""

from collections.abc import Mapping
from typing import cast


class Malformed(ValueError):
    """A part of an answer is not what its protocol says."""


def whole(value: object) -> int | None:
    """A count of tokens, if this is one."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def mapping(value: object) -> Mapping[str, object]:
    """The value if it is an object of JSON; else an empty one."""
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {}


def items(value: object) -> list[object]:
    """The value if it is an array of JSON; else an empty one."""
    return cast("list[object]", value) if isinstance(value, list) else []


def word(value: object) -> str | None:
    """The value if it is text that says something."""
    return value if isinstance(value, str) and value else None


def whole_characters(text: str) -> str:
    """The text as it can be kept: vendors cut pieces between the two halves of a character that JSON spells as two."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
