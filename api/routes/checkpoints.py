"""Routes for checkpoints: the inbox, one question, the decision about it."""

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from api.answers import Done
from api.beginnings import project_of
from api.bodies import Given, body_of, checked, json_of
from api.commanding import Commanding, offer
from api.looking import Looking, Since, missing
from api.paging import Cursor, Limit, Listed
from api.permissions import may
from api.routing import router_of
from commands.checkpoints import EscalateCheckpoint, ResolveCheckpoint, ViewCheckpoint
from domain.checkpoints import CheckpointStatus, Decision, MediaType
from domain.errors import Refused
from domain.values import Digest
from projections.checkpoints import CheckpointView, CheckpointViews, InboxItem, checkpoints, inbox

router = router_of("checkpoints", "/api/checkpoints")


class Resolution(BaseModel):
    """A decision about exactly the content with this digest."""

    model_config = ConfigDict(extra="forbid")
    decision: Decision
    digest: Annotated[Digest | None, Field(description="The sha256 of the content that you have looked at")] = None
    comment: Annotated[str | None, Field(max_length=10_000, description="What a response says to the agent")] = None
    content: Annotated[str | None, Field(description="Of an edit: the text in its place")] = None
    content_type: MediaType | None = None


@router.get("", dependencies=[may("checkpoints.read")], response_model=Listed[CheckpointView])
async def list_checkpoints(
    looking: Looking,
    project_id: UUID | None = None,
    agent_id: UUID | None = None,
    status: CheckpointStatus | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """Every question that was asked, the newest first."""
    async with looking.at(CheckpointViews) as seen:
        page = await checkpoints(
            seen.connection, project_id=project_id, agent_id=agent_id, status=status, cursor=cursor, limit=limit
        )
        truth = await seen.truth(project_id)
    return await looking.show_page(page, truth)


@router.get("/inbox", dependencies=[may("checkpoints.read")], response_model=Listed[InboxItem])
async def get_inbox(
    looking: Looking, project_id: UUID | None = None, cursor: Cursor = None, limit: Limit = 50
) -> Response:
    """What can be decided now, the longest waiting first."""
    async with looking.at(CheckpointViews) as seen:
        page = await inbox(seen.connection, project_id=project_id, cursor=cursor, limit=limit)
        truth = await seen.truth(project_id)
    return await looking.show_page(page, truth)


@router.get("/{checkpoint_id}", dependencies=[may("checkpoints.read")], response_model=CheckpointView)
async def get_checkpoint(checkpoint_id: UUID, looking: Looking, as_of: Since = None) -> Response:
    """One question, and what became of it; also as it was at any time."""
    if as_of is not None:
        return await looking.show_as_of("checkpoint", CheckpointViews, checkpoint_id, None, as_of)
    async with looking.at(CheckpointViews) as seen:
        row = await CheckpointViews.find(seen.connection, checkpoint_id)
        truth = await seen.truth(row.project_id if row else checkpoint_id)
    if row is None:
        raise missing("checkpoint", checkpoint_id, truth)
    return await looking.show(row.view, truth, version=row.view.version)


offer(router, "POST", "/{checkpoint_id}/view", ViewCheckpoint, name="view_checkpoint", about="checkpoint_id")


@router.post("/{checkpoint_id}/resolve", dependencies=[may(ResolveCheckpoint)], response_model=Done)
async def resolve_checkpoint(
    checkpoint_id: UUID, commanding: Commanding, given: Annotated[Resolution, json_of(Resolution, large=True)]
) -> Response:
    """Decide once: approve, edit (with new content), reject, or respond (the agent runs again with the comment)."""
    project_id = await project_of(commanding.services.reader, checkpoint_id, "checkpoint")
    edited: dict[str, object] = {}
    if given.content is not None:
        if given.decision != "edit":  # before anything is stored
            raise Refused(f"only an edit brings content: {given.decision} takes none", code="content_unexpected")
        stored = await commanding.services.objects.put(project_id, given.content.encode())
        edited = {"content_digest": stored.digest, "content_size": stored.size, "content_type": given.content_type}
    command = checked(
        ResolveCheckpoint,
        project_id=project_id,
        checkpoint_id=checkpoint_id,
        decision=given.decision,
        digest=given.digest,
        comment=given.comment,
        **edited,
    )
    return await commanding.send(command, about=checkpoint_id)


@router.post("/{checkpoint_id}/escalate", dependencies=[may(EscalateCheckpoint)], response_model=Done)
async def escalate_checkpoint(
    checkpoint_id: UUID,
    commanding: Commanding,
    given: Annotated[Given[EscalateCheckpoint], body_of(EscalateCheckpoint, "project_id", "checkpoint_id")],
) -> Response:
    """Press for a decision."""
    project_id = await project_of(commanding.services.reader, checkpoint_id, "checkpoint")
    return await commanding.send(given.command(project_id=project_id, checkpoint_id=checkpoint_id), about=checkpoint_id)
