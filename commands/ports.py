"""What the write side asks of the outside: an event store to append to and a keyring to seal with."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from domain.log import LogReader, StoredEvent


class ConnectionLost(Exception):
    """The store went away in the middle of a batch: whether it was committed is unknown until it is asked again."""


@dataclass(frozen=True, slots=True)
class KnownCommand:
    """What a command id did when it was first seen. `first` and `last` are None when it needed no event."""

    digest: bytes
    first: int | None
    last: int | None
    versions: Mapping[UUID, int]


@dataclass(frozen=True, slots=True)
class CommandRow:
    """A command that takes effect with this batch."""

    command_id: UUID
    digest: bytes
    first: int | None
    last: int | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An aggregate's state at a version: a cache, never the truth."""

    stream_id: UUID
    version: int
    aggregate: str
    fold: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Opened:
    """What is true under the lock: nothing can change it before the batch ends."""

    now: datetime
    head: int
    known: Mapping[UUID, KnownCommand]
    events: Sequence[StoredEvent]
    lock_seconds: float


class Batch(Protocol):
    """One transaction over the log, holding its lock."""

    async def open(self, command_ids: Sequence[UUID], after: Mapping[UUID, int], *, most: int) -> Opened:
        """Take the lock; then read the clock, the head, the known commands and the events newer than `after`.

        At most `most` events of each stream: whoever gets that many is too far behind to decide.
        """
        ...

    async def load(self, after: Mapping[UUID, int], *, most: int) -> Sequence[StoredEvent]:
        """Events of more streams, under the same lock; at most `most` of each."""
        ...

    async def commit(self, events: Sequence[StoredEvent], commands: Sequence[CommandRow]) -> None:
        """Append and make durable. Raises ConnectionLost when the answer did not arrive."""
        ...


class EventStore(LogReader, Protocol):
    """The event log as the sequencer writes it."""

    def batch(self) -> AbstractAsyncContextManager[Batch]:
        """Begin a batch; leaving it without a commit rolls it back."""
        ...

    async def snapshots(self, stream_ids: Sequence[UUID]) -> Sequence[Snapshot]:
        """The newest snapshots of these streams, where there are any."""
        ...

    async def save_snapshots(self, snapshots: Sequence[Snapshot]) -> None:
        """Keep these; older ones of the same streams may go."""
        ...

    async def announce(self, head: int) -> None:
        """Tell readers, here and in other processes, that the head has moved. May be lost: readers also poll."""
        ...


class Sealer(Protocol):
    """Seals under one subject's key: a project's, a stream's or a person's."""

    def seal(self, text: str) -> str:
        """The text as a `domain.values.Sealed`: another ciphertext at every call."""
        ...

    def fingerprint(self, data: bytes) -> bytes:
        """An HMAC that tells two plaintexts apart, and says nothing once the key is destroyed."""
        ...


class Keyring(Protocol):
    """Keys of subjects, each wrapped by the master key; destroying one erases what it sealed."""

    async def sealer(self, subject: UUID, *, create: bool) -> Sealer:
        """The subject's sealer. Without a key one is made, or NotFound; Refused once the key was destroyed."""
        ...

    async def unseal(self, texts: Sequence[str]) -> Sequence[str | None]:
        """Plain texts in the same order; None where the key was destroyed."""
        ...

    async def destroy(self, subject: UUID) -> bool:
        """Erase the subject's key for ever. False when there was none."""
        ...
