"""Lists a page at a time: after a sort value and an id, so that rows which come and go shift nothing."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import orjson

from domain.errors import Refused

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Page(Generic[R]):
    """Some rows of a list and the cursor to the next ones; None after the last."""

    items: Sequence[R]
    next: str | None


def cursor_text(order: str, *after: str) -> str:
    """An opaque cursor: the order it belongs to, and the last row's sort value and id as PostgreSQL spells them."""
    return urlsafe_b64encode(orjson.dumps([order, *after])).decode().rstrip("=")


def cursor_values(cursor: str, order: str, count: int = 2) -> Sequence[str]:
    """What `cursor_text` was given. Refused when it is not a cursor, or one of a list in another order."""
    try:
        held: Any = orjson.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError) as error:
        raise _unknown() from error
    values = cast("list[Any]", held) if isinstance(held, list) else []
    if len(values) != count + 1 or values[0] != order or not all(isinstance(each, str) for each in values):
        raise _unknown()
    return cast("list[str]", values[1:])


def _unknown() -> Refused:
    msg = "this cursor does not belong to this list in this order: begin without a cursor"
    return Refused(msg, code="invalid_cursor")
