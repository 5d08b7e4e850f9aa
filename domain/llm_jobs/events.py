"""What happens to LLM jobs: every event, as the log keeps it."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from domain.charges import Shortfall, Unit
from domain.kernel import Aggregate, Created
from domain.llm_jobs.attempts import Count, HeldAmount, Ordinal
from domain.pricing import RateId, Usage
from domain.values import Amount, Code, Fallbacks, Fraction, Instant, ModelName, Name, Sealed, Slug, Text


class Queued(Created, type="llm_job.queued"):
    """Somebody wants an answer from a model: an agent's attempt, or a chat that brings its own messages."""

    project_id: UUID | None
    phase: Slug | None
    agent_id: UUID | None
    run: Ordinal
    attempt: Ordinal
    provider: Slug
    model: ModelName
    max_output_tokens: Ordinal
    min_output_tokens: Ordinal | None
    key_id: UUID | None
    temperature: Annotated[Fraction, Field(ge=0, le=2)] | None
    priority: int
    timeout_seconds: Ordinal
    max_attempts: Ordinal
    messages: Text | None
    not_before: Instant | None
    deadline: Instant | None
    fallbacks: Fallbacks


class Admitted(Aggregate.Event, type="llm_job.admitted"):
    """Every budget that pays holds the most that this attempt can cost."""

    attempt: Ordinal
    attempt_id: UUID
    provider: Slug
    model: ModelName
    holds: list[HeldAmount]
    bound: Amount
    rate_id: RateId
    request: Text
    max_output_tokens: Ordinal
    worker: Name
    probe: bool


class Started(Aggregate.Event, type="llm_job.started"):
    """A worker may send the attempt's request, and must report before its hold expires."""

    attempt: Ordinal
    attempt_id: UUID
    lease_seconds: Ordinal
    hold_expires_at: Instant


class FirstToken(Aggregate.Event, type="llm_job.first_token"):
    """The model began to answer, so long after its request was sent."""

    attempt: Ordinal
    attempt_id: UUID
    first_token_ms: Count


class Parked(Aggregate.Event, type="llm_job.parked"):
    """The job waits, because a budget cannot hold what it may cost."""

    budget_id: UUID
    scope: Name
    name: Slug
    unit: Unit
    window: Name
    limit: Amount
    settled: Amount
    held: Amount
    requested: Amount
    retry_at: Instant | None


class Shaped(Aggregate.Event, type="llm_job.shaped"):
    """The attempt may write less than was asked for, because a budget has no room for all of it."""

    attempt: Ordinal
    max_output_tokens: Ordinal
    asked: Ordinal
    shortfall: Shortfall


class Denied(Aggregate.Event, type="llm_job.denied"):
    """The attempt may never go out: no price, no provider or no prompt for it, or more than a budget allows."""

    attempt: Ordinal
    provider: Slug
    model: ModelName
    kind: Code
    reason: Name
    note: Sealed | None
    shortfall: Shortfall | None


class Resumed(Aggregate.Event, type="llm_job.resumed"):
    """The job is back in the queue: a budget has room for it, or its retry is due."""

    budget_id: UUID | None


class Completed(Aggregate.Event, type="llm_job.completed"):
    """The model answered; where its provider did not count usage, the bound is the cost."""

    attempt: Ordinal
    attempt_id: UUID
    output: Text
    usage: Usage | None
    cost: Amount
    provider: Slug
    asked_model: ModelName
    model: ModelName
    response_id: Name | None
    finish_reason: Code
    queue_ms: Count
    first_token_ms: Count | None
    total_ms: Count


class Failed(Aggregate.Event, type="llm_job.failed"):
    """The job has no answer and will not be tried again; provider and model are those of the last try."""

    attempt: Ordinal
    provider: Slug
    model: ModelName
    kind: Code
    reason: Name
    note: Sealed | None


class DeadLettered(Aggregate.Event, type="llm_job.dead_lettered"):
    """The job failed for good and nobody goes on with it, until somebody puts it back into the queue."""

    attempts: Count
    kind: Code
    reason: Name


class Requeued(Aggregate.Event, type="llm_job.requeued"):
    """A dead letter is tried again; its attempts are numbered on, up to so many in all."""

    attempts: Count
    max_attempts: Ordinal
    deadline: Instant | None


class RetryScheduled(Aggregate.Event, type="llm_job.retry_scheduled"):
    """An attempt failed in a way that may pass; the next one waits until it is due, and goes where this says."""

    attempt: Ordinal
    provider: Slug
    model: ModelName
    next_provider: Slug
    next_model: ModelName
    due_at: Instant
    kind: Code
    reason: Name
    note: Sealed | None


class Rerouted(Aggregate.Event, type="llm_job.rerouted"):
    """The job goes to another of its targets at once: this one failed, may not be used now, or never for this job."""

    attempt: Ordinal
    provider: Slug
    model: ModelName
    next_provider: Slug
    next_model: ModelName
    for_good: bool
    kind: Code
    reason: Name
    note: Sealed | None


class AttemptLost(Aggregate.Event, type="llm_job.attempt_lost"):
    """The worker of an attempt fell silent; what it may still cost stays held until its hold expires."""

    attempt: Ordinal
    attempt_id: UUID


class LateUsage(Aggregate.Event, type="llm_job.late_usage"):
    """An attempt that had been given up reported after all: not as a result, but what it cost counts."""

    attempt: Ordinal
    attempt_id: UUID
    usage: Usage | None
    cost: Amount


class Cancelled(Aggregate.Event, type="llm_job.cancelled"):
    """Nobody wants the answer any more."""

    reason: Code


class ResultDelivered(Aggregate.Event, type="llm_job.result_delivered"):
    """Whoever asked has the outcome."""

    to: Name
