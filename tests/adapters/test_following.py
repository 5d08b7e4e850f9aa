"""Deadlines and leadership in Postgres: by the database's clock, for whoever follows the log."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid5

import pytest
from psycopg_pool import AsyncConnectionPool

from adapters.postgres.connections import pool
from adapters.postgres.following import PostgresDueTable, PostgresLeadership
from domain.errors import Unavailable
from domain.values import NAMESPACE


def job(number: int) -> UUID:
    """The id of a job."""
    return uuid5(NAMESPACE, f"job {number}")


@pytest.fixture
async def opened(database: str) -> AsyncIterator[AsyncConnectionPool[Any]]:
    """A database with just the columns that followers ask for."""
    async with pool(database, size=2) as made:
        async with made.connection() as connection:
            await connection.execute(
                "create table deadlines (kind text, stream_id uuid, key uuid, position bigint, due_at timestamptz)"
            )
        yield made


async def put(opened: AsyncConnectionPool[Any], query: str, *values: object) -> None:
    """A row."""
    async with opened.connection() as connection:
        await connection.execute(query.encode(), values)


async def test_deadlines_come_in_their_order_without_those_that_were_tried(opened: AsyncConnectionPool[Any]) -> None:
    table = PostgresDueTable(opened)
    assert await table.seconds_to_next() is None
    insert = "insert into deadlines values ('some', %s, %s, %s, clock_timestamp() + %s::interval)"
    for number, wait in ((1, "-1 min"), (2, "-2 min"), (3, "1 hour")):
        await put(opened, insert, job(number), job(number), number, wait)
    assert [each.position for each in await table.due(10)] == [2, 1]
    assert [each.position for each in await table.due(1, skipping=[2])] == [1]
    left = await table.seconds_to_next()
    assert left is not None
    assert 3_590 < left <= 3_600


async def test_one_leads_at_a_time_and_a_lost_connection_is_noticed(database: str) -> None:
    first = PostgresLeadership(database)
    async with first.leading("reactions"):
        await first.check("reactions")
        async with PostgresLeadership(database).leading("deadlines"):
            pass  # another matter has another leader
        await first._held["reactions"].close()
        with pytest.raises(Unavailable):
            await first.check("reactions")
    with pytest.raises(Unavailable, match="does not lead"):
        await first.check("reactions")
