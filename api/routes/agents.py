"""Routes for agents: those of projects, and the library that projects copy from."""

from typing import Annotated
from uuid import UUID

from fastapi import Query
from starlette.responses import Response

from api.answers import Done
from api.beginnings import first_event, project_of
from api.bodies import Given, body_of
from api.commanding import Commanding, offer
from api.looking import Looking, Since, Truth, missing
from api.paging import Cursor, Limit, Listed
from api.permissions import may
from api.routing import router_of
from commands.agents import (
    AddAgent,
    CancelAgent,
    ConfigureAgent,
    DefineLibraryAgent,
    RemoveAgent,
    ResetAgent,
    RetryAgent,
)
from domain.ids import agent_id as id_of_agent
from domain.ids import library_agent_id
from projections.agents import AgentDetail, AgentDetails, agent_log, library
from projections.log_lines import LogLine

router = router_of("agents")


@router.get("/api/agents", dependencies=[may("agents.read")], response_model=Listed[AgentDetail])
async def list_library_agents(
    looking: Looking,
    removed: Annotated[bool, Query(description="Those that were removed, instead")] = False,  # noqa: FBT002 -- a query parameter
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """The library: definitions that belong to no project, by name."""
    async with looking.at(AgentDetails) as seen:
        page = await library(seen.connection, removed=removed, cursor=cursor, limit=limit)
        truth = await seen.truth()
    return await looking.show_page(page, truth)


@router.post("/api/agents", status_code=201, dependencies=[may(DefineLibraryAgent)], response_model=Done)
async def define_library_agent(
    commanding: Commanding, given: Annotated[Given[DefineLibraryAgent], body_of(DefineLibraryAgent)]
) -> Response:
    """Keep a definition in the library, for projects to copy."""
    command = given.command()
    stream = library_agent_id(command.name)
    answer = await commanding.carry_out(command)
    return commanding.done(answer, about=stream, status=201, location=f"/api/agents/{stream}")


@router.post("/api/projects/{project_id}/agents", status_code=201, dependencies=[may(AddAgent)], response_model=Done)
async def add_agent(
    project_id: UUID, commanding: Commanding, given: Annotated[Given[AddAgent], body_of(AddAgent, "project_id")]
) -> Response:
    """Add an agent to a phase of a project that has not been started."""
    command = given.command(project_id=project_id)
    stream = id_of_agent(project_id, command.name)
    answer = await commanding.carry_out(command, about=project_id)
    return commanding.done(answer, about=stream, status=201, location=f"/api/agents/{stream}")


@router.get("/api/agents/{agent_id}", dependencies=[may("agents.read")], response_model=AgentDetail)
async def get_agent(agent_id: UUID, looking: Looking, as_of: Since = None) -> Response:
    """One agent, whole: what it is told, its attempts, what it waits for; also as it was at any time."""
    if as_of is not None:
        project_id = (await first_event(looking.services.reader, agent_id, "agent")).project_id
        return await looking.show_as_of("agent", AgentDetails, agent_id, project_id, as_of)
    async with looking.at(AgentDetails) as seen:
        row = await AgentDetails.find(seen.connection, agent_id)
        truth = await seen.truth(agent_id if row is None else row.project_id or agent_id)
    if row is None:
        raise missing("agent", agent_id, truth)
    return await looking.show(row.view, truth, version=row.view.version)


@router.get("/api/agents/{agent_id}/log", dependencies=[may("agents.read")], response_model=Listed[LogLine])
async def get_agent_log(agent_id: UUID, looking: Looking, cursor: Cursor = None, limit: Limit = 50) -> Response:
    """What happened to an agent, the newest first, straight from the log."""
    reader = looking.services.reader
    await first_event(reader, agent_id, "agent")
    truth = Truth(await looking.head())
    page = await agent_log(reader, agent_id, up_to=truth.position, cursor=cursor, limit=limit)
    return await looking.show_page(page, truth)


@router.patch("/api/agents/{agent_id}", dependencies=[may(ConfigureAgent)], response_model=Done)
async def configure_agent(
    agent_id: UUID,
    commanding: Commanding,
    given: Annotated[Given[ConfigureAgent], body_of(ConfigureAgent, "agent_id", "project_id")],
) -> Response:
    """Change an agent's definition; what is left out stays as it is."""
    project_id = (await first_event(commanding.services.reader, agent_id, "agent")).project_id
    return await commanding.send(given.command(agent_id=agent_id, project_id=project_id), about=agent_id)


@router.post("/api/agents/{agent_id}/cancel", dependencies=[may(CancelAgent)], response_model=Done)
async def cancel_agent(
    agent_id: UUID,
    commanding: Commanding,
    given: Annotated[Given[CancelAgent], body_of(CancelAgent, "agent_id", "project_id")],
) -> Response:
    """Stop one agent, also in the middle of a call; its failure policy decides about those that depend on it."""
    project_id = await project_of(commanding.services.reader, agent_id, "agent")
    return await commanding.send(given.command(agent_id=agent_id, project_id=project_id), about=agent_id)


offer(router, "POST", "/api/agents/{agent_id}/reset", ResetAgent, name="reset_agent", about="agent_id")
offer(router, "POST", "/api/agents/{agent_id}/retry", RetryAgent, name="retry_agent", about="agent_id")
offer(router, "DELETE", "/api/agents/{agent_id}", RemoveAgent, name="remove_agent", about="agent_id")
