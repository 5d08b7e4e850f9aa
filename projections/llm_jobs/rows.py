"""Rows of the tables of LLM jobs, and how each event changes them."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from domain.kernel import Event
from domain.llm_jobs import JobStatus, LlmJob
from domain.log import StoredEvent

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
    status: JobStatus = "queued"
    attempt: int = 0
    due_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    worker: str | None = None
    parked_at: datetime | None = None
    parked_on: UUID | None = None
    parked_scope: str | None = None
    parked_limit: Decimal | None = None
    parked_settled: Decimal | None = None
    parked_held: Decimal | None = None
    parked_requested: Decimal | None = None
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


def new_job(event: LlmJob.Queued, stored: StoredEvent) -> JobRow:
    """A job as it enters the queue."""
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
    )


def new_attempt(event: LlmJob.Admitted, stored: StoredEvent) -> AttemptRow:
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
    )


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
            row.status = "queued"
            _wait_no_longer(row)
        case LlmJob.Completed():
            _complete(row, event, stored)
        case LlmJob.Failed():
            row.status, row.ended_at = "failed", stored.recorded_at
            _fail(row, event)
            _wait_no_longer(row)
        case LlmJob.RetryScheduled() | LlmJob.Rerouted():
            _go_on(row, event)
        case LlmJob.AttemptLost():
            row.status, row.worker, row.started_at = "queued", None, None
        case LlmJob.Cancelled():
            row.status, row.ended_at, row.reason, row.note = "cancelled", stored.recorded_at, event.reason, None
            _wait_no_longer(row)
        case LlmJob.ResultDelivered():
            row.delivered_to = event.to
        case _:  # a denial is followed by the failure, late usage is told by the attempt
            pass


def _go_on(row: JobRow, event: LlmJob.RetryScheduled | LlmJob.Rerouted) -> None:
    retries = isinstance(event, LlmJob.RetryScheduled)
    row.status, row.due_at = ("retrying", event.due_at) if retries else ("queued", None)
    row.target_provider, row.target_model = event.next_provider, event.next_model
    _fail(row, event)


def _park(row: JobRow, event: LlmJob.Parked, stored: StoredEvent) -> None:
    row.status, row.parked_at, row.parked_on = "parked", stored.recorded_at, event.budget_id
    row.parked_scope, row.parked_limit, row.parked_requested = event.scope, event.limit, event.requested
    row.parked_settled, row.parked_held = event.settled, event.held


def _fail(row: JobRow | AttemptRow, event: LlmJob.Failed | LlmJob.RetryScheduled | LlmJob.Rerouted) -> None:
    row.failure, row.reason, row.note = event.kind, event.reason, event.note


def _wait_no_longer(row: JobRow) -> None:
    row.due_at = row.parked_at = row.parked_on = row.parked_scope = row.parked_limit = None
    row.parked_settled = row.parked_held = row.parked_requested = None


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
        case LlmJob.Completed():
            row.status, row.ended_at, row.total_ms = "completed", stored.recorded_at, event.total_ms
            _use(row, event)
        case LlmJob.Failed() | LlmJob.RetryScheduled() | LlmJob.Rerouted() if row.status == "running":
            row.status, row.ended_at = "failed", stored.recorded_at
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
