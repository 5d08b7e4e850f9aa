"""Secrets in Postgres, each in an envelope, a table for each kind; what the log does not call live is swept away."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from psycopg_pool import AsyncConnectionPool
from pydantic import SecretStr

from adapters.postgres.connections import unavailable_when_away
from adapters.security.envelopes import Envelope, KeyEncryptionKey, Kind, opened
from domain.keeping import KeptSecret


class PostgresEnvelopes:
    """Rows beside the log. What was erased stays in old backups and, until vacuum has passed, on disk.

    It is worth nothing there without the master key, which belongs in another backup than the database.
    """

    def __init__(self, pool: AsyncConnectionPool[Any], master: bytes, kind: Kind) -> None:
        self._pool = pool
        self._kek = KeyEncryptionKey(master, kind)
        self._gone = kind.gone
        # Kept again, it is young again: the sweep, which judges by age in the same statement that deletes, leaves it.
        self._keep: LiteralString = (
            "insert into " + kind.table + " (secret_id, key_id, kek, wrapped, sealed) values (%s, %s, %s, %s, %s)"
            " on conflict (secret_id) do update set kept_at = clock_timestamp() returning kept_at"
        )
        self._reveal: LiteralString = (
            "select secret_id, key_id, kek, wrapped, sealed from " + kind.table + " where secret_id = any(%s)"
        )
        self._kept: LiteralString = "select secret_id, key_id, kept_at from " + kind.table + " order by kept_at"
        self._destroy: LiteralString = (
            "delete from " + kind.table + " where secret_id = any(%s)"
            " and kept_at <= clock_timestamp() - make_interval(secs => %s)"
        )

    async def keep(self, secret_id: UUID, key_id: UUID, secret: SecretStr) -> datetime:
        """Durable before anything speaks of it."""
        made = self._kek.seal(secret, secret_id, key_id)
        rows = await self._all(self._keep, [secret_id, key_id, made.kek, made.wrapped, made.sealed])
        return rows[0][0]

    async def reveal(self, kept: Collection[UUID]) -> dict[UUID, SecretStr | str]:
        """In one round trip."""
        found: dict[UUID, SecretStr | str] = dict.fromkeys(kept, self._gone)
        for secret_id, key_id, kek, wrapped, sealed in await self._all(self._reveal, [list(kept)]):
            found[secret_id] = opened(self._kek, Envelope(kek, wrapped, sealed), secret_id, key_id)
        return found

    async def kept(self) -> Sequence[KeptSecret]:
        """Every row."""
        return [KeptSecret(*row) for row in await self._all(self._kept, [])]

    async def destroy(self, secrets: Collection[UUID], *, unless_kept_within: float = 0.0) -> int:
        """By the database's clock."""
        with unavailable_when_away():
            async with self._pool.connection() as connection:
                return (await connection.execute(self._destroy, [list(secrets), unless_kept_within])).rowcount

    async def _all(self, query: LiteralString, wanted: Sequence[object]) -> list[tuple[Any, ...]]:
        with unavailable_when_away():
            async with self._pool.connection() as connection:
                return await (await connection.cursor(binary=True).execute(query, wanted)).fetchall()
