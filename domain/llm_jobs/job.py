"""The LLM job: its events, what it decides, how it follows."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from domain.errors import Refused
from domain.kernel import Aggregate, Created, event
from domain.llm_jobs.attempts import Attempt, Count, HeldAmount, Ordinal, Reply, reference
from domain.llm_jobs.reasons import reason_of
from domain.pricing import RateId, Usage
from domain.values import Amount, Code, Fraction, Instant, ModelName, Money, Name, Sealed, Slug, Text

JobStatus = Literal["queued", "running", "parked", "retrying", "completed", "failed", "cancelled"]


class LlmJob(Aggregate):
    """One question to a model. Its present attempt's number is the fence: only its holder decides the outcome."""

    TOPIC = "llm_job"
    FOLD = 1
    project_id: UUID | None
    phase: str | None
    agent_id: UUID | None
    run: int
    agent_attempt: int
    provider: str
    model: str
    max_output_tokens: int
    temperature: Fraction | None
    priority: int
    timeout_seconds: int
    max_attempts: int
    messages: Text | None
    not_before: Instant | None
    status: JobStatus
    attempt: int
    unaccounted: dict[int, Attempt]
    parked_on: UUID | None
    due_at: Instant | None
    output: Text | None
    usage: Usage | None
    cost: Money | None
    failure: str | None
    reason: str | None
    delivered_to: str | None

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
        temperature: Annotated[Fraction, Field(ge=0, le=2)] | None
        priority: int
        timeout_seconds: Ordinal
        max_attempts: Ordinal
        messages: Text | None
        not_before: Instant | None

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
        worker: Name

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
        limit: Amount
        settled: Amount
        held: Amount
        requested: Amount

    class Denied(Aggregate.Event, type="llm_job.denied"):
        """The attempt may never go out: its price is unknown, its provider or its prompt is not there."""

        attempt: Ordinal
        kind: Code
        reason: Name
        note: Sealed | None

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
        model: ModelName
        response_id: Name | None
        finish_reason: Code
        queue_ms: Count
        first_token_ms: Count | None
        total_ms: Count

    class Failed(Aggregate.Event, type="llm_job.failed"):
        """The job has no answer and will not be tried again."""

        attempt: Ordinal
        kind: Code
        reason: Name
        note: Sealed | None

    class RetryScheduled(Aggregate.Event, type="llm_job.retry_scheduled"):
        """An attempt failed in a way that may pass; the next one waits until it is due."""

        attempt: Ordinal
        due_at: Instant
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

    # --- decisions ---

    @event(Queued)
    def __init__(  # noqa: PLR0913 -- as many facts as the event has
        self,
        id: UUID,  # noqa: ARG002 -- the library's name for it
        *,
        project_id: UUID | None,
        phase: str | None,
        agent_id: UUID | None,
        run: int,
        attempt: int,
        provider: str,
        model: str,
        max_output_tokens: int,
        temperature: Decimal | None,
        priority: int,
        timeout_seconds: int,
        max_attempts: int,
        messages: Text | None,
        not_before: datetime | None,
    ) -> None:
        self.project_id, self.phase, self.agent_id = project_id, phase, agent_id
        self.run, self.agent_attempt = run, attempt
        self.provider, self.model = provider, model
        self.max_output_tokens, self.temperature, self.priority = max_output_tokens, temperature, priority
        self.timeout_seconds, self.max_attempts, self.not_before = timeout_seconds, max_attempts, not_before
        self.messages = reference(messages) if messages else None
        self.status, self.attempt, self.unaccounted = "queued", 0, {}
        self.parked_on = self.due_at = self.output = self.usage = self.cost = None
        self.failure = self.reason = self.delivered_to = None

    def check_admissible(self, attempt: int, now: datetime) -> None:
        """Whether exactly this attempt may go out now."""
        self._must_be("queued")
        if attempt != self.attempt + 1:
            raise Refused(f"the next attempt of this job is number {self.attempt + 1}", code="not_due")
        if self.not_before and now < self.not_before:
            raise Refused("this job may not start yet", code="not_due")

    def admit(
        self, attempt: Attempt, *, request: Text, worker: str, lease_seconds: int, hold_expires_at: datetime
    ) -> None:
        facts = dict(attempt)
        number = facts.pop("number")
        self.trigger_event(LlmJob.Admitted, attempt=number, request=request, worker=worker, **facts)
        self.trigger_event(
            LlmJob.Started,
            attempt=number,
            attempt_id=attempt.attempt_id,
            lease_seconds=lease_seconds,
            hold_expires_at=hold_expires_at,
        )

    def park(
        self, budget_id: UUID, *, scope: str, limit: Decimal, settled: Decimal, held: Decimal, requested: Decimal
    ) -> None:
        """Wait for the first budget that has no room."""
        self.trigger_event(
            LlmJob.Parked,
            budget_id=budget_id,
            scope=scope,
            limit=limit,
            settled=settled,
            held=held,
            requested=requested,
        )

    def deny(self, number: int, *, kind: str, note: str | None) -> None:
        """Fail before anything was held or sent."""
        self.trigger_event(LlmJob.Denied, attempt=number, kind=kind, reason=reason_of(kind), note=note)
        self.trigger_event(LlmJob.Failed, attempt=number, kind=kind, reason=reason_of(kind), note=note)

    def resume(self, budget_id: UUID) -> None:
        """Back to the queue: the budget has room."""
        self._must_be("parked")
        self.trigger_event(LlmJob.Resumed, budget_id=budget_id)

    def requeue(self, now: datetime) -> None:
        """Back to the queue: the retry is due."""
        self._must_be("retrying")
        if self.due_at and now < self.due_at:
            raise Refused("this job's retry is not due yet", code="not_due")
        self.trigger_event(LlmJob.Resumed, budget_id=None)

    def awaited(self, number: int) -> Attempt | None:
        """The attempt whose cost is still unknown; None when it was reported before."""
        if not 1 <= number <= self.attempt:
            raise Refused(f"attempt {number} of this job was never admitted", code="not_due")
        return self.unaccounted.get(number)

    def charged(self, attempt_id: UUID) -> Attempt:
        """The attempt that a budget still holds money for; both forget it in one append."""
        for each in self.unaccounted.values():
            if each.attempt_id == attempt_id:
                return each
        raise LookupError(f"a budget holds money for attempt {attempt_id}, which job {self.id} does not wait for")

    def is_current(self, attempt: Attempt) -> bool:
        """Whether this attempt still decides the job: neither lost, nor overtaken, nor cancelled."""
        return self.status == "running" and attempt.number == self.attempt

    def begin_answer(self, number: int, first_token_ms: int) -> None:
        attempt_id = self._present(number).attempt_id
        self.trigger_event(LlmJob.FirstToken, attempt=number, attempt_id=attempt_id, first_token_ms=first_token_ms)

    def complete(self, attempt: Attempt, reply: Reply, cost: Decimal) -> None:
        self.trigger_event(
            LlmJob.Completed,
            attempt=attempt.number,
            attempt_id=attempt.attempt_id,
            cost=cost,
            provider=attempt.provider,
            **dict(reply),
        )

    def fail(self, attempt: Attempt, *, kind: str, note: str | None, retry_at: datetime | None) -> None:
        """Try again at that time, where attempts are left; else give up."""
        number, reason = attempt.number, reason_of(kind)
        if retry_at is None or number >= self.max_attempts:
            self.trigger_event(LlmJob.Failed, attempt=number, kind=kind, reason=reason, note=note)
        else:
            self.trigger_event(
                LlmJob.RetryScheduled, attempt=number, due_at=retry_at, kind=kind, reason=reason, note=note
            )

    def lose(self, number: int) -> None:
        """Take the job from a worker that fell silent."""
        self.trigger_event(LlmJob.AttemptLost, attempt=number, attempt_id=self._present(number).attempt_id)
        if number >= self.max_attempts:
            self.trigger_event(LlmJob.Failed, attempt=number, kind="lost", reason=reason_of("lost"), note=None)

    def account_late(self, attempt: Attempt, *, usage: Usage | None, cost: Decimal) -> None:
        which = {"attempt": attempt.number, "attempt_id": attempt.attempt_id}
        self.trigger_event(LlmJob.LateUsage, **which, usage=usage, cost=cost)

    def cancel(self, reason: str) -> None:
        self._must_be("queued", "running", "parked", "retrying")
        self.trigger_event(LlmJob.Cancelled, reason=reason)

    def deliver(self, to: str) -> None:
        """Note that whoever asked has the outcome; once is enough."""
        self._must_be("completed", "failed", "cancelled")
        if self.delivered_to is None:
            self.trigger_event(LlmJob.ResultDelivered, to=to)

    def _present(self, number: int) -> Attempt:
        self._must_be("running")
        if number != self.attempt:
            raise Refused(f"attempt {self.attempt} is the present one", code="not_due")
        return self.unaccounted[number]

    def _must_be(self, *wanted: JobStatus) -> None:
        if self.status not in wanted:
            raise Refused(f"the job is {self.status}, not {' or '.join(wanted)}", code="not_due", status=self.status)

    # --- appliers ---

    @event(Admitted)
    def _admitted(
        self,
        *,
        attempt: int,
        attempt_id: UUID,
        provider: str,
        model: str,
        bound: Decimal,
        rate_id: str,
        holds: list[HeldAmount],
    ) -> None:
        self.attempt = attempt
        self.unaccounted[attempt] = Attempt(
            number=attempt,
            attempt_id=attempt_id,
            provider=provider,
            model=model,
            bound=bound,
            rate_id=rate_id,
            holds=holds,
        )

    @event(Started)
    def _started(self) -> None:
        self.status = "running"

    @event(Parked)
    def _parked(self, budget_id: UUID) -> None:
        self.status, self.parked_on = "parked", budget_id

    @event(Resumed)
    def _resumed(self) -> None:
        self.status, self.parked_on, self.due_at = "queued", None, None

    @event(Completed)
    def _completed(self, attempt: int, output: Text, usage: Usage | None, cost: Decimal) -> None:
        del self.unaccounted[attempt]
        self.status, self.output, self.usage, self.cost = "completed", reference(output), usage, cost

    @event(Failed)
    def _failed(self, attempt: int, kind: str, reason: str) -> None:
        if self.status == "running":  # a denied attempt has no cost, and a lost one's is still unknown
            del self.unaccounted[attempt]
        self.status, self.failure, self.reason = "failed", kind, reason

    @event(RetryScheduled)
    def _retry_scheduled(self, attempt: int, due_at: datetime, kind: str, reason: str) -> None:
        del self.unaccounted[attempt]
        self.status, self.due_at, self.failure, self.reason = "retrying", due_at, kind, reason

    @event(AttemptLost)
    def _attempt_lost(self) -> None:
        self.status = "queued"

    @event(LateUsage)
    def _late_usage(self, attempt: int) -> None:
        del self.unaccounted[attempt]

    @event(Cancelled)
    def _cancelled(self, reason: str) -> None:
        self.status, self.reason, self.parked_on, self.due_at = "cancelled", reason, None, None

    @event(ResultDelivered)
    def _result_delivered(self, to: str) -> None:
        self.delivered_to = to
