"""How an agent stands: the state that its events have brought it to, and what it answers and refuses because of it."""

from datetime import datetime
from uuid import UUID

from domain.agents.definition import AgentStatus, AssetRef, Awaited, Definition
from domain.errors import Refused
from domain.values import Instant, Sealed


class Standing:
    """The state of an agent, and questions to it."""

    project_id: UUID | None
    name: str
    phase: str | None
    definition: Definition
    status: AgentStatus
    run: int
    """Counts from 1; a reset begins the next."""
    attempt: int
    """Counts from 1 within a run; 0 before the first."""
    failures: int
    """Failed attempts of this run, which retries are counted against; an attempt asked for by a review is none."""
    job_id: UUID | None
    """The LLM job of the current attempt, until the run ends."""
    feedback: Sealed | None
    """What a reviewer answered: the current attempt works it in."""
    percentage: int | None
    waiting_for: list[Awaited]
    retry_at: Instant | None
    """When the next attempt is due, while the agent waits for that."""
    asset: AssetRef | None
    """The result: held back while the agent waits for a review, approved once it is completed."""
    blocks: bool
    """Whether its failure keeps its dependents where they are."""
    skipped_because: str | None
    """The agent whose failure passed this one over."""

    # --- questions ---

    @property
    def is_open(self) -> bool:
        """Whether its run has begun and not ended."""
        return self.status in ("ready", "running", "waiting")

    @property
    def in_flight(self) -> UUID | None:
        """The job that may still be answered."""
        return self.job_id if self.status == "running" else None

    @property
    def reviewed_at(self) -> UUID | None:
        """The checkpoint that the agent waits at."""
        return next((each.id for each in self.waiting_for if each.kind == "checkpoint"), None)

    @property
    def next_attempt(self) -> int:
        """The attempt that starts next."""
        return self.attempt + 1

    def is_due(self, now: datetime) -> bool:
        """Whether the next attempt may start: it is ready, or its retry's time has come."""
        return self.status == "ready" or (self.retry_at is not None and self.retry_at <= now)

    def check_due(self, run: int, attempt: int, now: datetime) -> None:
        """Refuse to start any attempt but the one that is due."""
        if (run, attempt) != (self.run, self.next_attempt) or not self.is_due(now):
            raise _not_due(f"attempt {attempt} of run {run} of agent {self.name} is not due")

    def check_attempt(self, job: UUID) -> None:
        """Refuse what a job reports when it is not the job of the attempt that runs now."""
        if self.in_flight != job:
            raise _not_due(f"agent {self.name} no longer waits for job {job}")

    def check_held(self, run: int, attempt: int) -> None:
        """Refuse a review's decision unless it is about the result that is held back now."""
        if self.status != "waiting" or self.retry_at is not None or (run, attempt) != (self.run, self.attempt):
            raise _not_due(f"agent {self.name} no longer waits for a decision on attempt {attempt} of run {run}")

    # --- refusals ---

    def refuse_if(self, *statuses: AgentStatus, fix: str) -> None:
        if self.status in statuses:
            raise Refused(f"agent {self.name} is {self.status}: {fix}", code="wrong_status", status=self.status)

    def check_is(self, *allowed: AgentStatus) -> None:
        if self.status not in allowed:
            message = f"agent {self.name} is {self.status}; this needs it to be {' or '.join(allowed)}"
            raise Refused(message, code="wrong_status", status=self.status)


def _not_due(message: str) -> Refused:
    return Refused(message, code="not_due")
