"""Rows of the tables of LLM jobs, and how each event changes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Literal
from uuid import UUID

from domain.following import NOBODY
from domain.kernel import Event
from domain.llm_jobs import JobStatus, LlmJob
from domain.log import StoredEvent
from domain.values import derived_id

AttemptStatus = Literal["admitted", "running", "completed", "failed", "lost", "cancelled"]


@dataclass(slots=True)
class JobRow:
    """A row of `llm_jobs`."""

    job_id: UUID
    project_id: UUID | None
    phase: str | None
    agent_id: UUID | None
    run: int
    agent_attempt: int
    provider: str
    model: str
    priority: int
    max_attempts: int
    max_output_tokens: int
    timeout_seconds: int
    queued_position: int
    queued_at: datetime
    not_before: datetime | None
    messages_digest: str | None
    fallbacks: list[dict[str, str]]
    target_provider: str
    target_model: str
    version: int
    position: int
    key_id: UUID | None
    deadline: datetime | None
    ready_at: datetime
    """Its place among its like: when it was queued, or may start."""
    waits_since: datetime
    """For its next attempt."""
    lane: UUID
    """Of those that wait for the same; nobody's, until it has been lined up."""
    status: JobStatus = "queued"
    attempt: int = 0
    due_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    worker: str | None = None
    parked_at: datetime | None = None
    parked_on: UUID | None = None
    parked_scope: str | None = None
    parked_name: str | None = None
    parked_unit: str | None = None
    parked_limit: Decimal | None = None
    parked_settled: Decimal | None = None
    parked_held: Decimal | None = None
    parked_requested: Decimal | None = None
    parked_until: datetime | None = None
    failure: str | None = None
    reason: str | None = None
    note: str | None = None
    answered_by: str | None = None
    response_id: str | None = None
    finish_reason: str | None = None
    output_digest: str | None = None
    output_size: int | None = None
    output_sealed: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: Decimal | None = None
    queue_ms: int | None = None
    first_token_ms: int | None = None
    total_ms: int | None = None
    delivered_to: str | None = None
    dead_lettered_at: datetime | None = None
    requeues: int = 0


@dataclass(slots=True)
class AttemptRow:
    """A row of `llm_job_attempts`."""

    attempt_id: UUID
    job_id: UUID
    attempt: int
    provider: str
    model: str
    rate_id: str
    bound: Decimal
    worker: str
    request_digest: str
    request_size: int
    request_sealed: str | None
    admitted_at: datetime
    position: int
    status: AttemptStatus = "admitted"
    started_at: datetime | None = None
    hold_expires_at: datetime | None = None
    ended_at: datetime | None = None
    reported_late: bool = False
    failure: str | None = None
    reason: str | None = None
    note: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_ms: int | None = None
    queue_ms: int | None = None
    first_token_ms: int | None = None


def new_job(event: LlmJob.Queued, stored: StoredEvent) -> JobRow:
    """A job as it enters the queue."""
    ready_at = max(stored.recorded_at, event.not_before or stored.recorded_at)
    return JobRow(
        job_id=stored.stream_id,
        project_id=event.project_id,
        phase=event.phase,
        agent_id=event.agent_id,
        run=event.run,
        agent_attempt=event.attempt,
        provider=event.provider,
        model=event.model,
        priority=event.priority,
        max_attempts=event.max_attempts,
        max_output_tokens=event.max_output_tokens,
        timeout_seconds=event.timeout_seconds,
        queued_position=stored.position,
        queued_at=stored.recorded_at,
        not_before=event.not_before,
        messages_digest=event.messages.digest if event.messages else None,
        fallbacks=[each.model_dump() for each in event.fallbacks],
        target_provider=event.provider,
        target_model=event.model,
        version=stored.version,
        position=stored.position,
        key_id=event.key_id,
        deadline=event.deadline,
        ready_at=ready_at,
        waits_since=ready_at,
        lane=NOBODY,
    )


def new_attempt(event: LlmJob.Admitted, stored: StoredEvent, job: JobRow) -> AttemptRow:
    """An attempt as it is let out."""
    return AttemptRow(
        attempt_id=event.attempt_id,
        job_id=stored.stream_id,
        attempt=event.attempt,
        provider=event.provider,
        model=event.model,
        rate_id=event.rate_id,
        bound=event.bound,
        worker=event.worker,
        request_digest=event.request.digest,
        request_size=event.request.size,
        request_sealed=event.request.sealed,
        admitted_at=stored.recorded_at,
        position=stored.position,
        queue_ms=milliseconds(job.waits_since, stored.recorded_at),
    )


def milliseconds(earlier: datetime, later: datetime) -> int:
    """By the log's clock, which may stand still."""
    return max(0, round((later - earlier).total_seconds() * 1000))


def share_of(project_id: UUID | None, key_id: UUID | None) -> UUID:
    """Whose turn a job counts as: the project's; without one the key's that asked; without both that of all others."""
    return project_id or key_id or NOBODY


def targets_of(row: JobRow) -> Sequence[tuple[str, str]]:
    """Where a job may go, beginning with the target whose turn it is."""
    route = [(row.provider, row.model), *((each["provider"], each["model"]) for each in row.fallbacks)]
    turn = route.index((row.target_provider, row.target_model))
    return (*route[turn:], *route[:turn])


@lru_cache(4096)
def lane_of(project_id: UUID | None, priority: int, targets: Sequence[tuple[str, str]], key_id: UUID | None) -> UUID:
    """The lane of jobs that are alike in all this."""
    return derived_id("lane", project_id, priority, key_id, *(part for target in targets for part in target))


def change_job(row: JobRow, event: Event, stored: StoredEvent) -> None:
    """What an event makes of its job."""
    row.version, row.position = stored.version, stored.position
    match event:
        case LlmJob.Admitted():
            row.attempt, row.worker = event.attempt, event.worker
            row.target_provider, row.target_model = event.provider, event.model
        case LlmJob.Started():
            row.status, row.started_at, row.first_token_ms = "running", stored.recorded_at, None
        case LlmJob.FirstToken():
            row.first_token_ms = event.first_token_ms
        case LlmJob.Parked():
            _park(row, event, stored)
        case LlmJob.Resumed():
            row.status, row.waits_since = "queued", stored.recorded_at
            _wait_no_longer(row)
        case LlmJob.Completed():
            _complete(row, event, stored)
        case LlmJob.Failed():
            row.status, row.ended_at = "failed", stored.recorded_at
            _fail(row, event)
            _wait_no_longer(row)
        case LlmJob.RetryScheduled() | LlmJob.Rerouted():
            _go_on(row, event, stored)
        case LlmJob.AttemptLost():
            row.status, row.worker, row.started_at = "queued", None, None
            row.waits_since = stored.recorded_at
        case LlmJob.Cancelled():
            row.status, row.ended_at, row.reason, row.note = "cancelled", stored.recorded_at, event.reason, None
            _wait_no_longer(row)
        case LlmJob.ResultDelivered():
            row.delivered_to = event.to
        case _:  # a denial is followed by the failure, late usage is told by the attempt
            pass


def bury_or_revive(row: JobRow, event: Event, stored: StoredEvent) -> None:
    """A dead letter is marked; one that is tried again stands at the end of its lane, as if it were new."""
    if isinstance(event, LlmJob.DeadLettered):
        row.dead_lettered_at = stored.recorded_at
    if not isinstance(event, LlmJob.Requeued):
        return
    row.status, row.ended_at, row.dead_lettered_at, row.delivered_to = "queued", None, None, None
    row.failure = row.reason = row.note = None
    row.target_provider, row.target_model = row.provider, row.model
    row.max_attempts, row.deadline, row.requeues = event.max_attempts, event.deadline, row.requeues + 1
    row.ready_at = row.waits_since = stored.recorded_at


def _go_on(row: JobRow, event: LlmJob.RetryScheduled | LlmJob.Rerouted, stored: StoredEvent) -> None:
    retries = isinstance(event, LlmJob.RetryScheduled)
    row.status, row.due_at = ("retrying", event.due_at) if retries else ("queued", None)
    row.target_provider, row.target_model = event.next_provider, event.next_model
    row.waits_since = stored.recorded_at
    _fail(row, event)


def _park(row: JobRow, event: LlmJob.Parked, stored: StoredEvent) -> None:
    row.status, row.parked_at, row.parked_on = "parked", stored.recorded_at, event.budget_id
    row.parked_scope, row.parked_limit, row.parked_requested = event.scope, event.limit, event.requested
    row.parked_settled, row.parked_held = event.settled, event.held
    row.parked_name, row.parked_unit, row.parked_until = event.name, event.unit, event.retry_at


def _fail(row: JobRow | AttemptRow, event: LlmJob.Failed | LlmJob.RetryScheduled | LlmJob.Rerouted) -> None:
    row.failure, row.reason, row.note = event.kind, event.reason, event.note


def _wait_no_longer(row: JobRow) -> None:
    row.due_at = row.parked_at = row.parked_on = row.parked_scope = row.parked_limit = None
    row.parked_settled = row.parked_held = row.parked_requested = None
    row.parked_name = row.parked_unit = row.parked_until = None


def _complete(row: JobRow, event: LlmJob.Completed, stored: StoredEvent) -> None:
    row.status, row.ended_at, row.failure, row.reason, row.note = "completed", stored.recorded_at, None, None, None
    row.answered_by, row.response_id, row.finish_reason = event.model, event.response_id, event.finish_reason
    row.output_digest, row.output_size, row.output_sealed = event.output.digest, event.output.size, event.output.sealed
    row.cost, row.queue_ms, row.first_token_ms = event.cost, event.queue_ms, event.first_token_ms
    row.total_ms = event.total_ms
    if event.usage:
        row.input_tokens, row.output_tokens = event.usage.input_tokens, event.usage.output_tokens


def change_attempt(row: AttemptRow, event: Event, stored: StoredEvent) -> None:
    """What an event makes of an attempt; one that was lost stays lost, whatever is decided about its job."""
    row.position = stored.position
    match event:
        case LlmJob.Started():
            row.status, row.started_at, row.hold_expires_at = "running", stored.recorded_at, event.hold_expires_at
        case LlmJob.FirstToken():
            row.first_token_ms = event.first_token_ms
        case LlmJob.Completed():
            row.status, row.ended_at, row.total_ms = "completed", stored.recorded_at, event.total_ms
            row.first_token_ms = event.first_token_ms
            _use(row, event)
        case LlmJob.Failed() | LlmJob.RetryScheduled() | LlmJob.Rerouted() if row.status == "running":
            row.status, row.ended_at = "failed", stored.recorded_at
            row.total_ms = milliseconds(row.started_at or row.admitted_at, stored.recorded_at)
            _fail(row, event)
        case LlmJob.AttemptLost():
            row.status, row.ended_at = "lost", stored.recorded_at
        case LlmJob.Cancelled() if row.status == "running":
            row.status, row.ended_at = "cancelled", stored.recorded_at
        case LlmJob.LateUsage():
            row.reported_late = True
            _use(row, event)
        case _:
            pass


def _use(row: AttemptRow, event: LlmJob.Completed | LlmJob.LateUsage) -> None:
    if event.usage:
        row.input_tokens, row.output_tokens = event.usage.input_tokens, event.usage.output_tokens
