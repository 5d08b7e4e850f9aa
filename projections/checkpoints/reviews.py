"""Answers "what waits for a decision, and who decided what about exactly which content?"."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final
from uuid import UUID

from domain.checkpoints import Checkpoint, CheckpointStatus, Decision
from domain.log import StoredEvent
from domain.values import Instant, Sealed
from projections.documents import Column, Document, Row
from projections.listing import Listing, bounded
from projections.paging import Page
from projections.projector import Connection, on
from projections.views import View


class CheckpointView(View):
    """One question about one result, and what became of it."""

    id: UUID
    project_id: UUID
    phase: str | None
    agent_id: UUID
    agent: str
    run: int
    attempt: int
    title: str
    question: Sealed | None
    asset_id: UUID
    asset_version: int
    """What was asked about; after a decision, what was decided on."""
    digest: str
    due_at: Instant | None
    requested_at: Instant
    status: CheckpointStatus = "pending"
    viewed_by: tuple[str, ...] = ()
    escalated_by: str | None = None
    escalated_at: Instant | None = None
    escalation: Sealed | None = None
    """The note of whoever pressed for a decision."""
    decision: Decision | None = None
    comment: Sealed | None = None
    decided_by: str | None = None
    ended_at: Instant | None = None
    """When it was decided, expired or was withdrawn."""
    withdrawn_because: str | None = None
    version: int = 1


class CheckpointViews(Document[CheckpointView]):
    """Answers "what waits for a decision, and who decided what?": one view per checkpoint."""

    name = "checkpoint_views"
    version = 2
    begins = Checkpoint.Requested
    columns: ClassVar[Mapping[str, Column]] = {
        "status": Column(),
        "agent_id": Column("uuid"),
        "requested_at": Column(),
    }
    indexes: ClassVar[Sequence[Sequence[str]]] = (
        ("requested_at",),
        ("status", "requested_at"),
        ("project_id", "requested_at"),
        ("agent_id", "requested_at"),
    )

    @on(Checkpoint.Requested)
    def requested(self, _view: None, event: Checkpoint.Requested, stored: StoredEvent) -> CheckpointView:
        """A result waits."""
        return CheckpointView(
            id=stored.stream_id,
            project_id=event.project_id,
            phase=event.phase,
            agent_id=event.agent_id,
            agent=event.agent_name,
            run=event.run,
            attempt=event.attempt,
            title=event.title,
            question=event.question,
            asset_id=event.asset_id,
            asset_version=event.asset_version,
            digest=event.digest,
            due_at=event.due_at,
            requested_at=stored.recorded_at,
        )

    @on(Checkpoint.Viewed)
    def viewed(self, view: CheckpointView, event: Checkpoint.Viewed, _stored: StoredEvent) -> CheckpointView:
        """Somebody looked."""
        return view.but(viewed_by=(*view.viewed_by, event.by))

    @on(Checkpoint.Escalated)
    def escalated(self, view: CheckpointView, event: Checkpoint.Escalated, stored: StoredEvent) -> CheckpointView:
        """Somebody presses."""
        return view.but(escalated_by=event.by, escalated_at=stored.recorded_at, escalation=event.note)

    @on(Checkpoint.Resolved)
    def resolved(self, view: CheckpointView, event: Checkpoint.Resolved, stored: StoredEvent) -> CheckpointView:
        """Somebody decided."""
        return view.but(
            status="resolved",
            decision=event.decision,
            comment=event.comment,
            decided_by=event.by,
            digest=event.digest,
            asset_version=event.asset_version,
            ended_at=stored.recorded_at,
        )

    @on(Checkpoint.Expired)
    def expired(self, view: CheckpointView, _event: Checkpoint.Expired, stored: StoredEvent) -> CheckpointView:
        """Nobody decided in time."""
        return view.but(status="expired", ended_at=stored.recorded_at)

    @on(Checkpoint.Withdrawn)
    def withdrawn(self, view: CheckpointView, event: Checkpoint.Withdrawn, stored: StoredEvent) -> CheckpointView:
        """Nobody has to decide any more."""
        return view.but(status="withdrawn", ended_at=stored.recorded_at, withdrawn_because=event.reason)


async def checkpoints(
    connection: Connection,
    *,
    project_id: UUID | None = None,
    agent_id: UUID | None = None,
    status: CheckpointStatus | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[Row[CheckpointView]]:
    """The newest first. Reads CheckpointViews."""
    wanted = {"project_id": project_id, "agent_id": agent_id, "status": status}
    return await CheckpointViews.page(
        connection,
        where={name: value for name, value in wanted.items() if value is not None},
        order_by="requested_at",
        descending=True,
        cursor=cursor,
        limit=bounded(limit),
    )


class InboxItem(View):
    """A checkpoint that can be decided now, and the position of the last event that changed it."""

    position: int
    checkpoint: CheckpointView


_INBOX: Final = Listing[InboxItem](
    name="inbox",
    query="select key, requested_at, position, body from checkpoint_views"
    " where status = 'pending' and {filters} and {after} order by {order}",
    row=lambda row: InboxItem(position=row["position"], checkpoint=CheckpointView.model_validate(row["body"])),
    order={"requested_at": "text", "key": "uuid"},
    filters={"project_id": "project_id = %(project_id)s"},
    descending=False,
)


async def inbox(
    connection: Connection, *, project_id: UUID | None = None, cursor: str | None = None, limit: int = 50
) -> Page[InboxItem]:
    """What can be decided now, the longest waiting first. Reads CheckpointViews."""
    return await _INBOX.page(connection, {"project_id": project_id}, cursor=cursor, limit=limit)
