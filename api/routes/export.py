"""Downloads for analysis: the log, and what was spent, in the very form in which they are on Kafka."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from api.events import UNSEAL, EventTypes, types_named
from api.exporting import NDJSON, Slice, as_download, in_the_clear, log_id_of, span_of
from api.looking import Looking
from api.permissions import may
from api.routes.events import PRIVATE
from api.routing import router_of
from api.visiting import visit_of
from domain.log import StoredEvent

router = router_of("export", "/api")
_LINES: dict[int | str, dict[str, Any]] = {
    200: {"description": "One JSON object on each line", "content": {NDJSON: {}}}
}
From = Annotated[
    str | None, Query(alias="from", max_length=64, description="After this position or instant; without it, all before")
]
To = Annotated[
    str | None, Query(alias="to", max_length=64, description="Up to this position or instant; without it, up to now")
]


@router.get("/events/export", dependencies=[may("events.read")], response_class=Response, responses=_LINES)
async def export_events(
    request: Request,
    looking: Looking,
    project_id: UUID | None = None,
    type: EventTypes = None,  # noqa: A002 -- the word of the product
    since: From = None,
    until: To = None,
    unseal: Annotated[bool, Query(description=f"Texts in the clear; takes `{UNSEAL}`")] = False,  # noqa: FBT002 -- a query parameter
    private: Annotated[bool, Query(description=f"Private events too; takes `{PRIVATE}`")] = False,  # noqa: FBT002 -- a query parameter
) -> Response:
    """Events as CloudEvents, in the order of the log: what the topic of events holds, but for `prev`.

    `Toybox-Position` says up to where it is complete: ask again from there. An answer that breaks off is not.
    """
    services, principal = looking.services, visit_of(request).principal
    asked = {"events.read", *([UNSEAL] if unseal else ()), *([PRIVATE] if private else ())}
    for permission in asked:
        principal.must(permission)
    after, up_to = await span_of(looking, since, until)
    log_id = await log_id_of(looking)

    async def write(events: Sequence[StoredEvent]) -> list[bytes]:
        shown = await in_the_clear(services.keyring, events) if unseal else events
        return [services.outgoing.event(each, log_id) for each in shown]

    wanted = Slice(after, up_to, project_id, types_named(type or []), private)
    return as_download(request, looking, wanted, "events", write, asked)


@router.get("/cost/export", dependencies=[may("costs.read")], response_class=Response, responses=_LINES)
async def export_costs(
    request: Request, looking: Looking, project_id: UUID | None = None, since: From = None, until: To = None
) -> Response:
    """What each attempt cost, as flat facts in the order of the log: what the topic of costs holds."""
    services = looking.services
    after, up_to = await span_of(looking, since, until)

    async def write(events: Sequence[StoredEvent]) -> list[bytes]:
        return [line for each in events if (line := services.outgoing.cost(each)) is not None]

    wanted = Slice(after, up_to, project_id, services.outgoing.cost_types)
    return as_download(request, looking, wanted, "costs", write, {"costs.read"})
