"""Lists a page at a time: how many items, and where to go on."""

import base64
import hmac
from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel, Field
from starlette.requests import Request

from api.visiting import services_of
from commands.handling import NO_SUBJECT
from commands.ports import Keyring
from domain.errors import Refused

CEILING = 200
"""Items that any list answers at once."""
SEAL_BYTES = 12
"""Of the mark that a cursor carries: enough that nobody makes one up."""
T = TypeVar("T")

Limit = Annotated[int, Query(ge=1, le=CEILING, description="Items of one page")]


async def given_cursor(
    request: Request,
    cursor: Annotated[
        str | None, Query(max_length=1_000, description="`next` of the page before; opaque, for the same list only")
    ] = None,
) -> str | None:
    """The cursor of a request, when it is one of ours: what it holds goes into a statement as it is."""
    if cursor is None:
        return None
    plain, _, mark = cursor.rpartition(".")
    if not hmac.compare_digest(mark.encode(), (await _mark(services_of(request).keyring, plain)).encode()):
        msg = "this is no cursor of this server: take `next` of the page before as it is, or begin without one"
        raise Refused(msg, code="invalid_cursor")
    return plain


Cursor = Annotated[str | None, Depends(given_cursor)]


async def marked(keyring: Keyring, cursor: str | None) -> str | None:
    """A cursor to give away."""
    return None if cursor is None else f"{cursor}.{await _mark(keyring, cursor)}"


async def _mark(keyring: Keyring, cursor: str) -> str:
    sealer = await keyring.sealer(NO_SUBJECT, create=True)
    digest = sealer.fingerprint(b"cursor|" + cursor.encode())
    return base64.urlsafe_b64encode(digest[:SEAL_BYTES]).decode()


class Listed(BaseModel, Generic[T]):
    """One page of a list. For OpenAPI: answers are made without it."""

    items: list[T]
    next: Annotated[str | None, Field(description="The cursor of the next page; null after the last")]
    position: Annotated[int, Field(description="The log's position that this is true for")]
    lag: Annotated[int, Field(description="Events of the log that are not shown yet")]
    incomplete_since: Annotated[
        int | None, Field(description="Null, or the first position that is missing until somebody mends what waits")
    ]
