"""What is asked of the places where secrets lie that toybox must know: sealed, and beside the log. No I/O."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from pydantic import SecretStr


@dataclass(frozen=True, slots=True)
class KeptSecret:
    """A secret that lies there, and since when; whether it is of any use is for the log to say."""

    secret_id: UUID
    key_id: UUID
    kept_at: datetime


class Secrets(Protocol):
    """Secrets of one kind. A secret is kept before the event that speaks of it, so no event is without one."""

    async def keep(self, secret_id: UUID, key_id: UUID, secret: SecretStr) -> datetime:
        """Seal it durably; answers when. Kept again under the same id, it stays what it was and is young once more."""
        ...

    async def reveal(self, kept: Collection[UUID]) -> dict[UUID, SecretStr | str]:
        """The secrets; where one cannot be opened, a sentence that says why and what to do."""
        ...

    async def kept(self) -> Sequence[KeptSecret]:
        """All that lies there."""
        ...

    async def destroy(self, secrets: Collection[UUID], *, unless_kept_within: float = 0.0) -> int:
        """Erase them, but for those that were kept in the last so many seconds; how many went."""
        ...


class ProviderSecrets(Secrets, Protocol):
    """Secrets of provider keys."""

    async def keys_of(self, provider: str) -> Sequence[UUID]:
        """Every key that the log has ever known of this provider, in the order in which they were stored."""
        ...
