"""The port to content: bytes under the sha256 of their plaintext, sealed with the key of a project or a stream."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What was stored: the sha256 of its plaintext, in hex, and how many bytes that has."""

    digest: str
    size: int


class Objects(Protocol):
    """Large content beside the log. `subject` is whose key seals it: destroying that key erases the content.

    What was never stored is NotFound; what was erased is NotFound with code `erased`.
    """

    async def put(self, subject: UUID, data: bytes | AsyncIterator[bytes], *, makes_key: bool = False) -> StoredObject:
        """Store it durably; storing the same again changes nothing. Unavailable when the disk is full or away.

        Without a key it is NotFound, unless the subject is about to be created: then `makes_key` makes its key.
        """
        ...

    async def open(self, subject: UUID, digest: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to, not including, `end`, piece by piece; errors that can be told come first."""
        ...

    async def read(self, subject: UUID, digest: str) -> bytes:
        """The whole content, its digest checked."""
        ...

    async def exists(self, subject: UUID, digest: str) -> bool:
        """Whether it is here and can be read."""
        ...

    async def size(self, subject: UUID, digest: str) -> int:
        """How many bytes the content has."""
        ...
