"""The live feed: events as they happen, resumable from any position; and where any one event was delivered to."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Path, Query
from starlette.requests import Request
from starlette.responses import Response

from api.answers import shown
from api.authentication import token_in
from api.delivering import EventDelivery, delivery_of
from api.errors import Invalid
from api.events import UNSEAL, EventTypes, types_named
from api.feed import FeedResponse, Listener, Selection, Tail
from api.feed.frames import Frame
from api.permissions import may
from api.routing import router_of
from api.visiting import services_of, visit_of
from domain.errors import NotFound, Refused
from domain.identity.tokens import parse_token
from domain.log import SAFE_INTEGER

router = router_of("events", "/api/events")
PRIVATE = "keys.read"
"""Who may see private events: they are about keys."""
Position = Annotated[int, Path(ge=1, le=SAFE_INTEGER, description="An event's place in the log: 1 or more")]
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": "Server-sent events", "content": {"text/event-stream": {}}}
}


@router.get("", dependencies=[may("events.read")], response_class=Response, responses=_STREAM)
async def follow_events(
    request: Request,
    project_id: UUID | None = None,
    type: EventTypes = None,  # noqa: A002 -- the word of the product
    after: Annotated[int | None, Query(ge=0, description="Begin after this position; without it, now")] = None,
    unseal: Annotated[bool, Query(description=f"Show texts in the clear; takes `{UNSEAL}`")] = False,  # noqa: FBT002 -- a query parameter
) -> Response:
    """Events in the order of the log, without a gap or a double, from a position on or from now on.

    Every message's `id` is a position: send the last one as `Last-Event-ID` to go on after it. A `heartbeat` comes
    every 15 seconds; its id is the position that you were served through, `head` is how far the log is durable. A
    client that is too slow gets `cut` with `resume_after`; `closed` says why the server ends the feed.
    """
    services, principal = services_of(request), visit_of(request).principal
    if unseal:
        principal.must(UNSEAL)
    head = await services.reader.head()
    position = _last_seen(request, after)
    if position is not None and position > head:
        raise Refused(f"the log's head is {head}: resume from a position up to there", code="position_later", head=head)
    selection = Selection(project_id, types_named(type or []), private=principal.may(PRIVATE))
    token = token_in(request.headers.raw) or ""
    told = parse_token(token)
    tail: Tail = request.app.state.tail

    async def still_welcome() -> bool:
        holder = await services.authenticate(token)
        return holder is not None and holder.may("events.read")

    return FeedResponse(
        Listener(
            tail,
            selection,
            head if position is None else position,
            key_id=told.key_id if told else None,
            still_welcome=still_welcome,
            keyring=services.keyring if unseal else None,
        )
    )


@router.get("/{position}/delivery", dependencies=[may("events.read")], response_model=EventDelivery)
async def get_event_delivery(position: Position, request: Request) -> Response:
    """Where an event was delivered to, and when.

    When it was recorded, its place in Kafka, since when each read model shows it, what the reactions made of it, what
    else its command caused, and how far the live feeds of the process that answers are. What has not happened yet says
    how far it is. Events about keys are for who holds `keys.read`.
    """
    services, principal = services_of(request), visit_of(request).principal
    found = await services.reader.read(position - 1, 1, up_to=position)
    if not found:
        head = await services.reader.head()
        raise NotFound(f"there is no event {position}: the log's head is {head}", head=head)
    frame = Frame(found[0])
    if frame.private:
        principal.must(PRIVATE)
    tail: Tail = request.app.state.tail
    trace = await services.tracer.trace(found[0])
    return shown(delivery_of(frame, trace, tail.listening, private=principal.may(PRIVATE)))


def _last_seen(request: Request, after: int | None) -> int | None:
    """The header wins: a browser that reconnects repeats the address it began with."""
    said = request.headers.get("last-event-id", "").strip()
    if not said:
        return after
    if not (said.isascii() and said.isdigit() and len(said) <= 18):
        message = "give the id of the last message that you got: a position"
        raise Invalid([{"in": "header", "field": "Last-Event-ID", "message": message, "code": "invalid_position"}])
    return int(said)
