"""Documents in Postgres: found, filtered, paged without a gap, and folded from the log as of any position."""

from uuid import UUID

import pytest

from domain.errors import Refused, Unavailable
from domain.values import derived_id
from projections.folding import fold_document, moments
from projections.projector import Connections, reading, rebuild
from tests.projections.samples import Tallies, Tally, TallyView, Teams, some_log
from tests.support.projections import Writing

ONE, TWO = derived_id("project", "one"), derived_id("project", "two")


def small_log() -> Writing:
    log = Writing()
    for number, (project, name) in enumerate([(ONE, "b"), (ONE, "a"), (TWO, "c"), (None, "a")], 1):
        log.add(Tally.Opened, UUID(int=number), project, name=name)
    log.add(Tally.Added, UUID(int=1), ONE, amount=5)
    log.add(Tally.Added, UUID(int=3), TWO, amount=9)
    return log


async def test_a_document_is_found_with_the_position_it_is_true_for(connections: Connections) -> None:
    await rebuild(connections, small_log().store, Tallies())
    async with reading(connections, Tallies) as read:
        row = await Tallies.find(read.connection, UUID(int=1))
        assert row is not None
        assert (row.project_id, row.position, row.view) == (ONE, 5, TallyView(name="b", total=5, last=5))
        assert await Tallies.find(read.connection, UUID(int=99)) is None
        assert await Tallies.many(read.connection, []) == []
        assert len(await Tallies.many(read.connection, [UUID(int=1), UUID(int=2)])) == 2


async def test_a_closed_document_is_gone(connections: Connections) -> None:
    log = small_log()
    await rebuild(connections, log.store, Tallies())
    log.add(Tally.Closed, UUID(int=1), ONE)
    log.add(Tally.Closed, UUID(int=77), ONE)  # one that never was
    await rebuild(connections, Writing().store, Teams())
    rebuilt = await rebuild(connections, log.store, Tallies(), accept=lambda _: True)
    assert rebuilt.generation.position == 6  # the live position: a rebuild shows what the live one shows
    assert await fold_document(Tallies(), log.store, UUID(int=1), ONE) is None
    assert await fold_document(Tallies(), log.store, UUID(int=1), ONE, up_to=6) == TallyView(name="b", total=5, last=5)


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ({}, ["a", "a", "b", "c"]),
        ({"project_id": ONE}, ["a", "b"]),
        ({"project_id": None}, ["a"]),
        ({"name": "a"}, ["a", "a"]),
        ({"name": ["b", "c"]}, ["b", "c"]),
        ({"total": 9}, ["c"]),
        ({"last": None, "name": "a"}, ["a", "a"]),
        ({"key": [UUID(int=3)]}, ["c"]),
        ({"name": []}, []),
    ],
)
async def test_a_list_is_filtered_by_its_columns(
    connections: Connections, where: dict[str, object], names: list[str]
) -> None:
    await rebuild(connections, small_log().store, Tallies())
    async with reading(connections, Tallies) as read:
        page = await Tallies.page(read.connection, where=where, order_by="name")
        assert [row.view.name for row in page.items] == names
        assert page.next is None


@pytest.mark.parametrize("order_by", ["key", "position", "name", "total"])
@pytest.mark.parametrize("descending", [False, True])
async def test_pages_cover_a_list_once_and_in_order(connections: Connections, order_by: str, descending: bool) -> None:
    await rebuild(connections, some_log(300).store, Tallies())
    async with reading(connections, Tallies) as read:
        whole = await Tallies.page(read.connection, order_by=order_by, descending=descending, limit=1000)
        assert whole.next is None
        seen, cursor = list[UUID](), None
        while True:
            page = await Tallies.page(read.connection, order_by=order_by, descending=descending, cursor=cursor, limit=3)
            assert len(page.items) <= 3
            seen += [row.key for row in page.items]
            cursor = page.next
            if cursor is None:
                break
        assert len(seen) > 10
        assert seen == [row.key for row in whole.items]
        if order_by == "total":
            totals = [row.view.total for row in whole.items]
            assert totals == sorted(totals, reverse=descending)


@pytest.mark.parametrize("cursor", ["nonsense", "é", "WzFd", "e30", "", "WyJhIiwiYiIsImMiXQ"])
async def test_a_foreign_cursor_is_refused(connections: Connections, cursor: str) -> None:
    await rebuild(connections, small_log().store, Tallies())
    async with reading(connections, Tallies) as read:
        other = (await Tallies.page(read.connection, order_by="name", limit=1)).next
        for each in filter(None, (cursor, other)):
            with pytest.raises(Refused, match="does not belong to this list"):
                await Tallies.page(read.connection, order_by="total", cursor=each)


async def test_a_list_by_what_may_be_missing_is_a_mistake(connections: Connections) -> None:
    await rebuild(connections, small_log().store, Tallies())
    async with reading(connections, Tallies) as read:
        with pytest.raises(ValueError, match="not by last"):
            await Tallies.page(read.connection, order_by="last")
        with pytest.raises(ValueError, match="no column colour"):
            await Tallies.page(read.connection, where={"colour": "red"})


async def test_every_moment_of_a_document_can_be_replayed() -> None:
    log = small_log()
    views = [(each.stored.position, each.view) async for each in moments(Teams(), log.store, ONE, ONE)]
    assert [(position, view.happened if view else 0) for position, view in views] == [(1, 1), (2, 2), (5, 3)]
    alone = [each.view async for each in moments(Tallies(), log.store, UUID(int=4), None)]
    assert alone == [TallyView(name="a")]


async def test_a_fold_over_more_than_one_read_of_the_log_misses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from projections import folding

    log = some_log(400, projects=1)
    project = derived_id("project", 0)
    whole = await fold_document(Teams(), log.store, project, project)
    monkeypatch.setattr(folding, "CHUNK", 7)
    assert whole is not None
    assert await fold_document(Teams(), log.store, project, project) == whole


async def test_a_fold_over_an_event_from_the_future_says_so() -> None:
    log = small_log()
    log.add_raw("sample_tally.added", 2, b'{"amount":1}', UUID(int=1), ONE)
    with pytest.raises(Unavailable, match="upgrade this process"):
        await fold_document(Tallies(), log.store, UUID(int=1), ONE)
