"""The event log in Postgres as the sequencer writes it: one advisory lock, two round trips per batch."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString
from uuid import UUID

import orjson
import psycopg
from psycopg import AsyncConnection, sql
from psycopg.rows import args_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from adapters.postgres.connections import connect
from adapters.postgres.log import CHANNEL, PostgresLog
from commands.ports import CommandRow, ConnectionLost, KnownCommand, Opened, Snapshot
from domain.log import EPOCH, StoredEvent

# Two statements in one message of the simple protocol: one round trip, no pipeline to keep in step. psycopg's pipeline
# ends with Sync and Flush, and a Flush that arrives after ReadyForQuery switches the server's idle-in-transaction
# timer off: the lock of a stalled holder would never be freed. No two of these texts are the same: `prepare=False`, or
# psycopg would remember them.
_OPEN: Final = "begin; select open_batch({command_ids}, {stream_ids}, {after}, {most})::text"
_LOAD: Final = "select newer_events({stream_ids}, {after}, {most})::text"
_COMMIT: Final = "select append_batch({events}, {commands}); commit"
_SNAPSHOTS: Final = "select stream_id, version, aggregate, fold, body from snapshots where stream_id = any(%s)"
_SAVE: Final = (
    "insert into snapshots (stream_id, version, aggregate, fold, body) values (%s, %s, %s, %s, %s)"
    " on conflict (stream_id) do update set version = excluded.version, aggregate = excluded.aggregate,"
    " fold = excluded.fold, body = excluded.body"
    " where (snapshots.fold, snapshots.version) < (excluded.fold, excluded.version)"
)


# A holder of the lock that stalled: over TCP the server's last words arrive, and psycopg files them elsewhere.
_CUT_OFF: Final = (psycopg.errors.IdleInTransactionSessionTimeout, psycopg.errors.TransactionTimeout)


@contextmanager
def _lost_when_away() -> Iterator[None]:
    """Whatever says that the server or the connection is gone becomes one error: ask again."""
    try:
        yield
    except (psycopg.OperationalError, *_CUT_OFF, psycopg.InterfaceError, PoolTimeout, OSError) as error:
        raise ConnectionLost(str(error).strip().partition("\n")[0]) from error


class PostgresStore(PostgresLog):
    """One writing connection for the sequencer, one for announcements, a pool for readers."""

    def __init__(self, conninfo: str, pool: AsyncConnectionPool[Any]) -> None:
        super().__init__(conninfo, pool)
        self._writer: AsyncConnection[Any] | None = None
        self._writing = asyncio.Lock()
        self._announcer: AsyncConnection[Any] | None = None
        self._announced = 0
        self._announcing = asyncio.Lock()

    @asynccontextmanager
    async def batch(self) -> AsyncIterator["PostgresBatch"]:
        """A transaction on the writing connection. Leaving it early rolls back; a lost connection is replaced."""
        async with self._writing:
            transaction = PostgresBatch(await self._connected())
            try:
                yield transaction
            except ConnectionLost:
                await self._discard_writer()
                raise
            finally:
                if not transaction.ended and self._writer is not None:
                    try:
                        with _lost_when_away():
                            await self._writer.execute("rollback")
                    except ConnectionLost:
                        await self._discard_writer()

    async def _connected(self) -> AsyncConnection[Any]:
        if self._writer is None or self._writer.closed:
            with _lost_when_away():
                self._writer = await connect(self._conninfo, application="toybox sequencer")
        return self._writer

    async def _discard_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            with suppress(psycopg.Error, OSError):
                await writer.close()

    async def snapshots(self, stream_ids: Sequence[UUID]) -> Sequence[Snapshot]:
        """The snapshots held of these streams; on the writing connection, so that no reader can hold a batch up."""
        async with self._writing:
            writer = await self._connected()
            try:
                with _lost_when_away():
                    cursor = writer.cursor(binary=True, row_factory=args_row(Snapshot))
                    return await (await cursor.execute(_SNAPSHOTS, [list(stream_ids)])).fetchall()
            except ConnectionLost:
                await self._discard_writer()
                raise

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
                await self._announcer.execute("select pg_notify(%s, %s)", [CHANNEL, self._own_mark])
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

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        self._connection = connection
        self.ended = False

    async def open(self, command_ids: Sequence[UUID], after: Mapping[UUID, int], *, most: int) -> Opened:
        """One round trip: begin, lock, then the clock and head, the known commands, the newer events."""
        found = await self._ask(_OPEN, command_ids=_uuids(command_ids), **_wanted(after, most))
        return Opened(
            now=_moment(found["now"]),
            head=found["head"],
            known=dict(map(_known, found["known"])),
            events=[_stored(row) for row in found["events"]],
            lock_seconds=found["lock_seconds"],
        )

    async def load(self, after: Mapping[UUID, int], *, most: int) -> Sequence[StoredEvent]:
        """Events of more streams, under the same lock."""
        return [_stored(row) for row in await self._ask(_LOAD, **_wanted(after, most))]

    async def commit(self, events: Sequence[StoredEvent], commands: Sequence[CommandRow]) -> None:
        """One round trip: insert, remember the command ids, commit."""
        new_events, new_commands = _json(map(_event_row, events)), _json(map(_command_row, commands))
        with _lost_when_away():
            await self._connection.execute(_filled(_COMMIT, events=new_events, commands=new_commands), prepare=False)
        self.ended = True

    async def _ask(self, query: LiteralString, **values: str) -> Any:
        """The JSON that the last statement answers."""
        with _lost_when_away():
            cursor = await self._connection.execute(_filled(query, **values), prepare=False)
            while cursor.nextset():
                pass
            row = await cursor.fetchone()
        return orjson.loads(row[0]) if row else None


def _filled(query: LiteralString, **values: str) -> sql.Composed:
    return sql.SQL(query).format(**{name: sql.Literal(value) for name, value in values.items()})


def _moment(microseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds)


def _uuid(text: str | None) -> UUID | None:
    return UUID(text) if text else None


def _stored(row: list[Any]) -> StoredEvent:
    position, stream, version, kind, schema_version, project, data, actor, command, correlation, cause, trace, at = row
    return StoredEvent(
        position=position,
        stream_id=UUID(stream),
        version=version,
        type=kind,
        schema_version=schema_version,
        project_id=_uuid(project),
        data=data.encode(),
        actor=actor,
        command_id=UUID(command),
        correlation_id=UUID(correlation),
        causation_id=_uuid(cause),
        trace_id=trace,
        recorded_at=_moment(at),
    )


def _known(row: list[Any]) -> tuple[UUID, KnownCommand]:
    command_id, digest, first, last, versions = row
    changed = {UUID(stream): version for stream, version in versions or []}
    return UUID(command_id), KnownCommand(bytes.fromhex(digest), first, last, changed)


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


def _json(rows: Iterable[dict[str, object]]) -> str:
    return orjson.dumps(list(rows)).decode()


def _array(elements: Iterable[str]) -> str:
    return "{" + ",".join(elements) + "}"


def _uuids(ids: Iterable[UUID]) -> str:
    return _array(each.hex for each in ids)


def _wanted(after: Mapping[UUID, int], most: int) -> dict[str, str]:
    return {"stream_ids": _uuids(after), "after": _array(map(str, after.values())), "most": str(most)}
