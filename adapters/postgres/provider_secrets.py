"""Secrets of provider keys in Postgres, and which keys a provider has."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from adapters.postgres.envelopes import PostgresEnvelopes
from adapters.security.envelopes import PROVIDER_KEYS

_KEYS_OF: Final = (
    "select stream_id from events where type = 'provider_key.stored' and data ->> 'provider' = %s order by position"
)


class PostgresSecrets(PostgresEnvelopes):
    """Secrets of provider keys."""

    def __init__(self, pool: AsyncConnectionPool[Any], master: bytes) -> None:
        super().__init__(pool, master, PROVIDER_KEYS)

    async def keys_of(self, provider: str) -> Sequence[UUID]:
        """From the log, by an index of its own."""
        return [row[0] for row in await self._all(_KEYS_OF, [provider])]
