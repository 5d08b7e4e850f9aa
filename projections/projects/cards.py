"""Answers "which projects are there?": the newest first, each as a card."""

from typing import Any, Final
from uuid import UUID

import orjson
from pydantic import field_validator

from domain.projects import ProjectStatus
from domain.values import Instant, Money
from projections.listing import Listing
from projections.paging import Page
from projections.projector import Connection
from projections.views import View


class ProjectCard(View):
    """A project in a list."""

    id: UUID
    name: str
    status: ProjectStatus
    reason: str | None
    phase: str | None
    counts: dict[str, int]
    """Agents by status."""
    spent: Money
    created_at: Instant
    started_at: Instant | None
    ended_at: Instant | None
    version: int
    position: int

    @field_validator("counts", mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        return orjson.loads(value) if isinstance(value, str) else value


_LIST: Final = Listing[ProjectCard](
    name="projects",
    # The columns that PostgreSQL keeps beside the bodies: a body holds every agent of its project.
    query="select key, key as id, name, status, reason, phase, counts, spent, created_at, started_at, ended_at,"
    " version, position from project_overviews where {filters} and {after} order by {order}",
    row=ProjectCard.model_validate,
    order={"created_at": "text", "key": "uuid"},
    filters={
        "status": "status = any(%(status)s)",
        "text": "position(lower(%(text)s) in lower(name)) > 0",
    },
)


async def projects(
    connection: Connection,
    *,
    status: list[ProjectStatus] | None = None,
    text: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[ProjectCard]:
    """The newest first; `text` is a part of the name. Reads ProjectOverviews."""
    return await _LIST.page(connection, {"status": status, "text": text}, cursor=cursor, limit=limit)
