"""Cursors, leadership and due deadlines in Postgres, for whatever follows the log."""

from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg_pool import AsyncConnectionPool

from adapters.postgres.connections import connect, unavailable_when_away
from domain.errors import Unavailable
from domain.following import Due, ParkedReaction

LEASE_SECONDS: Final = 10.0
"""How long a lease lasts that is not renewed, unless the installation keeps another pace."""
_LOAD: Final = "select reaction, position from reaction_positions where reaction = any(%s)"
# What a crash of the server takes back here is done again, by somebody else or under the same command ids: no commit
# of these has to wait for the disk, where the log's own commits would wait behind it.
UNHURRIED: Final = "(select set_config('synchronous_commit', 'off', true)) as unhurried"
_ADVANCE: Final = (
    "insert into reaction_positions (reaction, position) select reaction, position"
    f" from unnest(%s::text[], %s::bigint[]) as new (reaction, position), {UNHURRIED}"
    " on conflict (reaction) do update set position = greatest(reaction_positions.position, excluded.position),"
    " updated_at = clock_timestamp()"
)
_PARK: Final = (
    "insert into reaction_parked (reaction, key, position, reason) values (%s, %s, %s, %s)"
    " on conflict (reaction, position) do update set reason = excluded.reason"
)
_PARKED: Final = "select reaction, key, position, reason, parked_at from reaction_parked order by position"
_UNPARK: Final = "delete from reaction_parked where reaction = %s and position = %s"
_DUE: Final = (
    "select kind, stream_id, key, position, due_at from deadlines where due_at <= clock_timestamp()"
    " and position <> all(%s::bigint[]) order by due_at limit %s"
)
_NEXT: Final = (
    "select extract(epoch from min(due_at) - clock_timestamp())::float8 from deadlines where due_at > clock_timestamp()"
)


class OverPool:
    """Statements over a pool; a server that is away reads as Unavailable."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def _run(self, query: str, values: Sequence[object] | Mapping[str, object] = ()) -> None:
        with unavailable_when_away():
            async with self._pool.connection() as connection:
                await connection.execute(query.encode(), values)

    async def _rows(self, query: str, values: Sequence[object] | Mapping[str, object] = ()) -> list[tuple[Any, ...]]:
        with unavailable_when_away(), _once_tables_stand():
            async with self._pool.connection() as connection:
                return await (await connection.execute(query.encode(), values)).fetchall()

    async def _all_rows(self, *asked: tuple[str, Sequence[object]]) -> list[list[tuple[Any, ...]]]:
        """Several questions in one round trip."""
        with unavailable_when_away(), _once_tables_stand():
            async with self._pool.connection() as connection:
                async with connection.pipeline():
                    found = [await connection.execute(query.encode(), values) for query, values in asked]
                return [await each.fetchall() for each in found]


@contextmanager
def _once_tables_stand() -> Iterator[None]:
    try:
        yield
    except psycopg.errors.UndefinedTable as error:  # a first start: followers begin before the projector
        msg = "the read models are not built yet: a process with the role projector builds them"
        raise Unavailable(msg, retry_after=0.1, code="not_built") from error


class PostgresCursors(OverPool):
    """Reaction positions and what they set aside."""

    async def load(self, reactions: Collection[str]) -> Mapping[str, int]:
        """Positions of those that have one."""
        return dict(await self._rows(_LOAD, [list(reactions)]))

    async def advance(self, positions: Mapping[str, int]) -> None:
        """Never backwards, whoever writes."""
        await self._run(_ADVANCE, [list(positions), list(positions.values())])

    async def park(self, reaction: str, key: UUID, position: int, reason: str) -> None:
        """Set an event aside."""
        await self._run(_PARK, [reaction, key, position, reason])

    async def parked(self) -> Sequence[ParkedReaction]:
        """All that is set aside, oldest first."""
        return [ParkedReaction(*row) for row in await self._rows(_PARKED)]

    async def unpark(self, reaction: str, position: int) -> None:
        """It was answered."""
        await self._run(_UNPARK, [reaction, position])


class PostgresDueTable(OverPool):
    """Deadlines as the read model tells them."""

    async def due(self, limit: int, *, skipping: Collection[int] = ()) -> Sequence[Due]:
        """What is due now."""
        return [Due(*row) for row in await self._rows(_DUE, [list(skipping), limit])]

    async def seconds_to_next(self) -> float | None:
        """How long until the next one that is still to come."""
        return (await self._rows(_NEXT))[0][0]


class PostgresLeadership:
    """Session advisory locks: the server gives them up by itself when the process or its connection dies."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._held: dict[str, psycopg.AsyncConnection[Any]] = {}

    @asynccontextmanager
    async def leading(self, what: str) -> AsyncIterator[None]:
        """Wait for the lock, hold it while the block runs."""
        with unavailable_when_away():
            connection = await connect(self._conninfo, application=f"toybox {what}")
        try:
            with unavailable_when_away():
                await connection.execute(
                    "select pg_advisory_lock(hashtextextended('toybox.' || %s || '.' || current_schema(), 0))", [what]
                )
            self._held[what] = connection
            yield
        finally:
            self._held.pop(what, None)
            with suppress(psycopg.Error, OSError):
                await connection.close()

    async def check(self, what: str) -> None:
        """Unavailable when the connection that holds the lock is gone."""
        held = self._held.get(what)
        if held is None:
            msg = f"this process does not lead {what}"
            raise Unavailable(msg)
        with unavailable_when_away():
            await held.execute("select 1")
