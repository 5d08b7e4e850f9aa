"""Answers in the making in Postgres: rows outside of the log, and a notification that says which jobs have new ones."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.rows import args_row
from psycopg_pool import AsyncConnectionPool

from adapters.postgres.connections import connect, unavailable_when_away
from domain.drafting import Draft, Wanted
from domain.errors import Unavailable

CHANNEL: Final = "toybox_drafts"
NAMED: Final = 200
"""Jobs that one notification names: it may have 8,000 bytes."""
LOST_SECONDS: Final = 2 * 86_400.0
"""Older than any attempt can be: whatever became of its job, nobody writes on."""
# The table is not logged, so this waits for no disk: it is committed a fraction of a millisecond later.
_WRITE: Final = (
    "with written as (insert into llm_job_drafts (job_id, attempt, start, sealed)"
    " select * from unnest(%s::uuid[], %s::int[], %s::int[], %s::text[])"
    " on conflict (job_id, attempt, start) do update set sealed = excluded.sealed, written_at = clock_timestamp())"
    " select pg_notify(%s, named) from unnest(%s::text[]) as named"
)
_READ: Final = (
    "select job_id, attempt, llm_job_drafts.start, sealed"
    " from unnest(%s::uuid[], %s::int[], %s::int[]) as wanted (job_id, attempt, start)"
    " join llm_job_drafts using (job_id, attempt) where llm_job_drafts.start >= wanted.start"
    " order by job_id, attempt, llm_job_drafts.start"
)
_SWEEP: Final = (
    "delete from llm_job_drafts where job_id in (select job_id from llm_job_drafts group by job_id"
    " having max(written_at) < clock_timestamp() - make_interval(secs => %s)"
    " and (max(written_at) < clock_timestamp() - make_interval(secs => %s)"
    " or exists (select from events where stream_id = job_id"
    " and type in ('llm_job.completed', 'llm_job.failed', 'llm_job.cancelled'))))"
)
_EXPECT: Final = (
    "insert into llm_job_readers (job_id, grace_seconds) values (%s, %s)"
    " on conflict (job_id) do update set seen_at = clock_timestamp()"
)
_EXPECTED: Final = "select 1 from llm_job_readers where job_id = %s"
_PRESENT: Final = "update llm_job_readers set seen_at = clock_timestamp() where job_id = any(%s)"
_ABANDONED: Final = (
    "select job_id from llm_job_readers where seen_at < clock_timestamp() - make_interval(secs => grace_seconds)"
    " order by seen_at limit 200"
)
_FORGET: Final = "delete from llm_job_readers where job_id = %s"


class PostgresDrafts:
    """One connection for writing, kept open, so that no reader of anything can hold up who writes."""

    def __init__(self, conninfo: str, pool: AsyncConnectionPool[Any]) -> None:
        self._conninfo = conninfo
        self._pool = pool
        self._writer: psycopg.AsyncConnection[Any] | None = None
        self._writing = asyncio.Lock()

    async def write(self, drafts: Sequence[Draft]) -> None:
        """In one round trip."""
        rows = {(each.job_id, each.attempt, each.start): each for each in drafts}.values()
        columns = zip(*((each.job_id, each.attempt, each.start, each.sealed) for each in rows), strict=True)
        jobs = sorted({each.job_id.hex for each in rows})
        named = [" ".join(jobs[at : at + NAMED]) for at in range(0, len(jobs), NAMED)]
        async with self._writing:
            try:
                with unavailable_when_away():
                    if self._writer is None or self._writer.closed:
                        self._writer = await connect(self._conninfo, application="toybox drafts")
                    await self._writer.execute(_WRITE, [*map(list, columns), CHANNEL, named])
            except Unavailable:
                await self._discard()
                raise

    async def read(self, wanted: Mapping[UUID, Wanted]) -> Sequence[Draft]:
        """In one round trip."""
        jobs = list(wanted)
        asked = [jobs, [wanted[each].attempt for each in jobs], [wanted[each].start for each in jobs]]
        with unavailable_when_away():
            async with (
                self._pool.connection() as connection,
                connection.cursor(binary=True, row_factory=args_row(Draft)) as cursor,
            ):
                return await (await cursor.execute(_READ, asked)).fetchall()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[AsyncGenerator[frozenset[UUID], None]]:
        """On a connection of its own; Unavailable when that is lost."""
        with unavailable_when_away():
            async with await connect(self._conninfo, application="toybox draft listener") as connection:
                await connection.execute("listen " + CHANNEL)
                async with aclosing(_named(connection)) as heard:
                    yield heard

    async def sweep(self, seconds: float) -> int:
        """By the database's clock, and by what the log says of the job."""
        with unavailable_when_away():
            async with self._pool.connection() as connection:
                return (await connection.execute(_SWEEP, [seconds, LOST_SECONDS])).rowcount

    async def close(self) -> None:
        """Give the connection back."""
        async with self._writing:
            await self._discard()

    async def _discard(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            with suppress(psycopg.Error, OSError):
                await writer.close()


async def _named(connection: psycopg.AsyncConnection[Any]) -> AsyncGenerator[frozenset[UUID], None]:
    async with aclosing(connection.notifies()) as notes:
        async for note in notes:
            with suppress(ValueError):  # anybody may notify
                yield frozenset(UUID(hex=each) for each in note.payload.split())


class PostgresAudience:
    """A row for each job that must be read; seen by the database's clock, so any process may be the one that reads."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def expect(self, job_id: UUID, grace_seconds: int) -> None:
        """Said before the job is queued: a process that dies in between leaves no job without it."""
        await self._do(_EXPECT, [job_id, grace_seconds])

    async def expected(self, job_id: UUID) -> bool:
        """By its row."""
        return bool(await self._rows(_EXPECTED, [job_id]))

    async def present(self, jobs: Collection[UUID]) -> None:
        """In one round trip."""
        await self._do(_PRESENT, [list(jobs)])

    async def abandoned(self) -> Sequence[UUID]:
        """Those that have been alone for longest first."""
        return [job_id for (job_id,) in await self._rows(_ABANDONED, [])]

    async def forget(self, job_id: UUID) -> None:
        """Delete its row."""
        await self._do(_FORGET, [job_id])

    async def _do(self, query: Any, given: Sequence[object]) -> None:
        with unavailable_when_away():
            async with self._pool.connection() as connection:
                await connection.execute(query, given)

    async def _rows(self, query: Any, given: Sequence[object]) -> list[tuple[Any, ...]]:
        with unavailable_when_away():
            async with self._pool.connection() as connection:
                return await (await connection.execute(query, given)).fetchall()
