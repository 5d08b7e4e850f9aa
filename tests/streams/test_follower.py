"""The embedded runner: up to the head, each projection on its own feet, through failures, restarts and rebuilds."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar
from uuid import UUID

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from adapters.postgres.connections import pool
from domain.errors import Unavailable
from projections.projector import (
    Applied,
    Connection,
    Connections,
    Progress,
    Projection,
    on,
    parked_keys,
    reading,
    rebuild,
)
from streams import follower as follower_module
from streams.follower import Follower, Standing
from tests.projections.samples import (
    UNLUCKY,
    BrokenTallies,
    Lines,
    Tallies,
    TalliesTwo,
    Tally,
    Teams,
    some_log,
)
from tests.support.projections import Writing, assert_same, built, contents

PATIENCE = 20.0
"""Seconds that a loaded machine may take; a test that passes is done in a fraction of one."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses, so that failures and takeovers are seen in milliseconds."""
    monkeypatch.setattr(follower_module, "STANDBY_SECONDS", 0.05)
    monkeypatch.setattr(follower_module, "OUTDATED_SECONDS", 0.05)
    monkeypatch.setattr(follower_module, "BACKOFF_SECONDS", (0.02, 0.05))


@pytest.fixture
async def connections(database: str) -> AsyncIterator[AsyncConnectionPool[Any]]:
    async with pool(database, size=8) as lent:
        yield lent


@asynccontextmanager
async def following(
    log: Writing, connections: Connections, *projections: Projection, **how: Any
) -> AsyncIterator[Follower]:
    running = Follower(log.store, connections, projections, **how)
    running.start()
    try:
        yield running
    finally:
        await running.stop()


async def assert_shows(connections: Connections, log: Writing, *projections: Projection) -> None:
    """The tables are what a fresh build of the whole log makes."""
    for each in projections:
        async with connections.connection() as connection:
            shown = await contents(connection, each.tables())
        assert_same(shown, await built(connections, each, log.events), f"{each.name} after following")


async def standing(of: Follower, name: str) -> Standing:
    return next(each for each in await of.standings() if each.projection == name)


async def until(of: Follower, name: str, *states: str) -> Standing:
    """The standing of a projection, once it is in one of these states."""
    async with asyncio.timeout(PATIENCE):
        found = await standing(of, name)
        while found.state not in states:
            await asyncio.sleep(0.02)
            found = await standing(of, name)
    return found


async def test_projections_reach_the_head_and_follow_it(connections: Connections) -> None:
    log, shown = some_log(300), (Tallies(), Teams(), Lines())
    async with following(log, connections, *shown) as running:
        names = [each.name for each in shown]
        await running.wait_for(names, 300, PATIENCE)
        await assert_shows(connections, log, *shown)
        for number in range(20):
            log.add(Tally.Opened, UUID(int=number + 1), name="new")
            await log.announce()
        await running.wait_for(names, 320, PATIENCE)
        await assert_shows(connections, log, *shown)
        assert {(each.state, each.lag, each.error) for each in await running.standings()} == {("following", 0, None)}


async def test_the_log_is_caught_up_from_where_it_was_left(connections: Connections) -> None:
    log, shown = some_log(120), (Tallies(), Lines())
    for _ in range(3):
        async with following(log, connections, *shown, batch=7) as running:
            await running.wait_for([each.name for each in shown], len(log.events), PATIENCE)
        for number in range(50):
            log.add(Tally.Added, UUID(int=1), UUID(int=5), amount=number)
    async with following(log, connections, *shown, batch=7) as running:
        await running.wait_for([each.name for each in shown], len(log.events), PATIENCE)
    await assert_shows(connections, log, *shown)


async def test_a_stop_in_the_middle_loses_and_repeats_nothing(connections: Connections) -> None:
    log, shown = some_log(400), (Tallies(), Lines())
    for _ in range(8):
        async with following(log, connections, *shown, batch=5):
            await asyncio.sleep(random.uniform(0.01, 0.1))
    async with following(log, connections, *shown) as running:
        await running.wait_for([each.name for each in shown], 400, PATIENCE)
    await assert_shows(connections, log, *shown)


async def test_a_broken_projection_stops_nobody_else_and_recovers(connections: Connections) -> None:
    class Misspelled(Lines, registered=False):
        name = "sample_lines"
        table: ClassVar[str] = "sample_lyrics"

        @on(Tally.Added)
        async def apply(self, connection: Connection, batch: Sequence[Applied]) -> None:
            if self.table == "sample_lyrics":
                await connection.execute("select * from sample_lyrics")
            await Lines.apply(self, connection, batch)

    log = Writing()
    async with following(log, connections, Tallies(), Misspelled()) as running:
        await until(running, "sample_lines", "following")
        for number in range(10):
            log.add(Tally.Added, UUID(int=1), UUID(int=5), amount=number)
        await log.announce()
        await running.wait_for(["sample_tallies"], 10, PATIENCE)
        stuck = await until(running, "sample_lines", "retrying")
        assert (stuck.position, stuck.lag) == (0, 10)
        assert stuck.error is not None
        assert "sample_lyrics" in stuck.error
        with pytest.raises(Unavailable, match="position 10 is not shown yet: sample_lines is at 0"):
            await running.wait_for(["sample_tallies", "sample_lines"], 10, 0.1)
        Misspelled.table = "sample_lines"
        await running.wait_for(["sample_lines"], 10, PATIENCE)
        assert (await standing(running, "sample_lines")).error is None
    await assert_shows(connections, log, Lines())


async def test_a_parked_key_does_not_hold_up_its_projection(connections: Connections) -> None:
    log = some_log(200)
    log.add(Tally.Added, log.events[0].stream_id, log.events[0].project_id, amount=UNLUCKY)
    async with following(log, connections, BrokenTallies(), batch=20) as running:
        await running.wait_for(["sample_tallies"], 201, PATIENCE)
        async with connections.connection() as connection:
            assert len(await parked_keys(connection, "sample_tallies")) > 0


async def test_a_waiter_has_a_real_timeout(connections: Connections) -> None:
    log = some_log(20)
    async with following(log, connections, Tallies()) as running:
        await running.wait_for(["sample_tallies"], 20, PATIENCE)
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(Unavailable, match="sample_tallies is at 20") as caught:
                await running.wait_for(["sample_tallies"], 21, 0.1)
        assert caught.value.code == "behind"


async def test_a_process_without_a_runner_waits_by_the_table(connections: Connections) -> None:
    log = some_log(50)
    elsewhere = Follower(log.store, connections, [])
    async with following(log, connections, Tallies()):
        await elsewhere.wait_for(["sample_tallies"], 50, PATIENCE)
        waiting = asyncio.create_task(elsewhere.wait_for(["sample_tallies"], 51, PATIENCE))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        log.add_unknown(UUID(int=1))
        await log.announce()
        await waiting
    await elsewhere.stop()


async def test_one_process_leads_and_another_takes_over(connections: Connections) -> None:
    log = some_log(100)
    async with following(log, connections, Lines()) as second:
        await until(second, "sample_lines", "following")
        async with following(log, connections, Lines()) as first:
            await until(first, "sample_lines", "standby")
            await first.wait_for(["sample_lines"], 100, PATIENCE)
            await second.stop()
            await until(first, "sample_lines", "following")
            log.add(Tally.Added, UUID(int=1), UUID(int=5), amount=3)
            await log.announce()
            await first.wait_for(["sample_lines"], 101, PATIENCE)
    await assert_shows(connections, log, Lines())


async def test_two_followers_without_a_lock_write_every_event_once(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock only saves work: the compared position alone keeps two leaders apart."""

    async def everybody(self: object, projection: str) -> bool:
        return True

    monkeypatch.setattr("projections.projector.Leadership.take", everybody)
    log = some_log(400)
    await rebuild(connections, Writing().store, Lines())
    async with (
        following(log, connections, Lines(), batch=5) as one,
        following(log, connections, Lines(), batch=7) as two,
    ):
        await one.wait_for(["sample_lines"], 400, PATIENCE)
        await two.wait_for(["sample_lines"], 400, PATIENCE)
    await assert_shows(connections, log, Lines())


async def test_followers_survive_the_loss_of_every_connection(connections: Connections, database: str) -> None:
    log, shown = some_log(100), (Tallies(), Lines())
    async with following(log, connections, *shown, batch=3) as running:
        for _ in range(4):
            async with await psycopg.AsyncConnection.connect(database, autocommit=True) as killer:
                await killer.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity"
                    " where datname = current_database() and pid <> pg_backend_pid()"
                )
            for number in range(50):
                log.add(Tally.Added, UUID(int=1), UUID(int=5), amount=number)
            await log.announce()
            await asyncio.sleep(0.05)
        await running.wait_for([each.name for each in shown], len(log.events), PATIENCE)
    await assert_shows(connections, log, *shown)


async def test_a_newer_version_takes_over_from_an_older_process_that_still_runs(connections: Connections) -> None:
    log, told = some_log(200), list[Progress]()
    async with following(log, connections, Tallies()) as old:
        await until(old, "sample_tallies", "following")
        async with following(log, connections, TalliesTwo(), progress=told.append) as new:
            await until(new, "sample_tallies", "standby", "following")
            log.add(Tally.Added, UUID(int=1), UUID(int=5), amount=1)
            await log.announce()  # moves the old leader, which finds that its generation is no longer live
            outdated = await until(old, "sample_tallies", "outdated")
            assert outdated.error is not None
            assert "version 2 is live and this program has version 1" in outdated.error
            await until(new, "sample_tallies", "following")
            await new.wait_for(["sample_tallies"], 201, PATIENCE)
            async with reading(connections, TalliesTwo) as read:
                assert read.position == 201
    assert told[-1].version == 2
    await assert_shows(connections, log, TalliesTwo())


async def test_two_processes_that_need_the_same_build_make_it_once(connections: Connections) -> None:
    log, told = some_log(300), list[Progress]()
    async with (
        following(log, connections, Lines(), progress=told.append) as one,
        following(log, connections, Lines(), progress=told.append) as two,
    ):
        await one.wait_for(["sample_lines"], 300, PATIENCE)
        await two.wait_for(["sample_lines"], 300, PATIENCE)
        states = {"building"}
        async with asyncio.timeout(PATIENCE):  # the one that finds it built looks a moment after its readers
            while not states <= {"following", "standby"}:
                states = {(await standing(each, "sample_lines")).state for each in (one, two)}
                await asyncio.sleep(0.01)
    assert [each.position for each in told].count(300) == 1
    await assert_shows(connections, log, Lines())


async def test_a_rebuild_asked_for_while_the_follower_runs_is_taken_over_by_it(connections: Connections) -> None:
    log = some_log(200)
    async with following(log, connections, Lines(), Tallies()) as running:
        await running.wait_for(["sample_lines"], 200, PATIENCE)
        for number in range(5):
            rebuilding = asyncio.create_task(rebuild(connections, log.store, Lines()))
            for amount in range(20):
                log.add(Tally.Added, UUID(int=number + 1), UUID(int=5), amount=amount)
                await log.announce()
                await asyncio.sleep(0)
            assert (await rebuilding).comparison.equal
        await running.wait_for(["sample_lines", "sample_tallies"], len(log.events), PATIENCE)
    await assert_shows(connections, log, Lines(), Tallies())


async def test_an_event_from_the_future_stops_only_those_that_hear_it(connections: Connections) -> None:
    log = some_log(50)
    async with following(log, connections, Lines(), Tallies()) as running:
        await running.wait_for(["sample_lines", "sample_tallies"], 50, PATIENCE)
        log.add_raw("sample_tally.opened", 2, b'{"name":"x"}', UUID(int=1))
        log.add(Tally.Added, UUID(int=2), UUID(int=5), amount=1)
        await log.announce()
        await running.wait_for(["sample_lines"], 52, PATIENCE)
        stopped = await until(running, "sample_tallies", "outdated")
        assert (stopped.position, stopped.lag) == (50, 2)
        assert stopped.error is not None
        assert "upgrade this process" in stopped.error
        async with connections.connection() as connection:
            assert await parked_keys(connection) == []
