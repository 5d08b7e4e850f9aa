"""What whoever follows Kafka asks of a consumer, and it of them: chunks of records, and where to go on. No I/O."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Place(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


class Message(NamedTuple):
    """One record as it came."""

    offset: int
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive committed records of one partition."""

    place: Place
    records: Sequence[Message]


@dataclass(frozen=True, slots=True)
class PartitionRow:
    """How far one follower is on one partition."""

    partition: int
    topic: str
    position: int
    last: int | None
    next_offset: int


class Taker(Protocol):
    """Who keeps its own account of how far it is, and is given what comes after."""

    async def resume(self, places: Collection[Place]) -> Mapping[Place, int]:
        """The offsets to go on from, for partitions that were just assigned; too early does no harm, too late does."""
        ...

    async def take(self, chunks: Sequence[Chunk]) -> None:
        """Work on what came. An error ends the consumer: nothing after these chunks is handed out."""
        ...


class Consumption(Protocol):
    """A member of a consumer group."""

    async def run(self, taker: Taker) -> None:
        """Consume until cancelled. Raises BrokerAway, or what the taker raised."""
        ...

    async def send(self, topic: str, key: bytes | None, value: bytes, headers: Mapping[str, bytes]) -> None:
        """Write one record, for what could not be read. BrokerAway when it is not acknowledged."""
        ...

    async def offsets_at(self, topic: str, timestamp_ms: int) -> Mapping[int, int]:
        """By partition, an offset that no record of this time or later comes before."""
        ...
