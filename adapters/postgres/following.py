"""Cursors, leadership, leases, the job queue and due deadlines in Postgres, for whatever follows the log."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg_pool import AsyncConnectionPool

from adapters.postgres.connections import connect, unavailable_when_away
from domain.errors import Unavailable
from domain.following import Due, LostJob, ParkedReaction

LEASE_SECONDS: Final = 10.0
"""How long a lease lasts that is not renewed, unless the installation keeps another pace."""
_LOAD: Final = "select reaction, position from reaction_positions where reaction = any(%s)"
_ADVANCE: Final = (
    "insert into reaction_positions (reaction, position) select * from unnest(%s::text[], %s::bigint[])"
    " on conflict (reaction) do update set position = greatest(reaction_positions.position, excluded.position),"
    " updated_at = clock_timestamp()"
)
_PARK: Final = (
    "insert into reaction_parked (reaction, key, position, reason) values (%s, %s, %s, %s)"
    " on conflict (reaction, position) do update set reason = excluded.reason"
)
_PARKED: Final = "select reaction, key, position, reason, parked_at from reaction_parked order by position"
_UNPARK: Final = "delete from reaction_parked where reaction = %s and position = %s"
_CLAIM: Final = (
    "insert into leases (resource, holder) select unnest(%s::uuid[]), %s"
    " on conflict (resource) do update set holder = excluded.holder, heartbeat_at = clock_timestamp()"
    " where leases.heartbeat_at < clock_timestamp() - make_interval(secs => %s) returning resource"
)
_RENEW: Final = (
    "update leases set heartbeat_at = clock_timestamp() where resource = any(%s::uuid[]) and holder = %s"
    " and heartbeat_at >= clock_timestamp() - make_interval(secs => %s) returning resource"
)
_RELEASE: Final = "delete from leases where resource = %s and holder = %s"
_SWEEP: Final = "delete from leases where heartbeat_at < clock_timestamp() - make_interval(secs => %s)"
_READY: Final = (
    "select job_id from llm_jobs where status = 'queued' and (not_before is null or not_before <= clock_timestamp())"
    " and not exists (select from leases where resource = job_id"
    " and heartbeat_at > clock_timestamp() - make_interval(secs => %s))"
    " and not exists (select from idle_projects as idle where idle.project_id = llm_jobs.project_id)"
    " and (not exists (select from open_circuits)"
    " or exists (select from jsonb_to_recordset(jsonb_build_array(jsonb_build_object('provider', provider,"
    " 'model', model)) || fallbacks) as target (provider text, model text) where not exists"
    " (select from open_circuits as circuit where circuit.provider = target.provider"
    " and circuit.model in ('', target.model) and circuit.blocked_until > clock_timestamp()"
    " and not circuit.spares_last)))"
    " and job_id <> all(%s::uuid[])"
    " order by priority desc, queued_position limit %s"
)
_LOST: Final = (
    "select job_id, attempt from llm_jobs where status = 'running'"
    " and greatest(started_at, (select heartbeat_at from leases where resource = job_id))"
    " < clock_timestamp() - make_interval(secs => %s) limit 200"
)
_DUE: Final = (
    "select kind, stream_id, key, position, due_at from deadlines where due_at <= clock_timestamp()"
    " and position <> all(%s::bigint[]) order by due_at limit %s"
)
_NEXT: Final = (
    "select extract(epoch from min(due_at) - clock_timestamp())::float8 from deadlines where due_at > clock_timestamp()"
)


class _OverPool:
    """Statements over a pool; a server that is away reads as Unavailable."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def _run(self, query: str, values: Sequence[object] = ()) -> None:
        with unavailable_when_away():
            async with self._pool.connection() as connection:
                await connection.execute(query.encode(), values)

    async def _rows(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with unavailable_when_away():
            async with self._pool.connection() as connection:
                try:
                    return await (await connection.execute(query.encode(), values)).fetchall()
                except psycopg.errors.UndefinedTable as error:  # a first start: followers begin before the projector
                    msg = "the read models are not built yet: a process with the role projector builds them"
                    raise Unavailable(msg, retry_after=0.1, code="not_built") from error


class PostgresCursors(_OverPool):
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


class PostgresLeases(_OverPool):
    """Leases by the database's clock."""

    async def claim(self, resources: Sequence[UUID], holder: str, stale_after: float) -> set[UUID]:
        """What is free or stale becomes the holder's."""
        return {row[0] for row in await self._rows(_CLAIM, [list(resources), holder, stale_after])}

    async def renew(self, resources: Sequence[UUID], holder: str, stale_after: float) -> set[UUID]:
        """The holder lives, and these are still its own; what is stale may be somebody else's at any moment."""
        return {row[0] for row in await self._rows(_RENEW, [list(resources), holder, stale_after])}

    async def release(self, resource: UUID, holder: str) -> None:
        """The holder is done with it."""
        await self._run(_RELEASE, [resource, holder])

    async def sweep(self, stale_for: float) -> None:
        """What nobody gave back and nobody else took; a lease as stale as that means the same as none."""
        await self._run(_SWEEP, [stale_for])


class PostgresJobQueue(_OverPool):
    """The queue as the read model `llm_jobs` tells it."""

    def __init__(self, pool: AsyncConnectionPool[Any], *, lease_seconds: float = LEASE_SECONDS) -> None:
        super().__init__(pool)
        self._lease_seconds = lease_seconds

    async def ready(self, limit: int, *, skipping: Collection[UUID] = ()) -> Sequence[UUID]:
        """Jobs that may start now; not those of a project that rests, nor those whose every target is cut off."""
        return [row[0] for row in await self._rows(_READY, [self._lease_seconds, list(skipping), limit])]

    async def lost(self, stale_after: float) -> Sequence[LostJob]:
        """Running jobs whose worker is silent."""
        return [LostJob(*row) for row in await self._rows(_LOST, [stale_after])]


class PostgresDueTable(_OverPool):
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
