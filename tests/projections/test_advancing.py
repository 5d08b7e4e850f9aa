"""One batch, one transaction: rows and position together, zombies refused, failing keys parked and taken up again."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import psycopg
import pytest

from adapters.memory import MemoryStore
from domain.errors import NotFound, Unavailable
from domain.log import StoredEvent
from domain.values import derived_id
from projections.projector import (
    Applied,
    Connection,
    Connections,
    Generation,
    Projection,
    Slice,
    Superseded,
    advance,
    generation,
    incomplete_since,
    on,
    parked_keys,
    rebuild,
    retry,
)
from tests.projections.samples import UNLUCKY, BrokenTallies, Lines, Tallies, Tally, some_log
from tests.support.projections import START, Writing, assert_same, built, contents

ONE, TWO = derived_id("project", "one"), derived_id("project", "two")


async def live(connections: Connections, projection: Projection) -> Generation:
    async with connections.connection() as connection:
        found = await generation(connection, projection.name, "live")
    assert found is not None
    return found


async def begun(connections: Connections, projection: Projection) -> Generation:
    """The projection with empty tables, live at position 0."""
    return (await rebuild(connections, Writing().store, projection)).generation


def slice_of(log: Writing, after: int = 0, up_to: int | None = None) -> Slice:
    events = log.events[after:up_to]
    return Slice(after, events[-1].position, [Applied(each) for each in events])


async def rows(connections: Connections, projection: Projection) -> dict[str, list[str]]:
    async with connections.connection() as connection:
        return await contents(connection, projection.tables())


def with_an_unlucky_event() -> Writing:
    """Tallies of two projects; an amount of 13 in the first, at position 4, and events of both after it."""
    log = Writing()
    first, second, other = UUID(int=1), UUID(int=2), UUID(int=3)
    log.add(Tally.Opened, first, ONE, name="first")
    log.add(Tally.Opened, other, TWO, name="other")
    log.add(Tally.Added, first, ONE, amount=1)
    log.add(Tally.Added, first, ONE, amount=UNLUCKY)
    log.add(Tally.Added, first, ONE, amount=2)
    log.add(Tally.Added, other, TWO, amount=5)
    log.add(Tally.Opened, second, ONE, name="second")
    return log


async def test_rows_and_position_move_together(connections: Connections) -> None:
    log, projection = some_log(100), Lines()
    of = await begun(connections, projection)
    async with connections.connection() as connection:
        advanced = await advance(connection, projection, of, slice_of(log))
    assert advanced.generation.position == (await live(connections, projection)).position == 100
    assert_same(await rows(connections, projection), await built(connections, projection, log.events), "advanced")


async def test_a_crash_between_apply_and_commit_leaves_neither_rows_nor_position(connections: Connections) -> None:
    class Crash(OSError):
        pass

    class Crashing(Lines, registered=False):
        name = "sample_lines"

        @on(Tally.Added)
        async def apply(self, connection: Connection, batch: Sequence[Applied]) -> None:
            await Lines.apply(self, connection, batch)
            raise Crash

    log, projection = some_log(100), Lines()
    of = await begun(connections, projection)
    async with connections.connection() as connection:
        first = (await advance(connection, projection, of, slice_of(log, up_to=40))).generation
        with pytest.raises(Crash):
            await advance(connection, Crashing(), first, slice_of(log, after=40))
    assert (await live(connections, projection)).position == 40
    assert_same(await rows(connections, projection), await built(connections, projection, log.events[:40]), "crashed")
    async with connections.connection() as connection:
        await advance(connection, projection, first, slice_of(log, after=40))
    assert_same(await rows(connections, projection), await built(connections, projection, log.events), "went on")


async def test_a_zombie_follower_writes_nothing_and_is_told(connections: Connections) -> None:
    log, projection = some_log(100), Lines()
    zombie = await begun(connections, projection)
    async with connections.connection() as connection:
        await advance(connection, projection, zombie, slice_of(log, up_to=60))
        before = await contents(connection, projection.tables())
        with pytest.raises(Superseded, match="another follower left it live at position 60; this one stops writing"):
            await advance(connection, projection, zombie, slice_of(log))
    assert_same(await rows(connections, projection), before, "the zombie wrote")


async def test_a_follower_of_a_replaced_generation_writes_nothing(connections: Connections) -> None:
    log, projection = some_log(50), Lines()
    old = await begun(connections, projection)
    await rebuild(connections, log.store, projection)
    async with connections.connection() as connection:
        with pytest.raises(Superseded, match="left it old at position 0"):
            await advance(connection, projection, old, slice_of(log))


async def test_a_generation_that_never_was_is_told(connections: Connections) -> None:
    of = replace(await begun(connections, Lines()), generation=4711)
    async with connections.connection() as connection:
        with pytest.raises(Superseded, match="it was dropped"):
            await advance(connection, Lines(), of, slice_of(some_log(5)))


async def test_a_slice_that_does_not_continue_is_a_mistake(connections: Connections) -> None:
    of = await begun(connections, Lines())
    async with connections.connection() as connection:
        with pytest.raises(ValueError, match="does not continue a projection at 0"):
            await advance(connection, Lines(), of, slice_of(some_log(20), after=10))


async def test_a_failing_event_parks_its_key_and_nobody_else(connections: Connections) -> None:
    log, projection = with_an_unlucky_event(), BrokenTallies()
    of = await begun(connections, projection)
    async with connections.connection() as connection:
        advanced = await advance(connection, projection, of, slice_of(log))
        assert advanced.generation.position == 7
        held = await parked_keys(connection, projection.name)
        assert [(each.key, each.position, each.type) for each in held] == [(ONE, 4, "sample_tally.added")]
        assert held[0].reason == "ValueError: 13 is not an amount"
        assert await incomplete_since(connection, projection.name, ONE) == 4
        assert await incomplete_since(connection, projection.name, TWO) is None
        assert await incomplete_since(connection, projection.name) == 4
        views = {row.view.name: row.view.total for row in (await projection.page(connection)).items}
        assert views == {"first": 1, "other": 5}  # what came before it is kept, what came after it waits


async def test_later_events_of_a_parked_key_wait_in_later_batches_too(connections: Connections) -> None:
    log, projection = with_an_unlucky_event(), BrokenTallies()
    of = await begun(connections, projection)
    async with connections.connection() as connection:
        for after, up_to in ((0, 4), (4, 6), (6, 7)):
            of = (await advance(connection, projection, of, slice_of(log, after, up_to))).generation
        views = {row.view.name: row.view.total for row in (await projection.page(connection)).items}
        assert views == {"first": 1, "other": 5}
        assert len(await parked_keys(connection)) == 1


async def test_a_retry_after_the_fix_makes_the_rows_as_if_nothing_had_failed(connections: Connections) -> None:
    log = with_an_unlucky_event()
    of = await begun(connections, BrokenTallies())
    async with connections.connection() as connection:
        await advance(connection, BrokenTallies(), of, slice_of(log))
    retried = await retry(connections, log.store, Tallies(), ONE)
    assert (retried.applied, retried.parked) == (3, None)
    assert_same(await rows(connections, Tallies()), await built(connections, Tallies(), log.events), "retried")
    async with connections.connection() as connection:
        assert await parked_keys(connection) == []
        assert await incomplete_since(connection, "sample_tallies", ONE) is None
    with pytest.raises(NotFound, match="is not parked"):
        await retry(connections, log.store, Tallies(), ONE)


async def test_a_batch_that_waited_for_a_retry_knows_that_the_key_is_free_again(connections: Connections) -> None:
    """The parked keys must be read after the wait: a batch that used the older list would lose its events."""
    log, asked, go_on = with_an_unlucky_event(), asyncio.Event(), asyncio.Event()
    of = await begun(connections, BrokenTallies())
    async with connections.connection() as connection:
        of = (await advance(connection, BrokenTallies(), of, slice_of(log))).generation
    log.add(Tally.Added, UUID(int=1), ONE, amount=100)

    class Slow(MemoryStore):
        async def read(self, after: int, limit: int, **how: Any) -> Sequence[StoredEvent]:
            asked.set()
            await go_on.wait()
            return await super().read(after, limit, **how)

    slow = Slow(lambda: START)
    slow.append(log.events, [])
    retrying = asyncio.create_task(retry(connections, slow, Tallies(), ONE))
    await asked.wait()
    async with connections.connection() as connection:
        following = asyncio.create_task(advance(connection, Tallies(), of, slice_of(log, after=7)))
        await asyncio.sleep(0.2)
        assert not following.done()
        go_on.set()
        assert (await following).applied == 1
    assert (await retrying).applied == 3
    assert_same(await rows(connections, Tallies()), await built(connections, Tallies(), log.events), "retried")


async def test_a_retry_that_fails_again_stays_parked_where_it_fails_now(connections: Connections) -> None:
    log = with_an_unlucky_event()
    log.add(Tally.Added, UUID(int=2), ONE, amount=3)
    of = await begun(connections, BrokenTallies())
    async with connections.connection() as connection:
        await advance(connection, BrokenTallies(), of, slice_of(log))
    retried = await retry(connections, log.store, BrokenTallies(), ONE)
    assert retried.applied == 0
    assert retried.parked is not None
    assert retried.parked.position == 4
    async with connections.connection() as connection:
        assert [each.position for each in await parked_keys(connection)] == [4]


async def test_a_key_without_a_project_is_parked_and_retried_by_its_stream(connections: Connections) -> None:
    log, stream = Writing(), UUID(int=9)
    log.add(Tally.Opened, stream, name="alone")
    log.add(Tally.Added, stream, amount=UNLUCKY)
    log.add(Tally.Added, stream, amount=1)
    of = await begun(connections, BrokenTallies())
    async with connections.connection() as connection:
        await advance(connection, BrokenTallies(), of, slice_of(log))
        assert [each.key for each in await parked_keys(connection)] == [stream]
    assert (await retry(connections, log.store, Tallies(), stream)).applied == 2
    assert_same(await rows(connections, Tallies()), await built(connections, Tallies(), log.events), "retried")


async def test_a_value_that_the_table_refuses_parks_its_key(connections: Connections) -> None:
    log = Writing()
    log.add(Tally.Added, UUID(int=1), ONE, amount=1)
    log.add(Tally.Added, UUID(int=1), ONE, amount=666)
    log.add(Tally.Added, UUID(int=2), TWO, amount=2)
    of = await begun(connections, Lines())
    async with connections.connection() as connection:
        await advance(connection, Lines(), of, slice_of(log))
        held = await parked_keys(connection)
        assert [(each.key, each.position) for each in held] == [(ONE, 2)]
        assert "violates check constraint" in held[0].reason
        assert await Lines().totals(connection) == {"amount": "3"}


async def test_a_wrong_statement_parks_nothing_and_stops_the_projection(connections: Connections) -> None:
    class Misspelled(Lines, registered=False):
        name = "sample_lines"

        @on(Tally.Added)
        async def apply(self, connection: Connection, batch: Sequence[Applied]) -> None:
            await connection.execute("insert into sample_lyrics values (1)")

    of = await begun(connections, Lines())
    async with connections.connection() as connection:
        with pytest.raises(psycopg.errors.UndefinedTable):
            await advance(connection, Misspelled(), of, slice_of(some_log(20)))
        assert await parked_keys(connection) == []
    assert (await live(connections, Lines())).position == 0


async def test_an_event_from_the_future_stops_the_projection_right_before_it(connections: Connections) -> None:
    log, projection = Writing(), Tallies()
    log.add(Tally.Opened, UUID(int=1), ONE, name="a")
    log.add_unknown(UUID(int=1), ONE)  # nobody here hears it: passed over
    log.add(Tally.Added, UUID(int=1), ONE, amount=1)
    log.add_raw("sample_tally.added", 2, b'{"amount":1}', UUID(int=1), ONE)
    of = await begun(connections, projection)
    async with connections.connection() as connection:
        stopped = (await advance(connection, projection, of, slice_of(log))).generation
        assert stopped.position == 3
        with pytest.raises(Unavailable, match="written by a newer toybox") as caught:
            await advance(connection, projection, stopped, slice_of(log))
        assert caught.value.code == "newer_event"
        assert await parked_keys(connection) == []
    assert (await live(connections, projection)).position == 3
