"""How a job ends without an answer, and how it is tried again: deadlines, dead letters."""

from collections.abc import Callable
from datetime import datetime
from typing import Literal
from uuid import UUID

from domain.errors import Refused
from domain.llm_jobs import events
from domain.llm_jobs.reasons import reason_of
from domain.llm_jobs.routing import Routed
from domain.values import Target

JobStatus = Literal["queued", "running", "parked", "retrying", "completed", "failed", "cancelled"]


class Ending(Routed):
    """What a job knows of its end: a part of its state, and the decisions about it."""

    status: JobStatus
    agent_id: UUID | None
    attempt: int
    deadline: datetime | None
    allowance: int
    is_dead: bool
    trigger_event: Callable[..., None]

    def check_overdue(self, now: datetime) -> None:
        """Whether the job waits and may not start any more."""
        self._must_be("queued", "parked", "retrying")
        if self.deadline is None or now < self.deadline:
            raise Refused("this job's deadline is not over", code="not_due")

    def expire(self) -> None:
        """It did not start by its deadline."""
        self.give_up(max(1, self.attempt), self.target, "deadline_exceeded", None)

    def check_dead(self) -> None:
        """Whether it failed for good and nobody else goes on with it."""
        if self.status == "failed" and self.agent_id:
            raise Refused(
                f"this job belongs to agent {self.agent_id}, which makes a new job for each try: retry the agent"
                f" (POST /api/agents/{self.agent_id}/retry)",
                code="agent_job",
                agent_id=self.agent_id,
            )
        if not self.is_dead:
            raise Refused(f"this job is {self.status}: only what has failed for good is requeued", code="not_dead")

    def revive(self, attempts: int | None, deadline: datetime | None, now: datetime) -> None:
        """Back to the queue, with attempts of its own."""
        still = self.deadline if self.deadline and self.deadline > now else None
        self.trigger_event(
            events.Requeued,
            attempts=self.attempt,
            max_attempts=self.attempt + (attempts or self.allowance),
            deadline=deadline or still,
        )

    def give_up(self, number: int, target: Target, kind: str, note: str | None, reason: str | None = None) -> None:
        """Fail for good. An agent decides itself whether it goes on, with a job of its own."""
        reason = reason or reason_of(kind)
        self.trigger_event(events.Failed, attempt=number, **dict(target), kind=kind, reason=reason, note=note)
        if self.agent_id is None:
            self.trigger_event(events.DeadLettered, attempts=self.attempt, kind=kind, reason=reason)

    def _must_be(self, *wanted: JobStatus) -> None:
        if self.status not in wanted:
            raise Refused(f"the job is {self.status}, not {' or '.join(wanted)}", code="not_due", status=self.status)
