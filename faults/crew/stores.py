"""The real store, and stores that are wrong on purpose: a check that they pass proves nothing."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import astuple, replace
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.rows import args_row
from psycopg_pool import AsyncConnectionPool

from adapters.postgres.connections import connect
from adapters.postgres.event_store import PostgresStore
from adapters.postgres.log import COLUMNS
from commands.ports import Batch, CommandRow, ConnectionLost, KnownCommand, Opened
from domain.log import StoredEvent

BLOCK: Final = 2048
"""Positions that one batch takes from the sequence at once: more than a batch can need."""
_NEWER: Final = "select " + COLUMNS + " from events where stream_id = %s and version > %s order by version limit %s"
_KNOWN: Final = "select command_id, request_digest, first, last from commands where command_id = any(%s)"
_VERSIONS: Final = "select stream_id, version from events where position between %s and %s order by position"
_CLOCK: Final = "select clock_timestamp(), nextval('plain_positions')"
_APPEND: Final = (
    "insert into events (position, stream_id, version, type, schema_version, project_id, data, actor, command_id,"
    " correlation_id, causation_id, trace_id, recorded_at)"
    " values (%s, %s, %s, %s, %s, %s, convert_from(%b, 'UTF8')::json, %s, %s, %s, %s, %s, %s)"
)
_REMEMBER: Final = "insert into commands (command_id, request_digest, first, last) values (%s, %b, %s, %s)"


class PlainSequenceStore(PostgresStore):
    """Positions from a sequence and no lock, as most event tables have it: a later number may commit first."""

    def __init__(self, conninfo: str, pool: AsyncConnectionPool[Any]) -> None:
        super().__init__(conninfo, pool)
        self._plain: psycopg.AsyncConnection[Any] | None = None

    @asynccontextmanager
    async def batch(self) -> AsyncIterator[Batch]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """A transaction that waits for nobody."""
        if self._plain is None:
            self._plain = await connect(self._conninfo, application="toybox plain sequencer")
        try:
            async with self._plain.transaction():
                yield PlainSequenceBatch(self._plain)
        except psycopg.errors.UniqueViolation as stale:
            raise ConnectionLost("decided on what somebody else has changed") from stale

    async def close(self) -> None:
        """Give the connections back."""
        await super().close()
        if self._plain is not None:
            await self._plain.close()


class PlainSequenceBatch:
    """Optimistic: what was decided on stale state the unique constraints refuse, and it is decided again."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection

    async def open(self, command_ids: Sequence[UUID], after: Mapping[UUID, int], *, most: int) -> Opened:
        """Everything but the lock; the head is the place before a block of the sequence."""
        [(now, position)] = await (await self._connection.execute(_CLOCK)).fetchall()
        rows = await (await self._connection.execute(_KNOWN, [list(command_ids)])).fetchall()
        known = {
            command_id: KnownCommand(digest, first, last, await self._versions(first, last))
            for command_id, digest, first, last in rows
        }
        return Opened(now, position - BLOCK, known, await self.load(after, most=most), 0.0)

    async def _versions(self, first: int, last: int) -> dict[UUID, int]:
        return dict(await (await self._connection.execute(_VERSIONS, [first, last])).fetchall())

    async def load(self, after: Mapping[UUID, int], *, most: int) -> Sequence[StoredEvent]:
        """What is newer in these streams."""
        found: list[StoredEvent] = []
        async with self._connection.cursor(binary=True, row_factory=args_row(StoredEvent)) as cursor:
            for stream, version in after.items():
                found += await (await cursor.execute(_NEWER, [stream, version, most])).fetchall()
        return found

    async def commit(self, events: Sequence[StoredEvent], commands: Sequence[CommandRow]) -> None:
        """Append; the transaction around it commits."""
        async with self._connection.cursor() as cursor:
            await cursor.executemany(_APPEND, [astuple(each) for each in events])
            await cursor.executemany(_REMEMBER, [astuple(each) for each in commands])


async def make_plain_sequence(conninfo: str) -> None:
    """What the plain store needs in the database."""
    make = f"create sequence plain_positions increment by {BLOCK} start with {2 * BLOCK}"
    async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
        await connection.execute(make.encode())


class ForgetfulStore(PostgresStore):
    """Keeps no command ids: what was committed without an answer happens again."""

    @asynccontextmanager
    async def batch(self) -> AsyncIterator[Batch]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The real transaction, minus the memory."""
        async with super().batch() as real:
            yield ForgetfulBatch(real)


class ForgetfulBatch:
    """Knows no command and remembers none."""

    def __init__(self, real: Batch) -> None:
        self._real = real

    async def open(self, command_ids: Sequence[UUID], after: Mapping[UUID, int], *, most: int) -> Opened:
        """Every command is new to it."""
        return replace(await self._real.open(command_ids, after, most=most), known={})

    async def load(self, after: Mapping[UUID, int], *, most: int) -> Sequence[StoredEvent]:
        """The real thing."""
        return await self._real.load(after, most=most)

    async def commit(self, events: Sequence[StoredEvent], commands: Sequence[CommandRow]) -> None:  # noqa: ARG002 -- forgotten
        """Append, and forget who asked."""
        await self._real.commit(events, [])


STORES: dict[str, Callable[[str, AsyncConnectionPool[Any]], PostgresStore]] = {
    "postgres": PostgresStore,
    "plain-sequence": PlainSequenceStore,
    "forgetful": ForgetfulStore,
}
