"""The event log in Postgres as the sequencer writes it: one advisory lock, two round trips per batch."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final
from uuid import UUID

import orjson
import psycopg
from psycopg import AsyncConnection, AsyncCursor, AsyncPipeline
from psycopg.rows import args_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from adapters.postgres.connections import connect
from adapters.postgres.log import CHANNEL, COLUMNS, PostgresLog
from commands.ports import CommandRow, ConnectionLost, KnownCommand, Opened, Snapshot
from domain.log import StoredEvent

# hashtextextended of the schema's name, so that two installations in one database do not wait for each other.
_LOCK: Final = "select pg_advisory_xact_lock(hashtextextended('toybox.events.' || current_schema(), 0))"
_HEAD: Final = (
    "select greatest(clock_timestamp(), last.recorded_at), coalesce(last.position, 0),"
    " extract(epoch from clock_timestamp() - now())::float8"
    " from (select) as one left join lateral"
    " (select position, recorded_at from events order by position desc limit 1) as last on true"
)
_KNOWN: Final = "select command_id, request_digest, first, last from commands where command_id = any(%s::text::uuid[])"
_VERSIONS: Final = (
    "select stream_id, max(version) from events where position between %s and %s"
    " group by stream_id order by min(position)"
)
# The lateral join keeps one index scan per stream, whatever the planner believes of the array.
_NEWER: Final = (
    "select " + COLUMNS + " from unnest(%s::text::uuid[], %s::text::int[]) as wanted(id, after) cross join lateral"
    " (select * from events where stream_id = wanted.id and version > wanted.after offset 0) as found"
    " order by position"
)
# One JSON document for the whole batch: psycopg writes an array element by element in Python, orjson does not.
_APPEND: Final = (
    "insert into events (position, stream_id, version, type, schema_version, project_id, data, actor, command_id,"
    " correlation_id, causation_id, trace_id, recorded_at)"
    " select position, stream_id, version, type, schema_version, project_id, data::json, actor, command_id,"
    " correlation_id, causation_id, trace_id, recorded_at from json_to_recordset(%b::text::json) as new ("
    "position bigint, stream_id uuid, version int, type text, schema_version int, project_id uuid, data text,"
    " actor text, command_id uuid, correlation_id uuid, causation_id uuid, trace_id text, recorded_at timestamptz)"
)
_REMEMBER: Final = (
    "insert into commands (command_id, request_digest, first, last)"
    " select command_id, decode(digest, 'hex'), first, last from json_to_recordset(%b::text::json)"
    " as new (command_id uuid, digest text, first bigint, last bigint)"
)
_SNAPSHOTS: Final = "select stream_id, version, aggregate, fold, body from snapshots where stream_id = any(%s)"
_SAVE: Final = (
    "insert into snapshots (stream_id, version, aggregate, fold, body) values (%s, %s, %s, %s, %s)"
    " on conflict (stream_id) do update set version = excluded.version, aggregate = excluded.aggregate,"
    " fold = excluded.fold, body = excluded.body"
    " where (snapshots.fold, snapshots.version) < (excluded.fold, excluded.version)"
)


@contextmanager
def _lost_when_away() -> Iterator[None]:
    """Whatever says that the server or the connection is gone becomes one error: ask again."""
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, OSError) as error:
        raise ConnectionLost(str(error).strip().partition("\n")[0]) from error


class Writer:
    """The sequencer's connection, in pipeline mode for its whole life.

    psycopg ends a pipeline with Sync and then Flush, and a Flush that arrives after ReadyForQuery switches the
    server's idle-in-transaction timer off: the lock of a stalled holder would never be freed. Here every round trip
    ends with Sync alone.
    """

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        self.connection = connection
        self._pipeline_context = connection.pipeline()
        self._pipeline: AsyncPipeline | None = None

    @classmethod
    async def connect(cls, conninfo: str) -> "Writer":
        """A new connection, ready for batches."""
        writer = cls(await connect(conninfo, application="toybox sequencer"))
        writer._pipeline = await writer._pipeline_context.__aenter__()
        return writer

    @property
    def closed(self) -> bool:
        """Whether the connection is known to be gone."""
        return self.connection.closed

    async def round_trip(self) -> None:
        """Send what was queued and wait for all of its results."""
        if self._pipeline is None:
            msg = "use Writer.connect"
            raise TypeError(msg)
        await self._pipeline.sync()

    async def rollback(self) -> None:
        """End the transaction without a trace."""
        await self.connection.execute("rollback")
        await self.round_trip()

    async def close(self) -> None:
        """Give the connection up, in whatever state it is."""
        with suppress(psycopg.Error, OSError):
            await self.connection.close()
        with suppress(psycopg.Error, OSError):
            await self._pipeline_context.__aexit__(None, None, None)


class PostgresStore(PostgresLog):
    """One writing connection for the sequencer, one for announcements, a pool for readers."""

    def __init__(self, conninfo: str, pool: AsyncConnectionPool[Any]) -> None:
        super().__init__(conninfo, pool)
        self._writer: Writer | None = None
        self._announcer: AsyncConnection[Any] | None = None
        self._announced = 0
        self._announcing = asyncio.Lock()

    @asynccontextmanager
    async def batch(self) -> AsyncIterator["PostgresBatch"]:
        """A transaction on the writing connection. Leaving it early rolls back; a lost connection is replaced."""
        with _lost_when_away():
            if self._writer is None or self._writer.closed:
                self._writer = await Writer.connect(self._conninfo)
        transaction = PostgresBatch(self._writer)
        try:
            yield transaction
        except ConnectionLost:
            await self._discard_writer()
            raise
        finally:
            if not transaction.ended and self._writer is not None:
                try:
                    with _lost_when_away():
                        await self._writer.rollback()
                except ConnectionLost:
                    await self._discard_writer()

    async def _discard_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.close()

    async def snapshots(self, stream_ids: Sequence[UUID]) -> Sequence[Snapshot]:
        """The snapshots held of these streams."""
        with _lost_when_away():
            async with (
                self._pool.connection() as connection,
                connection.cursor(binary=True, row_factory=args_row(Snapshot)) as cursor,
            ):
                return await (await cursor.execute(_SNAPSHOTS, [list(stream_ids)])).fetchall()

    async def save_snapshots(self, snapshots: Sequence[Snapshot]) -> None:
        """Keep the newest of each stream."""
        rows = [(each.stream_id, each.version, each.aggregate, each.fold, each.body) for each in snapshots]
        with _lost_when_away():
            async with self._pool.connection() as connection, connection.cursor() as cursor:
                await cursor.executemany(_SAVE, rows)

    async def announce(self, head: int) -> None:
        """Wake readers here at once and elsewhere by NOTIFY; announcements that queue up are sent as one."""
        self._head.advance(head)
        async with self._announcing:
            head = self._head.position
            if head <= self._announced:
                return
            with _lost_when_away():
                if self._announcer is None or self._announcer.closed:
                    self._announcer = await connect(self._conninfo, application="toybox announcer")
                await self._announcer.execute("select pg_notify(%s, %s)", [CHANNEL, str(head)])
            self._announced = head

    async def close(self) -> None:
        """Give the connections back."""
        await super().close()
        await self._discard_writer()
        if self._announcer is not None:
            with suppress(psycopg.Error, OSError):
                await self._announcer.close()


class PostgresBatch:
    """One transaction over the log.

    Everything is read in statements after the lock's: READ COMMITTED gives each a new snapshot, so it sees what the
    lock waited for.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.ended = False

    def _queue_newer(self, after: Mapping[UUID, int]) -> Awaitable[AsyncCursor[StoredEvent]]:
        cursor = self._writer.connection.cursor(binary=True, row_factory=args_row(StoredEvent))
        return cursor.execute(_NEWER, [_uuids(after), _array(map(str, after.values()))])

    async def open(self, command_ids: Sequence[UUID], after: Mapping[UUID, int]) -> Opened:
        """One round trip: begin, lock, then the clock and head, the known commands, the newer events."""
        connection = self._writer.connection
        with _lost_when_away():
            await connection.execute("begin")
            await connection.execute(_LOCK)
            heads = await connection.cursor(binary=True).execute(_HEAD)
            known = await connection.cursor(binary=True).execute(_KNOWN, [_uuids(command_ids)])
            newer = await self._queue_newer(after)
            await self._writer.round_trip()
            now, head, lock_seconds = _one(await heads.fetchone())
            rows = await known.fetchall()
            return Opened(now, head, await self._answers(rows), await newer.fetchall(), lock_seconds)

    async def _answers(self, rows: Sequence[tuple[Any, ...]]) -> dict[UUID, KnownCommand]:
        asked = [
            (row, await self._writer.connection.cursor(binary=True).execute(_VERSIONS, [row[2], row[3]]))
            for row in rows
        ]
        if asked:
            await self._writer.round_trip()
        return {
            command_id: KnownCommand(digest, first, last, dict(await versions.fetchall()))
            for (command_id, digest, first, last), versions in asked
        }

    async def load(self, after: Mapping[UUID, int]) -> Sequence[StoredEvent]:
        """Events of more streams, under the same lock."""
        with _lost_when_away():
            newer = await self._queue_newer(after)
            await self._writer.round_trip()
            return await newer.fetchall()

    async def commit(self, events: Sequence[StoredEvent], commands: Sequence[CommandRow]) -> None:
        """One round trip: insert, remember the command ids, commit."""
        connection = self._writer.connection
        with _lost_when_away():
            if events:
                await connection.execute(_APPEND, [_json([_event_row(each) for each in events])])
            await connection.execute(_REMEMBER, [_json([_command_row(each) for each in commands])])
            await connection.execute("commit")
            await self._writer.round_trip()
        self.ended = True


def _event_row(stored: StoredEvent) -> dict[str, object]:
    return {
        "position": stored.position,
        "stream_id": stored.stream_id,
        "version": stored.version,
        "type": stored.type,
        "schema_version": stored.schema_version,
        "project_id": stored.project_id,
        "data": stored.data.decode(),
        "actor": stored.actor,
        "command_id": stored.command_id,
        "correlation_id": stored.correlation_id,
        "causation_id": stored.causation_id,
        "trace_id": stored.trace_id,
        "recorded_at": stored.recorded_at,
    }


def _command_row(row: CommandRow) -> dict[str, object]:
    return {"command_id": row.command_id, "digest": row.digest.hex(), "first": row.first, "last": row.last}


def _json(rows: list[dict[str, object]]) -> str:
    return orjson.dumps(rows).decode()


def _array(elements: Iterable[str]) -> str:
    return "{" + ",".join(elements) + "}"


def _uuids(ids: Iterable[UUID]) -> str:
    return _array(each.hex for each in ids)


def _one(row: tuple[Any, ...] | None) -> tuple[Any, ...]:
    if row is None:
        msg = "the log's head query answered nothing"
        raise ConnectionLost(msg)
    return row
