"""Answers in the making: one contract for the table and its twin in memory; and who must read them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import psycopg
import pytest

from adapters.postgres.connections import pool
from adapters.postgres.drafts import CHANNEL, PostgresAudience, PostgresDrafts
from domain.drafting import Draft, Drafts, Wanted
from domain.errors import Unavailable
from tests.support.drafts import MemoryDrafts

ONE, OTHER = UUID(int=1), UUID(int=2)


@asynccontextmanager
async def postgres_drafts(database: str) -> AsyncIterator[PostgresDrafts]:
    async with pool(database, size=2) as opened:
        drafts = PostgresDrafts(database, opened)
        try:
            yield drafts
        finally:
            await drafts.close()


@pytest.fixture(params=["memory", "postgres"])
async def drafts(request: pytest.FixtureRequest) -> AsyncIterator[Drafts]:
    if request.param == "memory":
        yield MemoryDrafts()
        return
    async with postgres_drafts(request.getfixturevalue("database")) as made:
        yield made


async def test_pieces_come_back_in_order_from_where_they_are_wanted(drafts: Drafts) -> None:
    await drafts.write([Draft(ONE, 1, 3, "c"), Draft(OTHER, 1, 0, "x"), Draft(ONE, 1, 0, "abc"), Draft(ONE, 2, 0, "z")])
    await drafts.write([Draft(ONE, 1, 4, "d")])
    both = await drafts.read({ONE: Wanted(1, 0), OTHER: Wanted(1, 0)})
    assert [(each.job_id, each.start, each.sealed) for each in both] == [
        (ONE, 0, "abc"),
        (ONE, 3, "c"),
        (ONE, 4, "d"),
        (OTHER, 0, "x"),
    ]
    assert [each.sealed for each in await drafts.read({ONE: Wanted(1, 4)})] == ["d"]
    assert [each.sealed for each in await drafts.read({ONE: Wanted(2, 0)})] == ["z"]
    assert list(await drafts.read({})) == []


async def test_a_piece_that_is_written_again_has_grown(drafts: Drafts) -> None:
    await drafts.write([Draft(ONE, 1, 0, "ab")])
    await drafts.write([Draft(ONE, 1, 0, "abcd"), Draft(ONE, 1, 0, "abcdef")])
    assert [each.sealed for each in await drafts.read({ONE: Wanted(1, 0)})] == ["abcdef"]


async def test_whoever_listens_hears_of_every_job_that_was_written(drafts: Drafts) -> None:
    async with drafts.listening() as heard:
        await drafts.write([Draft(ONE, 1, 0, "a"), Draft(OTHER, 1, 0, "b")])
        assert await asyncio.wait_for(anext(heard), 5) == {ONE, OTHER}


async def test_one_write_may_name_any_number_of_jobs(database: str) -> None:
    jobs = [UUID(int=number) for number in range(1, 451)]
    async with postgres_drafts(database) as drafts, drafts.listening() as heard:
        await drafts.write([Draft(each, 1, 0, "a") for each in jobs])
        found: set[UUID] = set()
        async with asyncio.timeout(5):
            while len(found) < len(jobs):
                found |= await anext(heard)
    assert found == set(jobs)


async def test_a_note_that_is_not_ours_is_passed_over(database: str) -> None:
    async with postgres_drafts(database) as drafts, drafts.listening() as heard:
        async with await psycopg.AsyncConnection.connect(database, autocommit=True) as anybody:
            await anybody.execute("select pg_notify(%s, 'good morning')", [CHANNEL])
        await drafts.write([Draft(ONE, 1, 0, "a")])
        assert await asyncio.wait_for(anext(heard), 5) == {ONE}


async def test_a_lost_connection_is_told_and_replaced(database: str) -> None:
    async with postgres_drafts(database) as drafts:
        await drafts.write([Draft(ONE, 1, 0, "a")])
        async with await psycopg.AsyncConnection.connect(database, autocommit=True) as killer:
            await killer.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where application_name = 'toybox drafts' and datname = current_database()"
            )
        with pytest.raises(Unavailable):
            await drafts.write([Draft(ONE, 1, 1, "b")])
        await drafts.write([Draft(ONE, 1, 1, "b")])
        assert [each.sealed for each in await drafts.read({ONE: Wanted(1, 0)})] == ["a", "b"]


async def test_drafts_stay_until_their_job_has_ended_and_nobody_writes_them(database: str) -> None:
    async with (
        postgres_drafts(database) as drafts,
        await psycopg.AsyncConnection.connect(database, autocommit=True) as other,
    ):
        await drafts.write([Draft(ONE, 1, 0, "a"), Draft(OTHER, 1, 0, "b")])
        assert await drafts.sweep(0) == 0, "neither job has ended"
        await other.execute(
            "insert into events (position, stream_id, version, type, schema_version, data, actor, command_id,"
            " correlation_id, recorded_at) values (1, %s, 1, 'llm_job.failed', 1, '{}', 'test', %s, %s, now())",
            [ONE, ONE, ONE],
        )
        assert await drafts.sweep(60) == 0, "somebody may still come back"
        assert await drafts.sweep(0) == 1
        await other.execute("update llm_job_drafts set written_at = now() - interval '3 days'")
        assert await drafts.sweep(60) == 1, "nobody writes for so long"


async def test_a_job_is_abandoned_when_nobody_has_read_it_for_as_long_as_may_be(database: str) -> None:
    async with (
        pool(database, size=2) as opened,
        await psycopg.AsyncConnection.connect(database, autocommit=True) as other,
    ):
        audience = PostgresAudience(opened)
        await audience.expect(ONE, 10)
        await audience.expect(OTHER, 100)
        assert (await audience.expected(ONE), await audience.expected(UUID(int=3))) == (True, False)
        assert list(await audience.abandoned()) == []
        await other.execute("update llm_job_readers set seen_at = now() - interval '20 seconds'")
        assert list(await audience.abandoned()) == [ONE]
        await audience.present([ONE, UUID(int=3)])
        assert list(await audience.abandoned()) == []
        await audience.forget(ONE)
        assert not await audience.expected(ONE)
