"""What the relay asks of a message broker: topics, transactions, the last value of a key. No I/O."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from domain.errors import Unavailable


class BrokerAway(Unavailable):
    """The broker does not answer, or not as it should; nothing is known to be lost. Begin anew."""

    code = "broker_away"


class OutcomeUnknown(BrokerAway):
    """A transaction may have been committed or not: only what the broker holds can tell."""

    code = "broker_outcome_unknown"


class Fenced(BrokerAway):
    """Another producer with the same transactional id has taken over."""

    code = "relay_fenced"


class Record(NamedTuple):
    """One message as it goes out, its partition already chosen."""

    topic: str
    partition: int
    key: bytes
    value: bytes | None
    """None is a tombstone: it removes the key from a compacted topic."""
    headers: list[tuple[str, bytes]]
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """A topic as it is on the broker, or as it is to be made."""

    name: str
    partitions: int
    replication: int
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    id: str = ""
    """Given by the broker: a topic that was deleted and made again has another."""


class TopicAdmin(Protocol):
    """Topics of a broker."""

    async def describe(self, names: Collection[str]) -> Mapping[str, TopicFacts]:
        """Those of the topics that exist, with all of their settings."""
        ...

    async def create(self, topics: Sequence[TopicFacts]) -> None:
        """Make these; one that exists by now is left as it is."""
        ...


class Outlet(TopicAdmin, Protocol):
    """The way out: transactions of one producer at a time, and what they left behind."""

    async def open(self) -> None:
        """A new producer. When this returns, all transactions of earlier ones are committed or aborted for good."""
        ...

    async def last(self, topic: str, key: bytes) -> bytes | None:
        """The last committed value of a key in a topic with one partition."""
        ...

    async def holds_records(self, topic: str) -> bool:
        """Whether anything was ever written to the topic and not deleted since."""
        ...

    async def send(self, records: Sequence[Record]) -> Sequence[int]:
        """All of them in one transaction; answers their offsets once it is proven to be committed.

        Any error means that nothing is proven: discard the producer, open a new one, look at what the broker holds.
        """
        ...

    async def discard(self) -> None:
        """Give the producer up; never fails, never waits long."""
        ...
