"""The LLM job: its events, what it decides, how it follows."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from domain.charges import Shortfall
from domain.errors import Refused
from domain.kernel import Aggregate, event
from domain.llm_jobs import events
from domain.llm_jobs.attempts import Attempt, HeldAmount, Reply, reference
from domain.llm_jobs.reasons import reason_of
from domain.llm_jobs.routing import MOVES, Patience, hop
from domain.llm_jobs.standing import JobStatus, Standing
from domain.pricing import Usage
from domain.values import Fraction, Instant, Money, Target, Text


class LlmJob(Standing, Aggregate):
    """One question to a model. Its present attempt's number is the fence: only its holder decides the outcome."""

    TOPIC = "llm_job"
    FOLD = 3
    project_id: UUID | None
    phase: str | None
    agent_id: UUID | None
    run: int
    agent_attempt: int
    max_output_tokens: int
    min_output_tokens: int | None
    key_id: UUID | None
    temperature: Fraction | None
    priority: int
    timeout_seconds: int
    max_attempts: int
    messages: Text | None
    not_before: Instant | None
    deadline: Instant | None
    allowance: int
    is_dead: bool
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

    Queued = events.Queued
    Admitted = events.Admitted
    Started = events.Started
    FirstToken = events.FirstToken
    Parked = events.Parked
    Shaped = events.Shaped
    Denied = events.Denied
    Resumed = events.Resumed
    Completed = events.Completed
    Failed = events.Failed
    DeadLettered = events.DeadLettered
    Requeued = events.Requeued
    RetryScheduled = events.RetryScheduled
    Rerouted = events.Rerouted
    AttemptLost = events.AttemptLost
    LateUsage = events.LateUsage
    Cancelled = events.Cancelled
    ResultDelivered = events.ResultDelivered

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
        min_output_tokens: int | None,
        key_id: UUID | None,
        deadline: datetime | None,
        fallbacks: list[Target],
    ) -> None:
        self.deadline, self.allowance, self.is_dead = deadline, max_attempts, False
        self.min_output_tokens, self.key_id = min_output_tokens, key_id
        self.project_id, self.phase, self.agent_id = project_id, phase, agent_id
        self.run, self.agent_attempt = run, attempt
        self.provider, self.model, self.fallbacks = provider, model, fallbacks
        self.hop, self.tries, self.barred = 0, 0, []
        self.max_output_tokens, self.temperature, self.priority = max_output_tokens, temperature, priority
        self.timeout_seconds, self.max_attempts, self.not_before = timeout_seconds, max_attempts, not_before
        self.messages = reference(messages) if messages else None
        self.status, self.attempt, self.unaccounted = "queued", 0, {}
        self.parked_on = self.due_at = self.output = self.usage = self.cost = None
        self.failure = self.reason = self.delivered_to = None

    def admit(
        self,
        attempt: Attempt,
        *,
        request: Text,
        worker: str,
        lease_seconds: int,
        hold_expires_at: datetime,
        max_output_tokens: int | None = None,
    ) -> None:
        facts = dict(attempt)
        number = facts.pop("number")
        self.trigger_event(
            LlmJob.Admitted,
            attempt=number,
            max_output_tokens=max_output_tokens or self.max_output_tokens,
            request=request,
            worker=worker,
            **facts,
        )
        self.trigger_event(
            LlmJob.Started,
            attempt=number,
            attempt_id=attempt.attempt_id,
            lease_seconds=lease_seconds,
            hold_expires_at=hold_expires_at,
        )

    def park(self, lack: Shortfall) -> None:
        """Wait for the first budget that has no room."""
        self.trigger_event(LlmJob.Parked, **dict(lack))

    def shape(self, number: int, max_output_tokens: int, lack: Shortfall) -> None:
        """Ask for less than was wanted; the admission follows."""
        self.trigger_event(
            LlmJob.Shaped,
            attempt=number,
            max_output_tokens=max_output_tokens,
            asked=self.max_output_tokens,
            shortfall=lack,
        )

    def reroute(
        self, number: int, target: Target, then: Target, *, kind: str, note: str | None = None, for_good: bool = False
    ) -> None:
        """On to another target at once."""
        self.trigger_event(
            LlmJob.Rerouted,
            attempt=number,
            **hop(target, then),
            for_good=for_good,
            kind=kind,
            reason=reason_of(kind),
            note=note,
        )

    def deny(
        self, number: int, *, kind: str, note: str | None, lack: Shortfall | None = None, target: Target | None = None
    ) -> None:
        """Fail before anything was held or sent; or go on to another target, where only this one is of no use."""
        target = target or self.target
        if MOVES.get(kind) == "leave" and (then := self.route.besides(target)):
            self.reroute(number, target, then, kind=kind, note=note, for_good=True)
            return
        facts = {"attempt": number, **dict(target), "kind": kind, "reason": reason_of(kind), "note": note}
        self.trigger_event(LlmJob.Denied, shortfall=lack, **facts)
        self._give_up(number, target, kind, note)

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

    def begin_answer(self, number: int, first_token_ms: int) -> None:
        attempt_id = self.present(number).attempt_id
        self.trigger_event(LlmJob.FirstToken, attempt=number, attempt_id=attempt_id, first_token_ms=first_token_ms)

    def complete(self, attempt: Attempt, reply: Reply, cost: Decimal) -> None:
        self.trigger_event(
            LlmJob.Completed,
            attempt=attempt.number,
            attempt_id=attempt.attempt_id,
            cost=cost,
            provider=attempt.provider,
            asked_model=attempt.model,
            **dict(reply),
        )

    def fail(
        self,
        attempt: Attempt,
        *,
        kind: str,
        note: str | None,
        retry_at: datetime | None,
        now: datetime,
        patience: Patience,
    ) -> None:
        """On to another target at once, or again at that time, where attempts are left; else give up.

        Behind the last target comes a pause, and the first one's turn.
        """
        number, target = attempt.number, attempt.target
        wait = retry_at - now if retry_at else None
        onward = self.route.onward(target, kind=kind, wait=wait, tries=self.tries, patience=patience)
        if onward is None or number >= self.max_attempts:
            self._give_up(number, target, kind, note)
        elif self.deadline and (now if onward.at_once else retry_at or now) >= self.deadline:
            why = f"its deadline is over before the next try; the last one ended as {kind}: {reason_of(kind)}"
            self._give_up(number, target, "deadline_exceeded", note, why[:200])
        elif onward.at_once:
            self.reroute(number, target, onward.target, kind=kind, note=note, for_good=onward.for_good)
        else:
            self.trigger_event(
                LlmJob.RetryScheduled,
                attempt=number,
                **hop(target, onward.target),
                due_at=retry_at,
                kind=kind,
                reason=reason_of(kind),
                note=note,
            )

    def lose(self, number: int) -> None:
        """Take the job from a worker that fell silent."""
        lost = self.present(number)
        self.trigger_event(LlmJob.AttemptLost, attempt=number, attempt_id=lost.attempt_id)
        if number >= self.max_attempts:
            self._give_up(number, lost.target, "lost", None)

    def account_late(self, attempt: Attempt, *, usage: Usage | None, cost: Decimal) -> None:
        self.trigger_event(
            LlmJob.LateUsage, attempt=attempt.number, attempt_id=attempt.attempt_id, usage=usage, cost=cost
        )

    def cancel(self, reason: str) -> None:
        self._must_be("queued", "running", "parked", "retrying")
        self.trigger_event(LlmJob.Cancelled, reason=reason)

    def deliver(self, to: str) -> None:
        """Note that whoever asked has the outcome; once is enough."""
        self._must_be("completed", "failed", "cancelled")
        if self.delivered_to is None:
            self.trigger_event(LlmJob.ResultDelivered, to=to)

    def expire(self) -> None:
        """It did not start by its deadline."""
        self._give_up(max(1, self.attempt), self.target, "deadline_exceeded", None)

    def revive(self, attempts: int | None, deadline: datetime | None, now: datetime) -> None:
        """Back to the queue, with attempts of its own."""
        still = self.deadline if self.deadline and self.deadline > now else None
        self.trigger_event(
            LlmJob.Requeued,
            attempts=self.attempt,
            max_attempts=self.attempt + (attempts or self.allowance),
            deadline=deadline or still,
        )

    def _give_up(self, number: int, target: Target, kind: str, note: str | None, reason: str | None = None) -> None:
        """Fail for good. An agent decides itself whether it goes on, with a job of its own."""
        reason = reason or reason_of(kind)
        self.trigger_event(LlmJob.Failed, attempt=number, **dict(target), kind=kind, reason=reason, note=note)
        if self.agent_id is None:
            self.trigger_event(LlmJob.DeadLettered, attempts=self.attempt, kind=kind, reason=reason)

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
        probe: bool,
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
            probe=probe,
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
        self.parked_on = self.due_at = None

    @event(DeadLettered)
    def _dead_lettered(self) -> None:
        self.is_dead = True

    @event(Requeued)
    def _requeued(self, max_attempts: int, deadline: datetime | None) -> None:
        self.status, self.is_dead, self.max_attempts, self.deadline = "queued", False, max_attempts, deadline
        self.hop, self.tries, self.barred = 0, 0, []
        self.failure = self.reason = self.delivered_to = None

    @event(RetryScheduled)
    def _retry_scheduled(
        self, *, attempt: int, next_provider: str, next_model: str, due_at: datetime, kind: str, reason: str
    ) -> None:
        del self.unaccounted[attempt]
        self.status, self.due_at, self.failure, self.reason = "retrying", due_at, kind, reason
        self._turn_to(next_provider, next_model)

    @event(Rerouted)
    def _rerouted(
        self,
        *,
        attempt: int,
        provider: str,
        model: str,
        next_provider: str,
        next_model: str,
        for_good: bool,
        kind: str,
        reason: str,
    ) -> None:
        if self.status == "running":
            del self.unaccounted[attempt]
        self.status, self.failure, self.reason = "queued", kind, reason
        if for_good:
            self._bar(provider, model)
        self._turn_to(next_provider, next_model)

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
