"""The checkpoint aggregate: asked once, looked at, decided exactly once, expired or withdrawn."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from domain.errors import Conflict, Refused
from domain.kernel import Aggregate, Created, event
from domain.values import Code, Digest, Instant, Name, Sealed, Slug

Decision = Literal["approve", "edit", "reject", "respond"]
"""approve: as it is. edit: in the person's own version. reject: not at all. respond: again, with this said."""
CheckpointStatus = Literal["pending", "resolved", "expired", "withdrawn"]
Count = Annotated[int, Field(ge=1)]


class Checkpoint(Aggregate):
    """A question to a person about one result: consumed by the first decision, bound to the digest it is about."""

    TOPIC = "checkpoint"
    FOLD = 1
    project_id: UUID
    agent_id: UUID
    agent_name: str
    run: int
    attempt: int
    asset_id: UUID
    asset_version: int
    digest: Digest
    """What was asked about; after a decision, what was decided on."""
    due_at: Instant | None
    status: CheckpointStatus
    viewers: list[str]
    """Who has looked at it; as few as there are people with a key."""
    escalated: bool
    decision: Decision | None
    decided_by: str | None
    comment: Sealed | None

    class Requested(Created, type="checkpoint.requested"):
        """An agent's result waits for a person's decision."""

        project_id: UUID
        phase: Slug | None
        agent_id: UUID
        agent_name: Name
        run: Count
        attempt: Count
        title: Name
        question: Sealed | None
        asset_id: UUID
        asset_version: Count
        digest: Digest
        due_at: Instant | None

    class Viewed(Aggregate.Event, type="checkpoint.viewed"):
        """Somebody looked at what is to be decided, for the first time."""

        by: Name

    class Escalated(Aggregate.Event, type="checkpoint.escalated"):
        """Somebody asked for this to be decided sooner, or by somebody else."""

        by: Name
        note: Sealed | None

    class Resolved(Aggregate.Event, type="checkpoint.resolved"):
        """A person decided; the digest is that of exactly the content the decision is about."""

        agent_id: UUID
        decision: Decision
        digest: Digest
        asset_version: Count
        comment: Sealed | None
        by: Name

    class Expired(Aggregate.Event, type="checkpoint.expired"):
        """Nobody decided in time."""

        agent_id: UUID

    class Withdrawn(Aggregate.Event, type="checkpoint.withdrawn"):
        """Nobody has to decide any more: the agent was stopped, or will run again."""

        reason: Code

    # --- decisions ---

    @event(Requested)
    def __init__(  # noqa: PLR0913 -- a question has this many facts
        self,
        id: UUID,  # noqa: ARG002 -- the library's name for it
        *,
        project_id: UUID,
        phase: str | None,  # noqa: ARG002 -- a field of the event
        agent_id: UUID,
        agent_name: str,
        run: int,
        attempt: int,
        title: str,  # noqa: ARG002 -- a field of the event
        question: str | None,  # noqa: ARG002 -- a field of the event
        asset_id: UUID,
        asset_version: int,
        digest: str,
        due_at: datetime | None,
    ) -> None:
        self.project_id, self.agent_id, self.agent_name = project_id, agent_id, agent_name
        self.run, self.attempt = run, attempt
        self.asset_id, self.asset_version, self.digest = asset_id, asset_version, digest
        self.due_at = due_at
        self.status: CheckpointStatus = "pending"
        self.viewers, self.escalated = [], False
        self.decision = self.decided_by = self.comment = None

    def view(self, by: str) -> None:
        """Somebody looks at it; what is decided or expired is only read."""
        if self.status == "pending" and by not in self.viewers:
            self.trigger_event(Checkpoint.Viewed, by=by)

    def escalate(self, by: str, note: str | None, now: datetime) -> None:
        """Ask for a decision more loudly, once."""
        self.check_pending(now)
        if not self.escalated:
            self.trigger_event(Checkpoint.Escalated, by=by, note=note)

    def check_pending(self, now: datetime) -> None:
        """Refuse once it was decided, or its time is over."""
        if self.status == "resolved":
            raise Conflict(
                f"this checkpoint was decided already: {self.decision} by {self.decided_by}",
                code="already_decided",
                decision=self.decision,
                by=self.decided_by,
            )
        if self.status == "withdrawn":
            raise Refused(
                f"this checkpoint was withdrawn, because agent {self.agent_name} was stopped or will run again: "
                "look at its newest result",
                code="checkpoint_withdrawn",
            )
        if self.status == "expired" or self._is_overdue(now):
            raise Refused(
                f"this checkpoint has expired; reset agent {self.agent_name} to have it run and ask again",
                code="checkpoint_expired",
            )

    def check_binding(self, digest: str | None) -> None:
        """Refuse a decision that does not say, or says wrongly, which content it is about."""
        if digest is None:
            raise Refused(
                f"say which content you decide on: its digest is {self.digest}",
                code="digest_required",
                digest=self.digest,
            )
        if digest != self.digest:
            raise Conflict(
                f"you looked at other content: this checkpoint is about digest {self.digest}",
                code="digest_mismatch",
                digest=self.digest,
            )

    def resolve(self, decision: Decision, *, by: str, comment: str | None, digest: str, asset_version: int) -> None:
        """Decide, about exactly this version of the asset."""
        self.trigger_event(
            Checkpoint.Resolved,
            agent_id=self.agent_id,
            decision=decision,
            digest=digest,
            asset_version=asset_version,
            comment=comment,
            by=by,
        )

    def expire(self, now: datetime) -> None:
        """Its time is over."""
        if self.status != "pending" or not self._is_overdue(now):
            raise Refused("this checkpoint is not overdue", code="not_due")
        self.trigger_event(Checkpoint.Expired, agent_id=self.agent_id)

    def withdraw(self, reason: str) -> None:
        """Ask no more; what is decided or has expired stays so."""
        if self.status == "pending":
            self.trigger_event(Checkpoint.Withdrawn, reason=reason)

    def _is_overdue(self, now: datetime) -> bool:
        return self.due_at is not None and now >= self.due_at

    # --- appliers ---

    @event(Viewed)
    def _viewed(self, by: str) -> None:
        self.viewers.append(by)

    @event(Escalated)
    def _escalated(self) -> None:
        self.escalated = True

    @event(Resolved)
    def _resolved(self, decision: Decision, digest: str, asset_version: int, comment: str | None, by: str) -> None:
        self.status, self.decision, self.decided_by, self.comment = "resolved", decision, by, comment
        self.digest, self.asset_version = digest, asset_version

    @event(Expired)
    def _expired(self) -> None:
        self.status = "expired"

    @event(Withdrawn)
    def _withdrawn(self) -> None:
        self.status = "withdrawn"
