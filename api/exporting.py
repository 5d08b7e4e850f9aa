"""A slice of the log as a download: one JSON object on each line, written while it is read, however long it is."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api.authentication import token_in
from api.feed.frames import Frame
from api.looking import Look
from api.unsealing import unseal
from commands.ports import Keyring
from domain.errors import Refused
from domain.kernel import EVENT_TYPES
from domain.log import StoredEvent, leaf

NDJSON: Final = "application/x-ndjson"
CHUNK: Final = 500
"""Events between two looks at whoever asked: is the key still good, does the client still take?"""
Write = Callable[[Sequence[StoredEvent]], Awaitable[Iterable[bytes]]]
"""From events to lines, without their line breaks; what has no line is left out."""


class BrokenOff(Exception):
    """An answer that has begun may not go on: the server cuts the connection."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Which events: those after one position and up to another."""

    after: int
    up_to: int
    project_id: UUID | None = None
    types: frozenset[str] | None = None
    private: bool = False

    def takes(self, stored: StoredEvent) -> bool:
        """Whether this event may leave."""
        return self.private or not Frame(stored).private


async def span_of(looking: Look, since: str | None, until: str | None) -> tuple[int, int]:
    """The positions that two moments mean: after the first, up to the second; without them, the whole log as it is."""
    after = 0 if since is None else await looking.position_of(since)
    up_to = await looking.services.reader.head() if until is None else await looking.position_of(until)
    if after > up_to:
        raise Refused(f"position {after} comes after {up_to}: exchange `from` and `to`", code="from_after_to")
    return after, up_to


async def log_id_of(looking: Look) -> str:
    """What tells this log from every other: the leaf of its first event."""
    first = await looking.services.reader.read(0, 1)
    return leaf(first[0]).hex() if first else ""


def as_download(
    request: Request, looking: Look, wanted: Slice, what: str, write: Write, permissions: set[str]
) -> Response:
    """The answer. It breaks off, instead of ending, when the key loses a permission on the way.

    `Toybox-After` and `Toybox-Position` say what it is complete for: go on from the latter.
    """
    services, token = looking.services, token_in(request.headers.raw) or ""

    async def still_welcome() -> bool:
        holder = await services.authenticate(token)
        return holder is not None and all(holder.may(each) for each in permissions)

    async def lines() -> AsyncGenerator[bytes]:
        position = wanted.after
        while position < wanted.up_to:
            if not await still_welcome():
                raise BrokenOff("the access key has expired, was revoked or may less than before")
            found = await services.reader.read(
                position, CHUNK, project_id=wanted.project_id, types=wanted.types, up_to=wanted.up_to
            )
            position = found[-1].position if len(found) == CHUNK else wanted.up_to
            made = await write([each for each in found if wanted.takes(each)])
            if block := b"".join([line + b"\n" for line in made]):
                yield block

    name = f"toybox-{what}-{wanted.after}-{wanted.up_to}.ndjson"
    headers = {
        "Toybox-After": str(wanted.after),
        "Toybox-Position": str(wanted.up_to),
        "Content-Disposition": f'attachment; filename="{name}"',
        "Cache-Control": "no-store",
    }
    return StreamingResponse(lines(), headers=headers, media_type=NDJSON)


async def in_the_clear(keyring: Keyring, events: Sequence[StoredEvent]) -> list[StoredEvent]:
    """The same events with their texts readable, as far as this toybox knows where texts stand."""
    payloads = [each.payload() for each in events]
    known = ((each.type, data) for each, data in zip(events, payloads, strict=True))
    await unseal(keyring, [(EVENT_TYPES[kind], data) for kind, data in known if kind in EVENT_TYPES])
    return [replace(each, data=orjson.dumps(data)) for each, data in zip(events, payloads, strict=True)]
