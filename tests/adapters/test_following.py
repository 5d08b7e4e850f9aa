"""Leases, the queue and deadlines in Postgres: by the database's clock, for whoever follows the log."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid5

import pytest
from psycopg_pool import AsyncConnectionPool

from adapters.postgres.connections import pool
from adapters.postgres.following import PostgresDueTable, PostgresJobQueue, PostgresLeadership, PostgresLeases
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
                "create table llm_jobs (job_id uuid primary key, status text, priority integer, attempt integer,"
                " queued_position bigint, not_before timestamptz, started_at timestamptz, project_id uuid,"
                " provider text default 'one', model text default 'small', fallbacks jsonb default '[]')"
            )
            await connection.execute(
                "create table open_circuits (provider text, model text, blocked_until timestamptz, spares_last boolean)"
            )
            await connection.execute("create table idle_projects (project_id uuid primary key)")
            await connection.execute(
                "create table deadlines (kind text, stream_id uuid, key uuid, position bigint, due_at timestamptz)"
            )
        yield made


async def put(opened: AsyncConnectionPool[Any], query: str, *values: object) -> None:
    """A row."""
    async with opened.connection() as connection:
        await connection.execute(query.encode(), values)


async def queue(opened: AsyncConnectionPool[Any], number: int, *, priority: int = 5, wait: str = "0 s") -> None:
    """A queued job."""
    insert = "insert into llm_jobs values (%s, 'queued', %s, 0, %s, clock_timestamp() + %s::interval)"
    await put(opened, insert, job(number), priority, number, wait)


async def age(opened: AsyncConnectionPool[Any], seconds: float) -> None:
    """Let all leases grow older."""
    await put(opened, "update leases set heartbeat_at = heartbeat_at - make_interval(secs => %s)", seconds)


async def test_a_lease_has_one_holder_until_it_is_stale(opened: AsyncConnectionPool[Any]) -> None:
    leases = PostgresLeases(opened)
    assert await leases.claim([job(1), job(2)], "one", 10) == {job(1), job(2)}
    assert await leases.claim([job(1), job(3)], "two", 10) == {job(3)}
    await age(opened, 11)
    assert await leases.claim([job(1)], "two", 10) == {job(1)}
    assert await leases.renew([job(1), job(2)], "one", 60) == {job(2)}


async def test_only_what_is_really_worked_on_is_renewed(opened: AsyncConnectionPool[Any]) -> None:
    leases = PostgresLeases(opened)
    await leases.claim([job(1), job(2)], "one", 10)
    await age(opened, 6)
    assert await leases.renew([job(1)], "one", 10) == {job(1)}
    await age(opened, 6)
    assert await leases.claim([job(1), job(2)], "two", 10) == {job(2)}


async def test_a_stale_lease_cannot_be_renewed_by_a_worker_that_was_held_up(opened: AsyncConnectionPool[Any]) -> None:
    leases = PostgresLeases(opened)
    await leases.claim([job(1)], "one", 10)
    await age(opened, 11)
    assert await leases.renew([job(1)], "one", 10) == set(), "others may act on its silence already"
    assert await leases.claim([job(1)], "one", 10) == {job(1)}


async def test_nobody_gives_back_the_lease_of_another(opened: AsyncConnectionPool[Any]) -> None:
    leases = PostgresLeases(opened)
    await leases.claim([job(1)], "one", 10)
    await leases.release(job(1), "two")
    assert await leases.claim([job(1)], "two", 10) == set()
    await leases.release(job(1), "one")
    assert await leases.claim([job(1)], "two", 10) == {job(1)}


async def test_the_most_urgent_jobs_come_first_and_those_that_are_leased_not_at_all(
    opened: AsyncConnectionPool[Any],
) -> None:
    for number in (1, 2, 3):
        await queue(opened, number)
    await queue(opened, 4, priority=9)
    await queue(opened, 5, priority=9, wait="1 hour")
    await PostgresLeases(opened).claim([job(2)], "one", 10)
    jobs = PostgresJobQueue(opened)
    assert await jobs.ready(10) == [job(4), job(1), job(3)]
    assert await jobs.ready(10, skipping=[job(1)]) == [job(4), job(3)]
    assert await jobs.ready(1) == [job(4)]


async def test_jobs_of_a_project_that_does_not_run_are_left_out_until_it_does(
    opened: AsyncConnectionPool[Any],
) -> None:
    for number in (1, 2, 3):
        await queue(opened, number)
    await put(opened, "update llm_jobs set project_id = job_id where queued_position > 1")
    await put(opened, "insert into idle_projects values (%s)", job(2))
    jobs = PostgresJobQueue(opened)
    assert await jobs.ready(10) == [job(1), job(3)]
    await put(opened, "delete from idle_projects")
    assert await jobs.ready(10) == [job(1), job(2), job(3)]


async def test_leases_of_workers_that_died_long_ago_are_swept_and_no_others(opened: AsyncConnectionPool[Any]) -> None:
    leases = PostgresLeases(opened)
    await leases.claim([job(1)], "dead", 10)
    await age(opened, 100)
    await leases.claim([job(2)], "alive", 10)
    await leases.sweep(99)
    async with opened.connection() as connection:
        assert await (await connection.execute("select resource from leases")).fetchall() == [(job(2),)]


async def test_how_long_a_lease_lasts_is_the_installations_choice(opened: AsyncConnectionPool[Any]) -> None:
    await queue(opened, 1)
    await PostgresLeases(opened).claim([job(1)], "one", 10)
    await age(opened, 5)
    assert await PostgresJobQueue(opened).ready(10) == []
    assert await PostgresJobQueue(opened, lease_seconds=3).ready(10) == [job(1)]


async def test_a_running_job_is_lost_when_neither_its_start_nor_its_lease_is_recent(
    opened: AsyncConnectionPool[Any],
) -> None:
    insert = "insert into llm_jobs values (%s, 'running', 5, 1, 1, null, clock_timestamp() - %s::interval)"
    for number, since in ((1, "1 s"), (2, "1 min"), (3, "1 min"), (4, "1 min")):
        await put(opened, insert, job(number), since)
    leases = PostgresLeases(opened)
    await leases.claim([job(2), job(3)], "one", 10)
    await age(opened, 9)
    await leases.renew([job(2)], "one", 10)
    await age(opened, 2)
    assert {each.job_id for each in await PostgresJobQueue(opened).lost(10)} == {job(3), job(4)}


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


async def test_a_job_all_of_whose_targets_are_cut_off_is_not_offered(opened: AsyncConnectionPool[Any]) -> None:
    jobs = PostgresJobQueue(opened)
    await queue(opened, 1)
    await queue(opened, 2)
    elsewhere = """[{"provider": "two", "model": "small"}]"""
    await put(opened, "update llm_jobs set fallbacks = %s::jsonb where job_id = %s", elsewhere, job(2))
    circuit = "insert into open_circuits values (%s, %s, clock_timestamp() + %s::interval, %s)"
    assert await jobs.ready(9) == [job(1), job(2)]
    await put(opened, circuit, "one", "", "1 hour", False)
    assert await jobs.ready(9) == [job(2)]
    await put(opened, circuit, "two", "other", "1 hour", False)
    assert await jobs.ready(9) == [job(2)], "another model's circuit is of no interest"
    await put(opened, circuit, "two", "small", "1 hour", False)
    assert await jobs.ready(9) == []
    await put(opened, "update open_circuits set spares_last = true where model = 'small'")
    assert await jobs.ready(9) == [job(2)], "the last target may be tried all the same"
    await put(opened, "update open_circuits set blocked_until = clock_timestamp()")
    assert await jobs.ready(9) == [job(1), job(2)], "one of them may probe"
