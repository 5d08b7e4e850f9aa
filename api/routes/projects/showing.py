"""Routes that show projects: the list, one at a glance, its agents, its lines in the system log."""

from typing import Annotated
from uuid import UUID

from fastapi import Query
from starlette.responses import Response

from api.beginnings import first_event
from api.events import EventTypes, types_named
from api.looking import Looking, Since, missing
from api.paging import Cursor, Limit, Listed
from api.permissions import may
from api.routing import router_of
from domain.projects import ProjectStatus
from projections.agents import AgentDetail, AgentDetails
from projections.log_lines import Level, LogLine
from projections.projects import ProjectCard, ProjectOverview, ProjectOverviews, projects
from projections.system_log import LogFilter, SystemLog, system_log

router = router_of("projects", "/api/projects")
Statuses = Annotated[list[ProjectStatus] | None, Query(alias="status", description="Any of these")]


@router.get("", dependencies=[may("projects.read")], response_model=Listed[ProjectCard])
async def list_projects(
    looking: Looking,
    status: Statuses = None,
    text: Annotated[str | None, Query(max_length=200, description="A part of the name")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """The newest first."""
    async with looking.at(ProjectOverviews) as seen:
        page = await projects(seen.connection, status=status, text=text, cursor=cursor, limit=limit)
        truth = await seen.truth()
    return await looking.show_page(page, truth)


@router.get("/{project_id}", dependencies=[may("projects.read")], response_model=ProjectOverview)
async def get_project(project_id: UUID, looking: Looking, as_of: Since = None) -> Response:
    """One project, whole: phases, agents, what it waits for, what it has spent; also as it was at any time."""
    if as_of is not None:
        return await looking.show_as_of("project", ProjectOverviews, project_id, project_id, as_of)
    async with looking.at(ProjectOverviews) as seen:
        row = await ProjectOverviews.find(seen.connection, project_id)
        truth = await seen.truth(project_id)
    if row is None:
        raise missing("project", project_id, truth)
    return await looking.show(row.view, truth, version=row.view.version)


@router.get("/{project_id}/agents", dependencies=[may("agents.read")], response_model=Listed[AgentDetail])
async def list_project_agents(project_id: UUID, looking: Looking, cursor: Cursor = None, limit: Limit = 50) -> Response:
    """Its agents, by name."""
    async with looking.at(AgentDetails) as seen:
        page = await AgentDetails.page(
            seen.connection, where={"project_id": project_id}, order_by="name", cursor=cursor, limit=limit
        )
        truth = await seen.truth(project_id)
    if not page.items:
        await first_event(looking.services.reader, project_id, "project")
    return await looking.show_page(page, truth)


@router.get("/{project_id}/log", dependencies=[may("projects.read")], response_model=Listed[LogLine])
async def list_project_log(
    project_id: UUID,
    looking: Looking,
    type: EventTypes = None,  # noqa: A002 -- the word of the product
    level: Annotated[list[Level] | None, Query(description="Any of these")] = None,
    text: Annotated[str | None, Query(max_length=200, description="A part of the line")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """What has been going on, a readable line for every event, the newest first."""
    async with looking.at(SystemLog) as seen:
        types = types_named(type or [])
        wanted = LogFilter(
            project_id=project_id, types=None if types is None else sorted(types), levels=level, text=text
        )
        page = await system_log(seen.connection, wanted, cursor=cursor, limit=limit)
        truth = await seen.truth(project_id)
    if not page.items:
        await first_event(looking.services.reader, project_id, "project")
    return await looking.show_page(page, truth)
