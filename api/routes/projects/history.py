"""Routes that travel in time: a project's events, its state at any position, and what changed between two."""

from typing import Annotated, Any
from uuid import UUID

import jsonpatch  # pyright: ignore[reportMissingTypeStubs]
from fastapi import Query
from pydantic import BaseModel
from starlette.responses import Response

from api.answers import shown
from api.beginnings import first_event
from api.events import EventShown, EventTypes, page_of_events, types_named, unseals
from api.looking import Look, Looking, Truth
from api.paging import Cursor, Limit, Listed
from api.permissions import may
from api.routing import router_of
from api.unsealing import unseal
from domain.errors import NotFound
from projections.folding import fold_document
from projections.projects import ProjectOverview, ProjectOverviews

router = router_of("projects", "/api/projects/{project_id}")
When = Annotated[str | None, Query(max_length=64, description="A position or an instant; without it, now")]
Unseal = Annotated[bool | None, Query(description="Show texts in the clear; by default to who may (events.unseal)")]


class Replay(BaseModel):
    """A project at a moment, and how it came there."""

    project: ProjectOverview
    position: int
    events: list[EventShown]
    next: str | None


class Diff(BaseModel):
    """What changed in a project's overview between two positions."""

    from_position: int
    to_position: int
    patch: list[dict[str, Any]]
    """A JSON Patch (RFC 6902)."""


@router.get("/timeline", dependencies=[may("projects.read")], response_model=Listed[EventShown])
async def get_timeline(
    project_id: UUID,
    looking: Looking,
    type: EventTypes = None,  # noqa: A002 -- the word of the product
    unsealed: Annotated[Unseal, Query(alias="unseal")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """Every event of a project, the oldest first, straight from the log."""
    await first_event(looking.services.reader, project_id, "project")
    head = await looking.head()
    events, next_cursor = await page_of_events(
        looking, project_id, types_named(type or []), cursor=cursor, limit=limit, up_to=head,
        in_the_clear=unseals(looking.visit, unsealed),
    )  # fmt: skip
    truth = Truth(head)
    return shown({"items": events, "next": next_cursor, **truth.fields}, headers=truth.headers)


@router.get("/replay", dependencies=[may("projects.read")], response_model=Replay)
async def replay_project(
    project_id: UUID, looking: Looking, at: When = None, cursor: Cursor = None, limit: Limit = 50
) -> Response:
    """A project as it was, and its events until then, the oldest first."""
    position = await _position(looking, at, "at")
    project = await _overview(looking, project_id, position)
    if project is None:
        raise NotFound(f"there was no project {project_id} yet at position {position}")
    events, next_cursor = await page_of_events(
        looking, project_id, None, cursor=cursor, limit=limit, up_to=position, in_the_clear=unseals(looking.visit, None)
    )
    body = {"project": project, "position": position, "events": events, "next": next_cursor}
    return shown(body, headers=Truth(position).headers)


@router.get("/diff", dependencies=[may("projects.read")], response_model=Diff)
async def diff_project(
    project_id: UUID,
    looking: Looking,
    since: Annotated[str, Query(alias="from", max_length=64, description="A position or an instant")],
    until: Annotated[str | None, Query(alias="to", max_length=64, description="Without it, now")] = None,
) -> Response:
    """What changed between two moments, as a JSON Patch from the earlier overview to the later one."""
    before, after = await _position(looking, since, "from"), await _position(looking, until, "to")
    old, new = await _overview(looking, project_id, before), await _overview(looking, project_id, after)
    if old is None and new is None:
        raise NotFound(f"there was no project {project_id} at position {before} or {after}")
    patch: list[dict[str, Any]] = jsonpatch.make_patch(old or {}, new or {}).patch  # pyright: ignore[reportUnknownMemberType]
    body = {"from_position": before, "to_position": after, "patch": patch}
    return shown(body, headers=Truth(max(before, after)).headers)


async def _position(looking: Look, when: str | None, field: str) -> int:
    return await looking.head() if when is None else await looking.position_of(when, field=field)


async def _overview(looking: Look, project_id: UUID, position: int) -> dict[str, Any] | None:
    view = await fold_document(ProjectOverviews(), looking.services.reader, project_id, project_id, up_to=position)
    if view is None:
        return None
    body = view.model_dump(mode="json")
    await unseal(looking.services.keyring, [(type(view), body)])
    return body
