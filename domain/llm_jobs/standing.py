"""How a job stands: what may happen to it now, and which of its attempts are still to be accounted for."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from domain.errors import Refused
from domain.llm_jobs.attempts import Attempt
from domain.llm_jobs.routing import Routed

JobStatus = Literal["queued", "running", "parked", "retrying", "completed", "failed", "cancelled"]


class Standing(Routed):
    """What can be asked of a job without changing it: a part of its state."""

    agent_id: UUID | None
    not_before: datetime | None
    deadline: datetime | None
    is_dead: bool
    status: JobStatus
    attempt: int
    unaccounted: dict[int, Attempt]

    def check_admissible(self, attempt: int, now: datetime) -> None:
        """Whether exactly this attempt may go out now."""
        self._must_be("queued")
        if attempt != self.attempt + 1:
            raise Refused(f"the next attempt of this job is number {self.attempt + 1}", code="not_due")
        if self.not_before and now < self.not_before:
            raise Refused("this job may not start yet", code="not_due")
        if self.deadline and now >= self.deadline:
            raise Refused("this job's deadline is over: it may not start any more", code="deadline_exceeded")

    def check_overdue(self, now: datetime) -> None:
        """Whether the job waits and may not start any more."""
        self._must_be("queued", "parked", "retrying")
        if self.deadline is None or now < self.deadline:
            raise Refused("this job's deadline is not over", code="not_due")

    def check_dead(self, job_id: UUID) -> None:
        """Whether it failed for good and nobody else goes on with it; the id is for the refusal."""
        if self.status == "failed" and self.agent_id:
            raise Refused(
                f"job {job_id} belongs to agent {self.agent_id}, which makes a new job for each try: retry the agent"
                f" (POST /api/agents/{self.agent_id}/retry)",
                code="agent_job",
                agent_id=self.agent_id,
            )
        if not self.is_dead:
            raise Refused(f"job {job_id} is {self.status}: only what has failed for good is requeued", code="not_dead")

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
        raise LookupError(f"a budget holds money for attempt {attempt_id}, which its job does not wait for")

    def is_current(self, attempt: Attempt) -> bool:
        """Whether this attempt still decides the job: neither lost, nor overtaken, nor cancelled."""
        return self.status == "running" and attempt.number == self.attempt

    def present(self, number: int) -> Attempt:
        """The attempt with this number, which must be under way."""
        self._must_be("running")
        if number != self.attempt:
            raise Refused(f"attempt {self.attempt} is the present one", code="not_due")
        return self.unaccounted[number]

    def _must_be(self, *wanted: JobStatus) -> None:
        if self.status not in wanted:
            raise Refused(f"the job is {self.status}, not {' or '.join(wanted)}", code="not_due", status=self.status)
