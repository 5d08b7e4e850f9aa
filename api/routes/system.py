"""Routes for whoever runs toybox: how far every follower is, what is parked, rebuilding, trying again."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Path, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from api.answers import shown
from api.events import EventTypes, types_named
from api.looking import Looking
from api.paging import Cursor, Limit, Listed
from api.permissions import may
from api.rebuilding import Rebuilds
from api.routing import router_of
from api.visiting import services_of
from domain.errors import NotFound
from domain.values import Instant, instant_text
from projections.log_lines import Level, LogLine
from projections.projector import PROJECTIONS, Projection, parked_keys, retry
from projections.projector.connecting import unavailable_when_away
from projections.system_log import LogFilter, SystemLog, system_log

router = router_of("system", "/api/system")
Named = Annotated[str, Path(alias="name", max_length=48)]


class Status(BaseModel):
    """The log's head, and how far everything behind it is: events by name, where there are any."""

    version: str
    head: int
    now: Instant
    commands_queued: int
    feed_listeners: int
    projections_behind: dict[str, int]
    reactions_behind: dict[str, int]


class ReadModel(BaseModel):
    """Where one read model is."""

    name: str
    version: int
    state: Annotated[str, Field(description="What its follower in this process does: following, building, standby")]
    position: int
    head: int
    lag: int
    error: Annotated[str | None, Field(description="Why it does not go on, if it does not")]
    progress: Annotated[dict[str, Any] | None, Field(description="Of its rebuild, while one runs")]
    last_rebuild: dict[str, Any] | None


class ReadModelList(BaseModel):
    """Every read model."""

    items: list[ReadModel]


class Rebuilding(BaseModel):
    """A rebuild that has begun."""

    name: str
    state: str


class Parked(BaseModel):
    """What waits until its cause is mended."""

    projections: list[dict[str, Any]]
    reactions: list[dict[str, Any]]


class TakenUp(BaseModel):
    """What became of a key that was parked."""

    applied: Annotated[int, Field(description="Events that are in the read model now")]
    parked: Annotated[dict[str, Any] | None, Field(description="The event that failed next, and why")]


class AnsweredAgain(BaseModel):
    """What became of events that were parked."""

    answered: int


@router.get("/status", dependencies=[may("system.read")], response_model=Status)
async def get_status(request: Request) -> Response:
    """The log's head, how far everything behind it is, and what waits."""
    services = services_of(request)
    head = await services.reader.head()
    standings = await services.read_models.standings()
    reactions = await services.reactions.positions()
    return shown(
        {
            "version": services.version,
            "head": head,
            "now": instant_text(services.now()),
            "commands_queued": services.commands.sequencer.queued,
            "feed_listeners": request.app.state.tail.listeners,
            "projections_behind": {each.projection: each.lag for each in standings if each.lag},
            "reactions_behind": {name: head - position for name, position in reactions.items() if position < head},
        }
    )


@router.get("/log", dependencies=[may("system.read")], response_model=Listed[LogLine])
async def list_system_log(
    looking: Looking,
    type: EventTypes = None,  # noqa: A002 -- the word of the product
    actor: Annotated[str | None, Query(max_length=200)] = None,
    level: Annotated[list[Level] | None, Query(description="Any of these")] = None,
    text: Annotated[str | None, Query(max_length=200, description="A part of the line")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """What has been going on everywhere, a readable line for every event, the newest first."""
    types = types_named(type or [])
    wanted = LogFilter(types=None if types is None else sorted(types), actor=actor, levels=level, text=text)
    async with looking.at(SystemLog) as seen:
        page = await system_log(seen.connection, wanted, cursor=cursor, limit=limit)
        truth = await seen.truth()
    return await looking.show_page(page, truth)


@router.get("/projections", dependencies=[may("system.read")], response_model=ReadModelList)
async def list_projections(request: Request) -> Response:
    """Every read model: its version, state, position, lag, and the progress of a rebuild."""
    rebuilds: Rebuilds = request.app.state.rebuilds
    items: list[dict[str, Any]] = []
    for each in await services_of(request).read_models.standings():
        progress = rebuilds.progress(each.projection) or each.progress
        items.append(
            {
                "name": each.projection,
                "version": each.version,
                "state": each.state,
                "position": each.position,
                "head": each.head,
                "lag": each.lag,
                "error": each.error,
                "progress": progress,
                "last_rebuild": rebuilds.last(each.projection),
            }
        )
    return shown({"items": sorted(items, key=lambda item: item["name"])})


@router.post(
    "/projections/{name}/rebuild", status_code=202, dependencies=[may("system.rebuild")], response_model=Rebuilding
)
async def rebuild_projection(named: Named, request: Request) -> Response:
    """Build a read model anew beside the live one, and switch when it is through; watch it in the list."""
    rebuilds: Rebuilds = request.app.state.rebuilds
    rebuilds.start(_projection(named))
    return shown({"name": named, "state": "building"}, status=202, headers={"Location": "/api/system/projections"})


@router.get("/parked", dependencies=[may("system.read")], response_model=Parked)
async def list_parked(request: Request) -> Response:
    """Keys of read models and events of reactions that wait, each with its reason."""
    services = services_of(request)
    with unavailable_when_away():
        async with services.connections.connection() as connection:
            keys = await parked_keys(connection)
    return shown({"projections": list(keys), "reactions": list(await services.reactions.parked())})


@router.post("/parked/{name}/{key}/retry", dependencies=[may("system.retry")], response_model=TakenUp)
async def retry_parked_key(named: Named, key: UUID, request: Request) -> Response:
    """Take up a parked key of a read model again."""
    services = services_of(request)
    with unavailable_when_away():
        done = await retry(services.connections, services.reader, _projection(named), key)
    return shown({"applied": done.applied, "parked": done.parked})


@router.post("/parked/reactions/retry", dependencies=[may("system.retry")], response_model=AnsweredAgain)
async def retry_parked_reactions(request: Request) -> Response:
    """Answer again the events that reactions failed on."""
    return shown({"answered": await services_of(request).reactions.retry()})


def _projection(named: str) -> Projection:
    found = PROJECTIONS.get(named)
    if found is None:
        raise NotFound(f"there is no read model {named}: there are {', '.join(sorted(PROJECTIONS))}")
    return found
