"""What webhooks ask of the outside: posting to an address, and a memory of what was delivered where. No I/O."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

SAID = 200
"""Characters of a receiver's answer that are kept."""
Outcome = Literal["delivered", "failed", "dead"]


@dataclass(frozen=True, slots=True)
class Posted:
    """What became of one request."""

    status: int | None
    """None where there was no answer."""
    problem: str | None
    """Why it does not count as delivered, with what would help; None where it does."""
    said: str = ""
    """How the answer began, in printable characters."""
    retry_after: float | None = None
    """Seconds that the receiver asked to be left alone."""
    milliseconds: int = 0


class Poster(Protocol):
    """Requests to addresses that somebody gave us; none of them may lead into our own network."""

    async def check(self, url: str) -> None:
        """Refused, with what would help, where nothing may be posted to this address."""
        ...

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Posted:
        """One request, no redirects; whatever goes wrong is in the answer."""
        ...


@dataclass(frozen=True, slots=True)
class Requeued:
    """Somebody asked for dead letters to be tried again: those that died before then, one of them or all."""

    told_at: int
    position: int | None
    before: datetime


@dataclass(frozen=True, slots=True)
class Beginning:
    """What the log says of where a webhook's deliveries begin; each thing with the position that says so."""

    told_at: int
    """The last position of the log that says anything of this webhook: the fence of whoever acts upon it."""
    after: int
    """Deliver what lies behind this position ..."""
    after_told_at: int
    """... unless that is done already: a later place is known, and nobody has asked for this since."""
    fresh_told_at: int
    """Since then the receiver is another one, or said to be well: earlier failures no longer count."""
    requeued: tuple[Requeued, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """How far a webhook is."""

    position: int
    attempts: int
    """Tries of the next delivery that failed."""
    wait_seconds: float
    """Until its next try."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of one delivery."""

    position: int
    event_id: str
    type: str
    number: int
    posted: Posted


@dataclass(frozen=True, slots=True)
class PastAttempt:
    """One try of one delivery, as it is remembered."""

    id: int
    position: int
    event_id: str
    type: str
    number: int
    outcome: Outcome
    status: int | None
    problem: str | None
    said: str
    milliseconds: int
    at: datetime


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A delivery that was given up."""

    position: int
    event_id: str
    type: str
    attempts: int
    status: int | None
    problem: str
    said: str
    died_at: datetime
    requeued_at: datetime | None


@dataclass(frozen=True, slots=True)
class DeliveryStanding:
    """How a webhook's deliveries go."""

    position: int
    delivered: int
    dead_letters: int
    attempts: int
    next_try_at: datetime | None
    failing_since: datetime | None
    last_delivered_at: datetime | None
    last_problem: str | None


@dataclass(slots=True)
class Tally:
    """What one process has posted since its start, and what it has not got rid of yet."""

    tries: dict[Outcome, int] = field(default_factory=lambda: {"delivered": 0, "failed": 0, "dead": 0})
    due: dict[UUID, datetime] = field(default_factory=dict[UUID, datetime])
    """Webhooks for which an event is on its way or waits for its next try, and when that event was recorded."""


class Deliveries(Protocol):
    """What was delivered where. Whoever writes names the fence that it began with; one that is stale moves nothing."""

    async def webhooks(self) -> Sequence[UUID]:
        """Every webhook that the log has ever known."""
        ...

    async def begin(self, webhook_id: UUID, beginning: Beginning) -> Place:
        """Take up a webhook, with what the log has said since somebody last did."""
        ...

    async def delivered(self, webhook_id: UUID, fence: int, attempt: Attempt) -> None:
        """It has arrived: go on behind it."""
        ...

    async def failed(self, webhook_id: UUID, fence: int, attempt: Attempt, wait_seconds: float) -> float:
        """It has not; answers for how many seconds nothing has arrived by now."""
        ...

    async def died(self, webhook_id: UUID, fence: int, attempt: Attempt) -> float:
        """It is given up: keep it as a dead letter, and go on behind it. Answers as `failed` does."""
        ...

    async def passed(self, places: Mapping[UUID, tuple[int, int]]) -> None:
        """Nothing was to be delivered up to here: fence and position by webhook."""
        ...

    async def requeued(self, webhook_id: UUID) -> Sequence[int]:
        """Positions of dead letters that are to be tried once more, the oldest first."""
        ...

    async def prune(self, webhook_id: UUID, keep: int) -> None:
        """Forget all but the last so many attempts."""
        ...

    async def forget(self, webhook_id: UUID) -> None:
        """Nobody wants to know any more."""
        ...

    async def standings(self, webhooks: Collection[UUID] | None = None) -> Mapping[UUID, DeliveryStanding]:
        """Of those that have begun."""
        ...

    async def attempts(self, webhook_id: UUID, *, before: int | None, limit: int) -> Sequence[PastAttempt]:
        """The newest first; `before` is the id of the last one seen."""
        ...

    async def dead_letters(self, webhook_id: UUID, *, after: int, limit: int) -> Sequence[DeadLetter]:
        """In order of position."""
        ...
