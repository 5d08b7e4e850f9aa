"""When each batch reached each read model: exactly, at the latest, not yet, parked, or late after a retry."""

from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from domain.values import derived_id
from projections.projector import (
    Connection,
    Connections,
    Delivery,
    Generation,
    Slice,
    Superseded,
    advance,
    deliveries,
    generation,
    note_applied,
    rebuild,
    retry,
)
from projections.projector.delivering import sweep
from tests.projections.samples import BrokenTallies, Lines, Tallies, some_log
from tests.projections.test_advancing import ONE, TWO, begun, slice_of, with_an_unlucky_event
from tests.support.projections import Writing


async def only(connection: Connection, position: int, key: UUID = ONE, *, partition: int | None = None) -> Delivery:
    """What is told of the one projection of a test."""
    found = await deliveries(connection, position, key, partition=partition)
    assert len(found) == 1
    return found[0]


async def times(connection: Connection) -> dict[int, datetime]:
    """When each batch was applied, by its end."""
    rows = await connection.execute("select up_to, applied_at from projection_deliveries order by up_to")
    return dict(await rows.fetchall())


async def applied(connection: Connection, log: Writing, of: Generation, *ends: int) -> Generation:
    """Batches up to these positions."""
    for end in ends:
        of = (await advance(connection, Lines(), of, slice_of(log, of.position, end))).generation
    return of


async def test_an_event_was_applied_with_its_batch(connections: Connections) -> None:
    log, of = some_log(100), await begun(connections, Lines())
    async with connections.connection() as connection:
        await applied(connection, log, of, 40, 60)
        batches = await times(connection)
        assert list(batches) == [40, 60]
        for position, end in ((1, 40), (40, 40), (41, 60), (60, 60)):
            told = await only(connection, position)
            assert (told.applied_at, told.exact, told.applied(position)) == (batches[end], True, True)
        later = await only(connection, 61)
        assert (later.applied_at, later.applied(61), later.position) == (None, False, 60)


async def test_where_rows_were_swept_the_answer_is_a_latest_time(connections: Connections) -> None:
    log, of = some_log(100), await begun(connections, Lines())
    async with connections.connection() as connection:
        await applied(connection, log, of, 10, 20, 30, 40)
        await sweep(connection, of.generation, kept=2)
        batches = await times(connection)
        assert list(batches) == [30, 40]
        swept = await only(connection, 5)
        assert (swept.applied_at, swept.exact, swept.applied(5)) == (batches[30], False, True)
        assert (await only(connection, 21)).exact
        await sweep(connection, of.generation, kept=0)
        assert await times(connection) == {}
        unknown = await only(connection, 5)
        assert (unknown.applied_at, unknown.exact, unknown.applied(5)) == (None, False, True)


async def test_old_rows_go_in_passing(connections: Connections, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projections.projector.delivering.SWEEP_EVERY", 50)
    monkeypatch.setattr("projections.projector.delivering._SWEEP", sweeping_all_but(3))
    log, of = some_log(100), await begun(connections, Lines())
    async with connections.connection() as connection:
        of = await applied(connection, log, of, *range(5, 50, 5))
        assert len(await times(connection)) == 9
        await applied(connection, log, of, 50)
        assert list(await times(connection)) == [40, 45, 50]


def sweeping_all_but(kept: int) -> str:
    """The statement with another number of rows to keep."""
    from projections.projector import delivering

    return delivering._SWEEP.replace("%(kept)s", str(kept))


async def test_a_parked_event_waits_and_counts_as_applied_when_it_was_taken_up(connections: Connections) -> None:
    log, of = with_an_unlucky_event(), await begun(connections, BrokenTallies())
    async with connections.connection() as connection:
        of = (await advance(connection, BrokenTallies(), of, slice_of(log))).generation
        parked_at = next(each.position for each in log.events if b"13" in each.data)
        before, waits = await only(connection, parked_at - 1), await only(connection, parked_at)
        assert before.parked_since is None
        assert waits.parked_since == parked_at
        assert "13 is not an amount" in (waits.reason or "")
        assert not waits.applied(parked_at)
        assert (await only(connection, parked_at, TWO)).parked_since is None
        await retry(connections, log.store, Tallies(), ONE)
        late, batch = await only(connection, parked_at), (await times(connection))[of.position]
        assert late.applied(parked_at)
        assert late.exact
        assert late.applied_at is not None
        assert late.applied_at > batch
        assert (await only(connection, parked_at - 1)).applied_at == batch


async def test_a_retry_that_fails_again_counts_up_to_the_failure(connections: Connections) -> None:
    log, of = with_an_unlucky_event(), await begun(connections, BrokenTallies())
    async with connections.connection() as connection:
        await advance(connection, BrokenTallies(), of, slice_of(log))
    assert (await retry(connections, log.store, BrokenTallies(), ONE)).parked
    async with connections.connection() as connection:
        rows = await (await connection.execute("select count(*) from projection_retries")).fetchone()
    assert rows == (0,)


async def test_a_rebuild_tells_its_own_times_and_lets_go_of_the_earlier_ones(connections: Connections) -> None:
    log, of = some_log(50), await begun(connections, Lines())
    async with connections.connection() as connection:
        await applied(connection, log, of, 50)
        earlier = (await only(connection, 7)).applied_at
    await rebuild(connections, log.store, Lines())
    async with connections.connection() as connection:
        told = await only(connection, 7)
        assert earlier is not None
        assert told.applied_at is not None
        assert told.applied_at > earlier
        built = await generation(connection, Lines.name, "live")
        assert built is not None
        rows = await (await connection.execute("select distinct generation from projection_deliveries")).fetchall()
        assert rows == [(built.generation,)]


async def test_whoever_was_overtaken_leaves_no_row(connections: Connections) -> None:
    log, zombie = some_log(50), await begun(connections, Lines())
    async with connections.connection() as connection:
        await applied(connection, log, zombie, 30)
        before = await times(connection)
        with pytest.raises(Superseded):
            await advance(connection, Lines(), zombie, slice_of(log, 0, 30))
        with pytest.raises(Superseded):
            await advance(connection, Lines(), zombie, slice_of(log, 0, 40))
        assert await times(connection) == before


async def test_partitions_have_rows_of_their_own(connections: Connections) -> None:
    of = await begun(connections, Lines())
    async with connections.connection() as connection:
        await note_applied(connection, of.generation, after=0, up_to=80, partition=3)
        await note_applied(connection, of.generation, after=80, up_to=95, partition=3)
        await note_applied(connection, of.generation, after=0, up_to=200, partition=4)
        await note_applied(connection, of.generation, after=200, up_to=200, partition=4)
        rows = await connection.execute("select partition, up_to, applied_at from projection_deliveries")
        by_place: dict[Any, datetime] = {(row[0], row[1]): row[2] for row in await rows.fetchall()}
        assert set(by_place) == {(3, 80), (3, 95), (4, 200)}
        third = await only(connection, 90, partition=3)
        assert (third.applied_at, third.exact, third.applied(90)) == (by_place[3, 95], True, True)
        assert not (await only(connection, 96, partition=3)).applied(96)
        assert (await only(connection, 96, partition=4)).applied(96)
        assert not (await only(connection, 96)).applied(96)


async def test_a_projection_that_follows_kafka_is_as_far_as_it_is_on_the_partition(connections: Connections) -> None:
    of = await begun(connections, Lines())
    async with connections.connection() as connection:
        await connection.execute(
            "insert into projection_partitions (generation, partition, topic, position, next_offset)"
            " values (%s, 3, 'id', 95, 0), (%s, 4, 'id', 20, 0)",
            [of.generation, of.generation],
        )
        ahead, behind = await only(connection, 90, partition=3), await only(connection, 90, partition=4)
        assert (ahead.position, ahead.applied(90), ahead.applied_at) == (95, True, None)
        assert (behind.position, behind.applied(90)) == (20, False)


async def test_an_empty_batch_leaves_a_row_too_for_it_moved_the_position(connections: Connections) -> None:
    of = await begun(connections, Lines())
    async with connections.connection() as connection:
        await advance(connection, Lines(), of, Slice(0, 25, []))
        assert list(await times(connection)) == [25]
        assert (await only(connection, 25, derived_id("anybody"))).exact
