"""Answers "what is this agent told, what has it done, what does it wait for?", and lists the library."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import ClassVar, Literal
from uuid import UUID

from domain.agents import Agent, AgentStatus, AssetRef, Awaited, Definition
from domain.costs import Cost
from domain.kernel import Event
from domain.log import LogReader, StoredEvent
from domain.values import ZERO, Instant, Money, Sealed
from projections.documents import Column, Document, Row
from projections.listing import CEILING, bounded
from projections.log_lines import LogLine, lines_of
from projections.paging import Page, cursor_text, cursor_values
from projections.projector import Connection, on
from projections.views import View, replaced

KEPT_ATTEMPTS = 50
"""Attempts that a view tells of; what earlier ones cost stays in its sum."""
AttemptOutcome = Literal["running", "in review", "completed", "failed", "cancelled", "sent back", "given up"]
LOG_ORDER = "agent log desc"


class AttemptMade(View):
    """One attempt of a run, as the agent tells it."""

    run: int
    attempt: int
    job_id: UUID
    outcome: AttemptOutcome = "running"
    feedback: Sealed | None
    """What a reviewer had answered to the attempt before."""
    code: str | None = None
    reason: str | None = None
    asset: AssetRef | None = None
    recovered: int = 0
    """How often its job lost a worker and went on elsewhere."""
    spent: Money = ZERO
    started_at: Instant
    ended_at: Instant | None = None


class AgentDetail(View):
    """One agent, of a project or of the library, whole."""

    id: UUID
    project_id: UUID | None
    name: str
    phase: str | None
    definition: Definition
    status: AgentStatus = "defined"
    run: int = 1
    attempt: int = 0
    percentage: int | None = None
    job_id: UUID | None = None
    """The LLM job of the present attempt."""
    waiting_for: tuple[Awaited, ...] = ()
    retry_at: Instant | None = None
    asset: AssetRef | None = None
    code: str | None = None
    """Why it failed, was cancelled, or tries again."""
    reason: str | None = None
    skipped_because: str | None = None
    attempts: tuple[AttemptMade, ...] = ()
    """The newest last."""
    spent: Money = ZERO
    defined_at: Instant
    changed_at: Instant
    version: int = 1


class AgentDetails(Document[AgentDetail]):
    """Answers "what is this agent told, what has it done?": one view per agent, library definitions included."""

    name = "agent_details"
    begins = Agent.Defined
    columns: ClassVar[Mapping[str, Column]] = {
        "name": Column(),
        "status": Column(),
        "run": Column("bigint"),
        "attempt": Column("bigint"),
    }
    indexes: ClassVar[Sequence[Sequence[str]]] = (("project_id", "name"),)

    def key(self, stored: StoredEvent, event: Event) -> UUID | None:
        """The agent, also where a cost names it."""
        return event.agent_id if isinstance(event, Cost.Recorded | Cost.Corrected | Cost.ReRated) else stored.stream_id

    # --- definition ---

    @on(Agent.Defined)
    def defined(self, _view: None, event: Agent.Defined, stored: StoredEvent) -> AgentDetail:
        """It is there."""
        return AgentDetail(
            id=stored.stream_id,
            project_id=event.project_id,
            name=event.name,
            phase=event.phase,
            definition=_definition(event),
            defined_at=stored.recorded_at,
            changed_at=stored.recorded_at,
        )

    @on(Agent.Configured)
    def configured(self, view: AgentDetail, event: Agent.Configured, _stored: StoredEvent) -> AgentDetail:
        """What it is told from now on."""
        return view.but(definition=_definition(event))

    @on(Agent.Redefined)
    def redefined(self, view: AgentDetail, event: Agent.Redefined, _stored: StoredEvent) -> AgentDetail:
        """Its name was given again."""
        again = view.but(definition=_definition(event), phase=event.phase, run=view.run + 1, attempt=0)
        return _still(again, "defined")

    @on(Agent.Removed)
    def removed(self, view: AgentDetail, _event: Agent.Removed, _stored: StoredEvent) -> AgentDetail:
        """Its history stays."""
        return _still(view, "removed")

    # --- runs and attempts ---

    @on(Agent.Ready)
    def ready(self, view: AgentDetail, _event: Agent.Ready, _stored: StoredEvent) -> AgentDetail:
        """It can run."""
        return view.but(status="ready")

    @on(Agent.Started)
    def started(self, view: AgentDetail, event: Agent.Started, stored: StoredEvent) -> AgentDetail:
        """An attempt began."""
        made = AttemptMade(
            run=event.run,
            attempt=event.attempt,
            job_id=event.job_id,
            feedback=event.feedback,
            started_at=stored.recorded_at,
        )
        # A reviewer's answer begins the next attempt while the last one is still held back.
        before = _attempt(view, "sent back", stored) if view.status == "waiting" else view
        return _still(before, "running").but(
            run=event.run,
            attempt=event.attempt,
            job_id=event.job_id,
            attempts=(*before.attempts, made)[-KEPT_ATTEMPTS:],
        )

    @on(Agent.Progressed)
    def progressed(self, view: AgentDetail, event: Agent.Progressed, _stored: StoredEvent) -> AgentDetail:
        """How far it is."""
        return view.but(percentage=event.percentage)

    @on(Agent.Recovered)
    def recovered(self, view: AgentDetail, _event: Agent.Recovered, _stored: StoredEvent) -> AgentDetail:
        """Its job goes on elsewhere."""
        if not view.attempts:
            return view
        last = view.attempts[-1]
        return view.but(attempts=(*view.attempts[:-1], last.but(recovered=last.recovered + 1)))

    @on(Agent.Waiting)
    def held_back(self, view: AgentDetail, event: Agent.Waiting, stored: StoredEvent) -> AgentDetail:
        """Its result does not count yet."""
        asset = _asset(event.asset_id, event.asset_version, event.digest)
        after = _attempt(view, "in review", stored, asset=asset)
        return after.but(status="waiting", waiting_for=tuple(event.waiting_for), asset=asset, percentage=None)

    @on(Agent.Completed)
    def completed(self, view: AgentDetail, event: Agent.Completed, stored: StoredEvent) -> AgentDetail:
        """Its result counts."""
        asset = _asset(event.asset_id, event.asset_version, event.digest)
        return _still(_attempt(view, "completed", stored, asset=asset), "completed").but(asset=asset)

    @on(Agent.RetryScheduled)
    def retry_scheduled(self, view: AgentDetail, event: Agent.RetryScheduled, stored: StoredEvent) -> AgentDetail:
        """The attempt failed; the next one is due later."""
        failed = _attempt(view, "failed", stored, code=event.code, reason=event.reason)
        return failed.but(status="waiting", retry_at=event.due_at, code=event.code, reason=event.reason)

    @on(Agent.Failed)
    def failed(self, view: AgentDetail, event: Agent.Failed, stored: StoredEvent) -> AgentDetail:
        """The run has no result."""
        failed = _attempt(view, "failed", stored, code=event.code, reason=event.reason)
        return _still(failed, "failed").but(code=event.code, reason=event.reason)

    @on(Agent.Cancelled)
    def cancelled(self, view: AgentDetail, event: Agent.Cancelled, stored: StoredEvent) -> AgentDetail:
        """It was stopped."""
        return _still(_attempt(view, "cancelled", stored, code=event.reason), "cancelled").but(code=event.reason)

    @on(Agent.Skipped)
    def skipped(self, view: AgentDetail, event: Agent.Skipped, _stored: StoredEvent) -> AgentDetail:
        """It was passed over."""
        return _still(view, "skipped").but(skipped_because=event.because)

    @on(Agent.Reset)
    def reset(self, view: AgentDetail, event: Agent.Reset, stored: StoredEvent) -> AgentDetail:
        """It will run again."""
        return _still(_attempt(view, "given up", stored), "defined").but(run=event.run, attempt=0)

    # --- costs ---

    @on(Cost.Recorded)
    def cost_recorded(self, view: AgentDetail, event: Cost.Recorded, _stored: StoredEvent) -> AgentDetail:
        """What one call of one of its jobs cost."""
        return _spent(view, event.job_id, event.amount)

    @on(Cost.Corrected)
    def cost_corrected(self, view: AgentDetail, event: Cost.Corrected, _stored: StoredEvent) -> AgentDetail:
        """An estimate was wrong."""
        return _spent(view, event.job_id, event.amount - event.previous)

    @on(Cost.ReRated)
    def cost_re_rated(self, view: AgentDetail, event: Cost.ReRated, _stored: StoredEvent) -> AgentDetail:
        """A price was wrong."""
        return _spent(view, event.job_id, event.amount - event.previous)


def _definition(event: Agent.Defined | Agent.Configured | Agent.Redefined) -> Definition:
    return Definition(**{name: getattr(event, name) for name in Definition.model_fields})


def _still(view: AgentDetail, status: AgentStatus) -> AgentDetail:
    """In this status, waiting for nothing, with nothing left of what it was in before."""
    return view.but(
        status=status,
        waiting_for=(),
        retry_at=None,
        percentage=None,
        job_id=None,
        asset=None,
        code=None,
        reason=None,
        skipped_because=None,
    )


def _attempt(
    view: AgentDetail,
    outcome: AttemptOutcome,
    stored: StoredEvent,
    *,
    asset: AssetRef | None = None,
    code: str | None = None,
    reason: str | None = None,
) -> AgentDetail:
    """The present attempt with an outcome; one that has ended before keeps its own."""
    if not view.attempts or view.attempts[-1].outcome not in ("running", "in review"):
        return view
    last = view.attempts[-1]
    ended: datetime | None = None if outcome == "in review" else stored.recorded_at
    made = last.but(outcome=outcome, code=code, reason=reason, asset=asset or last.asset, ended_at=ended)
    return view.but(attempts=(*view.attempts[:-1], made))


def _asset(asset_id: UUID | None, version: int | None, digest: str | None) -> AssetRef | None:
    return AssetRef(asset_id=asset_id, version=version, digest=digest) if asset_id and version and digest else None


def _spent(view: AgentDetail, job_id: UUID, amount: Decimal) -> AgentDetail:
    after = view.but(spent=view.spent + amount)
    for at, made in enumerate(view.attempts):
        if made.job_id == job_id:
            return after.but(attempts=replaced(view.attempts, at, made.but(spent=made.spent + amount)))
    return after


# --- queries ---


async def agents_of_project(connection: Connection, project_id: UUID) -> Sequence[Row[AgentDetail]]:
    """Agents of a project, by name, at most one page of them. Reads AgentDetails."""
    where = {"project_id": project_id}
    return (await AgentDetails.page(connection, where=where, order_by="name", limit=CEILING)).items


async def library(
    connection: Connection, *, removed: bool = False, cursor: str | None = None, limit: int = 50
) -> Page[Row[AgentDetail]]:
    """Definitions that belong to no project, by name. Reads AgentDetails."""
    where = {"project_id": None, "status": ["removed"] if removed else ["defined"]}
    return await AgentDetails.page(connection, where=where, order_by="name", cursor=cursor, limit=bounded(limit))


async def agent_log(
    reader: LogReader, agent_id: UUID, *, up_to: int | None = None, cursor: str | None = None, limit: int = 50
) -> Page[LogLine]:
    """What happened to an agent, the newest first, straight from the log."""
    before = int(cursor_values(cursor, LOG_ORDER, 1)[0]) if cursor else None
    limit = bounded(limit)
    whole = lines_of(await reader.read_stream(agent_id, up_to=up_to))
    left = [each for each in reversed(whole) if before is None or each.position < before]
    shown = left[:limit]
    return Page(shown, cursor_text(LOG_ORDER, str(shown[-1].position)) if len(left) > limit else None)
