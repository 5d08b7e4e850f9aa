"""Events as queries show them: one at a time or a page of a project's, sealed or in the clear."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel

from api.feed.frames import Frame, fields
from api.feed.listening import readable
from api.feed.selecting import types_named as types_named  # noqa: PLC0414 -- routes take it from here
from api.looking import Look
from api.paging import marked
from api.visiting import Visit
from commands.identity.permissions import declare
from domain.values import Instant
from projections.paging import cursor_text, cursor_values

UNSEAL = "events.unseal"
declare(UNSEAL)
EventTypes = Annotated[
    list[str] | None, Query(max_length=50, description="Event types, or a context's: `agent.completed`, `budget.*`")
]


class EventShown(BaseModel):
    """One event of the log."""

    position: int
    type: str
    version: int
    """Of its schema: docs/contracts/events/<type>.v<version>.json."""
    stream_id: UUID
    stream_version: int
    project_id: UUID | None
    recorded_at: Instant
    actor: str
    correlation_id: UUID
    causation_id: UUID | None
    data: dict[str, Any]


def unseals(visit: Visit, wanted: bool | None) -> bool:  # noqa: FBT001 -- a query parameter
    """Whether texts are shown in the clear: to who may, unless they say no. Refused to who may not and asks."""
    if wanted:
        visit.principal.must(UNSEAL)
    return visit.principal.may(UNSEAL) if wanted is None else wanted


async def page_of_events(
    looking: Look,
    project_id: UUID,
    types: Any,
    *,
    cursor: str | None,
    limit: int,
    up_to: int,
    in_the_clear: bool,
) -> tuple[list[dict[str, Any]], str | None]:
    """Some events of a project, the oldest first, and the cursor of those that follow."""
    order = f"events of {project_id}"
    after = int(cursor_values(cursor, order, 1)[0]) if cursor else 0
    found = await looking.services.reader.read(after, limit + 1, project_id=project_id, types=types, up_to=up_to)
    frames = [Frame(each) for each in found[:limit]]
    if in_the_clear:
        events = await readable(looking.services.keyring, frames)
    else:
        events = [fields(frame.stored, frame.stored.payload()) for frame in frames]
    more = cursor_text(order, str(frames[-1].position)) if len(found) > limit else None
    return events, await marked(looking.services.keyring, more)
