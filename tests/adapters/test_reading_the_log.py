"""A slice of the log costs its own events, however many follow it and however little PostgreSQL knows of the table."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import psycopg
from psycopg_pool import AsyncConnectionPool

from adapters.postgres.connections import pool
from adapters.postgres.event_store import PostgresStore
from adapters.postgres.log import PostgresLog
from domain.values import derived_id
from tests.commands.counter import Counter
from tests.streams.kafka_following import append
from tests.support.projections import Writing

EVENTS, SLICE = 6_000, 500
_FETCHED = "select coalesce(idx_tup_fetch, 0) + seq_tup_read from pg_stat_xact_user_tables where relname = 'events'"


class OneTransaction:
    """Lends one connection inside one transaction, whose statistics count what was fetched in it."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._lent = connection

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """The same one each time."""
        yield self._lent

    async def fetched(self) -> int:
        """Rows of the log that PostgreSQL has looked at."""
        row = await (await self._lent.execute(_FETCHED)).fetchone()
        assert row
        return row[0]


async def test_a_slice_fetches_no_event_behind_it_though_the_table_was_never_analyzed(database: str) -> None:
    log = Writing()
    stream = derived_id("test-counter", 1)
    log.add(Counter.Opened, stream, limit=EVENTS)
    for _ in range(EVENTS - 1):
        log.add(Counter.Added, stream, amount=1)
    async with pool(database, size=2) as opened:
        async with opened.connection() as connection:
            await connection.execute("alter table events set (autovacuum_enabled = off)")
        store = PostgresStore(database, opened)
        await append(store, log.events)
        await store.close()
        async with opened.connection() as connection, connection.transaction():
            counted = OneTransaction(connection)
            reader = PostgresLog(database, cast("AsyncConnectionPool[Any]", counted))
            found = await reader.read(1000, SLICE)
            assert [each.position for each in found] == list(range(1001, 1001 + SLICE))
            assert await counted.fetched() == SLICE
            assert len(await reader.read(1000, SLICE, up_to=1010)) == 10
            assert len(await reader.read(EVENTS - 3, SLICE)) == 3
            assert await counted.fetched() == SLICE + 13
            # What the bound is for: where it cannot be known, all that follows is fetched, to be sorted.
            await reader.read(1000, SLICE, types={Counter.Added.TYPE})
            assert await counted.fetched() == SLICE + 13 + EVENTS - 1000
