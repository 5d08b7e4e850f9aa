"""What the delivery ledger tells of an event: where it went, who has taken it, what it set off. No I/O."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

from domain.log import StoredEvent

RelayStatus = Literal["relayed", "private", "off", "waiting", "unknown"]
ViewStatus = Literal["applied", "waiting", "parked", "not_read", "not_built"]
ReactionStatus = Literal["answered", "waiting", "parked"]
Outcome = Literal["done", "nothing_to_do", "refused", "waiting"]


@dataclass(frozen=True, slots=True)
class Run:
    """Events with consecutive offsets on one partition."""

    partition: int
    offset: int
    """Of the first of them."""
    positions: Sequence[int]

    def offset_of(self, position: int) -> int | None:
        """Where one of them lies."""
        return self.offset + self.positions.index(position) if position in self.positions else None


@dataclass(frozen=True, slots=True)
class RelayedBatch:
    """One committed transaction of the relay, which came as far as `last`."""

    last: int
    topic: str
    relayed_at: datetime
    runs: Sequence[Run]

    @property
    def first(self) -> int:
        """The first position in it."""
        return min((run.positions[0] for run in self.runs), default=self.last)


@dataclass(frozen=True, slots=True)
class FoundBatch:
    """A batch that holds a position, and whether the relay has begun anew since and is not there yet again."""

    batch: RelayedBatch
    outdated: bool


@dataclass(frozen=True, slots=True)
class Effect:
    """An event that another one led to."""

    position: int
    type: str
    stream_id: UUID
    actor: str
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Effects:
    """Those among the next events of the same project whose cause is a command; looked for up to a position."""

    events: Sequence[Effect]
    searched_to: int


class Ledger(Protocol):
    """What was written down of deliveries, and what the log tells of a command's effects."""

    async def note(self, batches: Sequence[RelayedBatch]) -> None:
        """Keep these; the oldest go when there are too many."""
        ...

    async def batch_of(self, position: int) -> FoundBatch | None:
        """The last batch with this position; None when none was noted, or it was swept."""
        ...

    async def relayed_to(self) -> int | None:
        """How far the relay was when it last wrote anything down; None when it never has."""
        ...

    async def outcomes(self, command_ids: Collection[UUID]) -> Mapping[UUID, tuple[int, int] | None]:
        """The first and last position of each of these that was carried out; None for one that needed no event."""
        ...

    async def reactions_on(self, partition: int) -> Mapping[str, int]:
        """How far reactions that follow Kafka are on a partition; empty where they follow the log itself."""
        ...

    async def effects(self, of: StoredEvent) -> Effects:
        """Events that the command behind this one has caused."""
        ...


class Finder(Protocol):
    """Looks into the broker for what nobody wrote down."""

    async def offset_of(self, topic: str, partition: int, position: int, *, timestamp_ms: int) -> int | None:
        """Where the event with this position lies on the partition; None when it is not there."""
        ...


@dataclass(frozen=True, slots=True)
class RelayTrace:
    """How far an event is on its way to Kafka."""

    status: RelayStatus
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    at: datetime | None = None
    """None where the place was looked up in Kafka: only the ledger knows when."""
    reached: int | None = None
    """How far the relay is, as far as it has said."""
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ViewTrace:
    """How far an event is on its way into one read model."""

    name: str
    version: int
    status: ViewStatus
    at: datetime | None = None
    exact: bool = False
    """False: it was applied then or earlier, for rows of the ledger about it are gone."""
    position: int | None = None
    """Where the read model stands; for one that parked the event's key, where the key waits."""
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class AskedCommand:
    """A command that a reaction asks for because of the event, and what became of it."""

    command: str
    command_id: UUID
    outcome: Outcome
    events: Sequence[Effect] = ()


@dataclass(frozen=True, slots=True)
class ReactionTrace:
    """What one reaction made of an event."""

    name: str
    status: ReactionStatus
    position: int
    """Where the reaction stands."""
    reason: str | None = None
    commands: Sequence[AskedCommand] = ()


@dataclass(frozen=True, slots=True)
class Trace:
    """All that is known of an event's way but for the feeds of this process."""

    head: int
    relay: RelayTrace
    views: Sequence[ViewTrace]
    reactions: Sequence[ReactionTrace]
    effects: Effects


class Tracer(Protocol):
    """Whoever can tell."""

    async def trace(self, stored: StoredEvent) -> Trace:
        """The way of this event, as far as it has come."""
        ...
