"""Building beside the live one: resumed after a kill, compared, switched under the eyes of readers."""

import asyncio

import psycopg
import pytest

from domain.errors import Refused, Unavailable
from projections.projector import (
    Applied,
    Comparison,
    Connections,
    Progress,
    Projection,
    Slice,
    advance,
    advancing,
    building,
    generation,
    generations,
    reading,
    rebuild,
    wait_until,
)
from projections.projector.locking import building as build_lock
from tests.projections.samples import BrokenTallies, Lines, Tallies, TalliesTwo, some_log
from tests.support.projections import Writing, assert_same, built, contents


class Killed(BaseException):
    """As good as kill -9: nobody catches it."""


async def tables_of(connections: Connections, projection: Projection) -> dict[str, list[str]]:
    async with connections.connection() as connection:
        return await contents(connection, projection.tables())


async def schemas(connections: Connections) -> list[str]:
    query = "select nspname from pg_namespace where nspname like 'rebuild_%'"
    async with connections.connection() as connection:
        return [row[0] for row in await (await connection.execute(query)).fetchall()]


async def test_the_first_build_makes_the_projection_live_at_the_head(connections: Connections) -> None:
    log, told = some_log(300), list[Progress]()
    rebuilt = await rebuild(connections, log.store, Lines(), progress=told.append)
    assert (rebuilt.generation.status, rebuilt.generation.position) == ("live", 300)
    assert rebuilt.comparison.live is None
    assert rebuilt.comparison.differences() == []
    assert not rebuilt.comparison.equal
    assert told[-1].position == told[-1].head == 300
    assert told[-1].rate > 0
    assert told[-1].eta == 0
    assert await schemas(connections) == []
    assert_same(await tables_of(connections, Lines()), await built(connections, Lines(), log.events), "first build")


async def test_a_build_of_several_slices_tells_its_progress(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advancing, "SLICE", 40)
    log, told = some_log(300), list[Progress]()
    await rebuild(connections, log.store, Tallies(), progress=told.append)
    positions = [each.position for each in told]
    assert positions == sorted(positions)
    assert len(positions) > 5
    assert told[0].eta is not None
    assert told[0].eta > 0
    assert_same(await tables_of(connections, Tallies()), await built(connections, Tallies(), log.events), "in slices")


async def test_a_higher_version_is_built_beside_the_live_one_and_switched_in(connections: Connections) -> None:
    log = some_log(200)
    await rebuild(connections, log.store, Tallies())
    rebuilt = await rebuild(connections, log.store, TalliesTwo())
    assert rebuilt.generation.version == 2
    assert rebuilt.comparison.live is None  # another version's rows are not expected to be the same
    async with connections.connection() as connection:
        assert [(each.version, each.status) for each in await generations(connection)] == [(2, "live")]
    with pytest.raises(Unavailable, match="live in version 2 and this program makes version 1"):
        await rebuild(connections, log.store, Tallies())


async def test_a_rebuild_of_the_same_version_finds_the_rows_equal(connections: Connections) -> None:
    log = some_log(200)
    await rebuild(connections, log.store, Lines())
    comparison = (await rebuild(connections, log.store, Lines())).comparison
    assert comparison.comparable
    assert comparison.equal
    assert comparison.differences() == []
    assert comparison.live is not None
    assert comparison.live.totals == comparison.built.totals


async def test_a_rebuild_names_rows_that_drifted_and_can_be_declined(connections: Connections) -> None:
    log, seen = some_log(200), list[Comparison]()
    await rebuild(connections, log.store, Lines())
    async with connections.connection() as connection:
        await connection.execute("update sample_lines set amount = amount + 1 where position = (select max(position)"
                                 " from sample_lines)")  # fmt: skip
        await connection.execute("delete from sample_sums")
    drifted = await tables_of(connections, Lines())

    def decline(comparison: Comparison) -> bool:
        seen.append(comparison)
        return False

    with pytest.raises(Refused, match="sample_sums: 0 rows live, 5 rows rebuilt"):
        await rebuild(connections, log.store, Lines(), accept=decline)
    assert seen[0].comparable
    assert not seen[0].equal
    assert [each.partition(":")[0] for each in seen[0].differences()] == ["sample_lines", "sample_sums", "amount"]
    assert_same(await tables_of(connections, Lines()), drifted, "a declined build changed the live tables")
    assert await schemas(connections) == []
    await rebuild(connections, log.store, Lines())
    assert_same(await tables_of(connections, Lines()), await built(connections, Lines(), log.events), "repaired")


async def test_a_killed_build_is_taken_up_where_it_stood(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advancing, "SLICE", 50)
    log, told = some_log(400), list[Progress]()

    def die_half_way(progress: Progress) -> None:
        if progress.position >= 200:
            raise Killed

    with pytest.raises(Killed):
        await rebuild(connections, log.store, Tallies(), progress=die_half_way)
    async with connections.connection() as connection:
        left = await generation(connection, "sample_tallies", "building")
    assert left is not None
    assert 0 < left.position < 400
    await rebuild(connections, log.store, Tallies(), progress=told.append)
    assert told[0].position > left.position
    assert_same(await tables_of(connections, Tallies()), await built(connections, Tallies(), log.events), "resumed")


async def test_a_build_left_by_another_version_is_begun_anew(connections: Connections) -> None:
    log = some_log(100)

    def die(progress: Progress) -> None:
        raise Killed

    with pytest.raises(Killed):
        await rebuild(connections, log.store, Tallies(), progress=die)
    rebuilt = await rebuild(connections, log.store, TalliesTwo())
    assert (rebuilt.generation.version, rebuilt.generation.position) == (2, 100)
    assert await schemas(connections) == []


async def test_only_one_process_builds_a_projection(connections: Connections) -> None:
    async with build_lock(connections, "sample_lines"):
        with pytest.raises(Unavailable, match="being built by another process"):
            await rebuild(connections, Writing().store, Lines())
    await rebuild(connections, Writing().store, Lines())


async def test_the_live_projection_moves_on_during_a_rebuild_and_nothing_is_lost(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advancing, "SLICE", 50)
    log = some_log(300)
    live = (await rebuild(connections, Writing().store, Lines())).generation
    position = 0

    async def follow() -> None:
        nonlocal live, position
        async with connections.connection() as connection:
            while position < 300:
                batch = Slice(position, position + 20, [Applied(each) for each in log.events[position : position + 20]])
                live = (await advance(connection, Lines(), live, batch)).generation
                position = live.position

    follower = asyncio.create_task(follow())
    await asyncio.sleep(0.02)
    steps = list[int]()
    for _ in range(3):
        with_switch = await rebuild(connections, log.store, Lines())
        steps.append(with_switch.generation.position)
        if follower.done():
            break
    with_error = (await asyncio.gather(follower, return_exceptions=True))[0]
    assert with_error is None or "left it old" in str(with_error)
    last = await rebuild(connections, log.store, Lines())
    assert last.comparison.equal
    upto = last.generation.position
    assert upto >= max(steps)
    assert_same(await tables_of(connections, Lines()), await built(connections, Lines(), log.events[:upto]), "live")


@pytest.mark.parametrize(
    "more",
    ["create function left() returns int language sql as 'select 1'", "create view v as select * from sample_lines"],
)
async def test_a_script_that_makes_more_than_tables_is_not_switched_in(connections: Connections, more: str) -> None:
    class WithMore(Lines, registered=False):
        name = "sample_lines"

        def ddl(self) -> str:
            return super().ddl() + more

    await rebuild(connections, Writing().store, Lines())
    with pytest.raises(psycopg.errors.DependentObjectsStillExist):
        await rebuild(connections, some_log(50).store, WithMore())
    async with reading(connections, Lines) as read:
        assert read.position == 0


async def test_readers_always_see_one_whole_build_while_it_is_switched(connections: Connections) -> None:
    """Rows, position and sums of every snapshot belong together, in hundreds of reads during a dozen of switches."""
    log, reads, stop = some_log(120), list[int](), asyncio.Event()
    await rebuild(connections, log.store, Lines())
    whole = await tables_of(connections, Lines())

    async def read_on() -> None:
        while not stop.is_set():
            async with reading(connections, Lines) as read:
                await asyncio.sleep(0.001)  # a switch in this moment has to wait
                assert read.position == 120
                assert_same(await contents(read.connection, Lines().tables()), whole, "a torn read")
            reads.append(1)

    async def read_plainly() -> None:
        """Without the snapshot: single statements, prepared by the driver after a few rounds."""
        while not stop.is_set():
            async with connections.connection() as connection:
                assert_same(await contents(connection, Lines().tables()), whole, "a torn statement")
            reads.append(1)

    readers = [asyncio.create_task(each()) for each in (read_on, read_on, read_plainly)]
    for _ in range(12):
        await rebuild(connections, log.store, Lines())
    stop.set()
    await asyncio.gather(*readers)
    assert len(reads) > 100


async def test_a_snapshot_that_is_older_than_a_switch_would_be_torn_without_the_lock(connections: Connections) -> None:
    """The planted bug of `reading`: the snapshot first, the table's lock later, a switch in between."""
    log = some_log(120)
    await rebuild(connections, log.store, Lines())
    async with connections.connection() as connection, connection.transaction():
        await connection.execute("set transaction isolation level repeatable read")
        await connection.execute("select position from projection_positions where status = 'live'")
        await rebuild(connections, log.store, Lines())
        torn = await contents(connection, Lines().tables())
    assert torn == {"sample_lines": [], "sample_sums": []}


async def test_a_long_reader_delays_the_switch_and_is_never_cut_off(connections: Connections) -> None:
    log = some_log(60)
    await rebuild(connections, log.store, Lines())
    async with reading(connections, Lines) as read:
        switching = asyncio.create_task(rebuild(connections, log.store, Lines()))
        await asyncio.sleep(0.2)
        assert not switching.done()
        assert len((await contents(read.connection, ["sample_lines"]))["sample_lines"]) > 0
    await switching


async def test_a_switch_that_readers_block_for_too_long_gives_up(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "SWITCH_PATIENCE", 0.0)
    log = some_log(60)
    await rebuild(connections, log.store, Lines())
    async with reading(connections, Lines):
        with pytest.raises(Unavailable, match="readers hold its old tables"):
            await rebuild(connections, log.store, Lines())
    assert (await rebuild(connections, log.store, Lines())).comparison.equal


async def test_what_was_parked_is_folded_again_by_a_rebuild(connections: Connections) -> None:
    log = some_log(200)
    await rebuild(connections, log.store, BrokenTallies())
    async with connections.connection() as connection:
        query = "select count(*) from projection_parked"
        before = (await (await connection.execute(query)).fetchall())[0][0]
        await rebuild(connections, log.store, Tallies())
        after = (await (await connection.execute(query)).fetchall())[0][0]
    assert before > 0
    assert after == 0
    assert_same(await tables_of(connections, Tallies()), await built(connections, Tallies(), log.events), "repaired")


async def test_reading_before_the_first_build_or_of_another_version_says_so(connections: Connections) -> None:
    with pytest.raises(Unavailable, match="is being built"):
        async with reading(connections, Lines):
            raise AssertionError
    await rebuild(connections, some_log(20).store, Tallies())
    with pytest.raises(Unavailable, match=r"sample_tallies \(version 2\) is being built"):
        async with reading(connections, TalliesTwo):
            raise AssertionError
    async with reading(connections, Tallies()) as read:
        assert read.positions == {"sample_tallies": 20}


async def test_a_waiter_is_woken_by_the_position_and_not_by_a_build(connections: Connections) -> None:
    log = some_log(60)
    with pytest.raises(Unavailable, match="sample_lines is being built"):
        await wait_until(connections, ["sample_lines"], 1, timeout=0.05)
    waiting = asyncio.create_task(wait_until(connections, ["sample_lines"], 60, timeout=10))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await rebuild(connections, log.store, Lines())
    await waiting
    with pytest.raises(Unavailable, match="position 61 is not shown yet: sample_lines is at 60"):
        await wait_until(connections, ["sample_lines"], 61, timeout=0.05)


async def test_a_waiter_outlives_connections_that_break(connections: Connections, database: str) -> None:
    waiting = asyncio.create_task(wait_until(connections, ["sample_lines"], 60, timeout=10))
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as other:
        for _ in range(20):
            await asyncio.sleep(0.01)
            await other.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and application_name = 'toybox'"
            )
    await rebuild(connections, some_log(60).store, Lines())
    await waiting
