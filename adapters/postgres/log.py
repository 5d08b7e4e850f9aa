"""Reading the event log from Postgres: in order, never past the durable head, woken by notifications."""

import asyncio
import contextlib
import secrets
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import args_row
from psycopg_pool import AsyncConnectionPool

from adapters.postgres.connections import connect, unavailable_when_away
from domain.errors import Unavailable
from domain.log import StoredEvent

CHANNEL: Final = "toybox_head"
POLL_SECONDS = 1.0
"""How late a reader may be when a notification is lost."""
COLUMNS: Final[LiteralString] = (
    "position, stream_id, version, type, schema_version, project_id, convert_to(data::text, 'UTF8'), actor, "
    "command_id, correlation_id, causation_id, trace_id, recorded_at"
)

_READ: Final = (
    "select " + COLUMNS + " from events where position > %(after)s and position <= %(up_to)s"
    " and (%(project_id)s::uuid is null or project_id = %(project_id)s)"
    " and (%(types)s::text[] is null or type = any(%(types)s)) order by position limit %(limit)s"
)
# Its own statement: with `project_id is null or` in the way a generic plan would not use the project's index.
_READ_PROJECT: Final = (
    "select " + COLUMNS + " from events where project_id = %(project_id)s and position > %(after)s"
    " and position <= %(up_to)s and (%(types)s::text[] is null or type = any(%(types)s))"
    " order by position limit %(limit)s"
)
_READ_STREAM: Final = (
    "select "
    + COLUMNS
    + " from events where stream_id = %(stream_id)s and position <= %(up_to)s and version > %(after)s"
    " order by version limit %(limit)s"
)
_READ_STREAMS: Final = (
    "select " + COLUMNS + " from events where stream_id = any(%(stream_ids)s) order by stream_id, version"
)
_HEAD: Final = "select coalesce(max(position), 0) from events"
END: Final = 2**63 - 1


class Head:
    """The highest position that this process knows to be durable; tasks wait here for it to move."""

    def __init__(self) -> None:
        self.position = 0
        self._moved = asyncio.Event()

    def advance(self, position: int) -> None:
        """Wake everyone who waits for more."""
        if position > self.position:
            self.position = position
            self._moved.set()
            self._moved = asyncio.Event()

    async def beyond(self, position: int, timeout: float) -> bool:  # noqa: ASYNC109 -- late is an answer, not an error
        """Whether the head passed `position` within `timeout` seconds."""
        if self.position > position:
            return True
        moved = self._moved
        try:
            async with asyncio.timeout(timeout):
                await moved.wait()
        except TimeoutError:
            return False
        return self.position > position


class PostgresLog:
    """The log for readers. Positions commit in order, so a plain `position > after` misses nothing."""

    def __init__(self, conninfo: str, pool: AsyncConnectionPool[Any]) -> None:
        self._conninfo = conninfo
        self._pool = pool
        self._head = Head()
        self._own_mark = secrets.token_hex(8)
        self._listener: asyncio.Task[None] | None = None

    @property
    def head_seen(self) -> Head:
        """The head as notifications tell it."""
        return self._head

    def listen(self) -> None:
        """Begin to follow notifications of new heads."""
        self._listener = asyncio.create_task(self._listen(), name="log-listener")

    async def close(self) -> None:
        """Stop listening."""
        if self._listener:
            self._listener.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listener

    async def _listen(self) -> None:
        while True:
            try:
                async with await connect(self._conninfo, application="toybox listener") as connection:
                    await connection.execute("listen " + CHANNEL)
                    # Left open, the generator would keep the lock that closing the connection waits for.
                    async with contextlib.aclosing(connection.notifies()) as notes:
                        async for note in notes:
                            # Anybody may notify, for any schema: a note only says that it is worth to look.
                            if note.payload != self._own_mark:
                                with contextlib.suppress(Unavailable):
                                    await self.head()
            except psycopg.OperationalError:
                await asyncio.sleep(POLL_SECONDS)  # readers poll meanwhile

    async def head(self) -> int:
        """The highest durable position."""
        with unavailable_when_away():
            async with self._pool.connection() as connection:
                row = await (await connection.execute(_HEAD)).fetchone()
        position = int(row[0]) if row else 0
        self._head.advance(position)
        return position

    async def read(
        self,
        after: int,
        limit: int,
        *,
        project_id: UUID | None = None,
        types: Collection[str] | None = None,
        up_to: int | None = None,
    ) -> Sequence[StoredEvent]:
        """Events in order of position."""
        end = END if up_to is None else up_to
        if project_id is None and types is None:
            # Positions are dense, so this is where the slice ends. Without statistics, as after a burst of appends,
            # PostgreSQL would fetch and sort all that follows.
            end = min(end, after + limit)
        wanted = {
            "after": after,
            "limit": limit,
            "project_id": project_id,
            "types": None if types is None else list(types),
            "up_to": end,
        }
        return await self._fetch(_READ_PROJECT if project_id else _READ, wanted)

    async def read_stream(
        self, stream_id: UUID, *, up_to: int | None = None, after: int = 0, limit: int | None = None
    ) -> Sequence[StoredEvent]:
        """One aggregate's history in order of version."""
        wanted = {"stream_id": stream_id, "up_to": END if up_to is None else up_to, "after": after, "limit": limit}
        return await self._fetch(_READ_STREAM, wanted)

    async def read_streams(self, stream_ids: Collection[UUID]) -> Mapping[UUID, Sequence[StoredEvent]]:
        """Several aggregates' histories in one round trip."""
        found: dict[UUID, list[StoredEvent]] = {each: [] for each in stream_ids}
        for stored in await self._fetch(_READ_STREAMS, {"stream_ids": list(found)}):
            found[stored.stream_id].append(stored)
        return found

    async def wait(self, after: int, timeout: float) -> int:  # noqa: ASYNC109 -- late is an answer, not an error
        """The head, as soon as it is above `after` or the time is over. Polls in case a notification was lost."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        while (left := until - loop.time()) > 0:
            if await self._head.beyond(after, min(left, POLL_SECONDS)) or await self.head() > after:
                break
        return self._head.position

    async def position_at(self, moment: datetime) -> int:
        """The last position recorded at or before `moment`."""
        with unavailable_when_away():
            async with self._pool.connection() as connection:
                row = await (await connection.execute("select position_at(%s)", [moment])).fetchone()
        return int(row[0]) if row else 0

    async def _fetch(self, query: LiteralString, wanted: dict[str, Any]) -> Sequence[StoredEvent]:
        with unavailable_when_away():
            async with (
                self._pool.connection() as connection,
                connection.cursor(binary=True, row_factory=args_row(StoredEvent)) as cursor,
            ):
                return await (await cursor.execute(query, wanted)).fetchall()
