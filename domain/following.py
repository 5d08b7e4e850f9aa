"""What the followers of the log ask of the outside: cursors, leadership, leases, the queue of jobs. No I/O."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class ParkedReaction:
    """An event that a reaction could not answer, because of a bug; its key waits no longer, the event does."""

    reaction: str
    key: UUID
    position: int
    reason: str
    parked_at: datetime


class Cursors(Protocol):
    """How far each reaction has answered the log."""

    async def load(self, reactions: Collection[str]) -> Mapping[str, int]:
        """Positions of those that have one."""
        ...

    async def advance(self, positions: Mapping[str, int]) -> None:
        """Every matching event up to these positions is answered or parked."""
        ...

    async def park(self, reaction: str, key: UUID, position: int, reason: str) -> None:
        """Set an event aside that a reaction failed on."""
        ...

    async def parked(self) -> Sequence[ParkedReaction]:
        """All that is set aside, oldest first."""
        ...

    async def unpark(self, reaction: str, position: int) -> None:
        """It was answered after all."""
        ...


class Leadership(Protocol):
    """One process at a time does a kind of work. It saves work; what keeps it correct are command ids and fences."""

    def leading(self, what: str) -> AbstractAsyncContextManager[None]:
        """Wait until this process leads, and lead until the block ends. Unavailable when the server goes away."""
        ...

    async def check(self, what: str) -> None:
        """Unavailable when this process no longer leads."""
        ...


NOBODY = UUID(int=0)
"""The share of jobs that have neither a project nor a key."""


@dataclass(frozen=True, slots=True)
class ReadyJob:
    """A job whose turn it is, with what its call takes."""

    job_id: UUID
    share: UUID = NOBODY
    """Whose turn it counts as: the project's; without one that of the key that asked."""
    weight: int = 1
    priority: int = 5
    occupies: tuple[str, ...] = ()
    """What it takes a slot of: its provider, its model, its project, its key."""
    limits: Mapping[str, int] = field(default_factory=dict[str, int])
    """How many slots there are of those that are limited."""


class Leases(Protocol):
    """Which worker holds which job and its slots, judged by the database's clock.

    Each grant has a fence, larger than every one before it. Whoever was silent for too long has lost its grant for
    good: it can neither renew nor give back what somebody else, or another part of itself, was granted since.
    """

    async def claim(self, jobs: Sequence[ReadyJob], holder: str, stale_after: float) -> Mapping[UUID, int]:
        """The jobs that the holder now has, with their fences; in the given order, as far as the slots go.

        They were free, or not renewed for `stale_after` seconds, and there was a slot of everything that is limited.
        """
        ...

    async def renew(self, grants: Mapping[UUID, int], stale_after: float) -> set[UUID]:
        """The holder lives and works on these; answers those that are still its own. A stale lease stays lost."""
        ...

    async def release(self, grants: Mapping[UUID, int]) -> None:
        """The holder is done with these."""
        ...

    async def sweep(self, stale_for: float) -> None:
        """Forget what was not renewed for so many seconds: its holder is dead, and its resource is settled."""
        ...


@dataclass(frozen=True, slots=True)
class LostJob:
    """A running job whose worker has fallen silent."""

    job_id: UUID
    attempt: int


class JobQueue(Protocol):
    """LLM jobs as the read model tells them; a little late, never the judge."""

    async def ready(self, limit: int, *, skipping: Collection[UUID] = ()) -> Sequence[ReadyJob]:
        """Jobs of running projects, or of none, that may start now, nobody holds and slots are free for; in turn."""
        ...

    async def seconds_to_next(self) -> float | None:
        """How long until the next job may start that was queued for later; None when there is none."""
        ...

    async def lost(self, stale_after: float) -> Sequence[LostJob]:
        """Running jobs without a lease that was renewed in the last `stale_after` seconds."""
        ...


@dataclass(frozen=True, slots=True)
class Due:
    """Something that was to happen by now."""

    kind: str
    stream_id: UUID
    key: UUID
    position: int
    due_at: datetime


class DueTable(Protocol):
    """Deadlines as the read model tells them."""

    async def due(self, limit: int, *, skipping: Collection[int] = ()) -> Sequence[Due]:
        """What is due by the database's clock, the longest overdue first, but for what was set at these positions."""
        ...

    async def seconds_to_next(self) -> float | None:
        """How long until the next one that is still to come; None when there is none."""
        ...
