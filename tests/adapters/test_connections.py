"""Whoever waits for a connection can be cancelled at any moment, also in the one in which it is granted."""

import asyncio

import psycopg
import pytest

from adapters.postgres.connections import TRUSTED_SECONDS, pool


async def test_a_cancellation_is_never_lost_to_a_connection_that_is_granted(database: str) -> None:
    async with pool(database, size=1) as opened:
        for ticks in range(6):
            lent, got = await opened.getconn(), asyncio.Event()

            async def want(got: asyncio.Event = got) -> None:
                async with opened.connection():
                    got.set()
                    await asyncio.Event().wait()

            waiting = asyncio.create_task(want())
            while not opened.get_stats()["requests_waiting"]:  # noqa: ASYNC110 -- a pool tells nobody
                await asyncio.sleep(0.01)
            await opened.putconn(lent)
            for _ in range(ticks):
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting], timeout=2)
            went_on = got.is_set() and not waiting.done()
            waiting.cancel()
            assert not went_on, f"cancelled {ticks} ticks after the grant, it went on as if nobody had told it to stop"
            assert waiting.cancelled()
            async with opened.connection(timeout=2) as connection:
                await connection.execute("select 1")


async def test_only_a_connection_that_has_rested_is_asked_whether_it_lives(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    async def note(connection: object) -> None:
        asked.append(connection)

    async with pool(database, size=1) as opened:
        monkeypatch.setattr(opened, "check_connection", note)
        for _ in range(3):
            async with opened.connection() as connection:
                await connection.execute("select 1")
        before = len(asked)
        assert before <= 1, "the first may be asked, those that follow at once are not"
        await asyncio.sleep(TRUSTED_SECONDS * 1.2)
        async with opened.connection() as connection:
            await connection.execute("select 1")
        assert len(asked) == before + 1


async def test_a_connection_that_died_while_it_rested_is_replaced(database: str) -> None:
    async with pool(database, size=1) as opened:
        async with opened.connection() as connection:
            pid = connection.info.backend_pid
        async with await psycopg.AsyncConnection.connect(database, autocommit=True) as other:
            await other.execute("select pg_terminate_backend(%s)", [pid])
        await asyncio.sleep(TRUSTED_SECONDS * 1.2)
        async with opened.connection() as connection:
            assert connection.info.backend_pid != pid
            await connection.execute("select 1")


async def test_when_one_connection_breaks_none_that_was_given_back_before_is_trusted(database: str) -> None:
    async with pool(database, size=3) as opened:
        lent = [await opened.getconn() for _ in range(3)]
        pids = [each.info.backend_pid for each in lent]
        async with await psycopg.AsyncConnection.connect(database, autocommit=True) as other:
            for each in lent:
                await each.execute("select 1")
                await opened.putconn(each)
            await other.execute("select pg_terminate_backend(pid) from unnest(%s::int[]) as ended (pid)", [pids])
        broke = 0
        for _ in pids:
            try:
                async with opened.connection() as connection:
                    await connection.execute("select 1")
            except psycopg.OperationalError:
                broke += 1
        assert broke == 1, "the first one is lent unasked; behind it everybody is asked"
