"""The ledger in Postgres: where the relay has put an event, what its command has set off, and that it stays small."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool

from adapters.postgres.connections import pool
from adapters.postgres.deliveries import PostgresLedger
from commands.ports import CommandRow
from domain.delivering import RelayedBatch, Run
from domain.log import StoredEvent
from domain.values import derived_id
from tests.projections.samples import Tally
from tests.streams.relaying import open_store
from tests.support.projections import Writing

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
TOPIC = "toybox.events"


@pytest.fixture
async def opened(database: str) -> AsyncIterator[AsyncConnectionPool[Any]]:
    """A fresh database."""
    async with pool(database, size=2) as made:
        yield made


def batch(last: int, *runs: Run, minute: int = 0) -> RelayedBatch:
    """A transaction of the relay."""
    return RelayedBatch(last, TOPIC, NOON + timedelta(minutes=minute), runs)


async def place(ledger: PostgresLedger, position: int) -> tuple[int, int] | None:
    """Partition and offset of a position."""
    found = await ledger.batch_of(position)
    if found is None or found.outdated:
        return None
    places = [(run.partition, run.offset_of(position)) for run in found.batch.runs]
    return next(((partition, offset) for partition, offset in places if offset is not None), None)


async def test_every_position_of_a_batch_has_its_place(opened: AsyncConnectionPool[Any]) -> None:
    ledger = PostgresLedger(opened)
    assert await ledger.relayed_to() is None
    assert await ledger.batch_of(1) is None
    first = batch(10, Run(0, 100, [2, 5, 6]), Run(0, 107, [9]), Run(7, 3, [3, 10]))
    await ledger.note([first, batch(12, Run(7, 6, [11, 12]), minute=1)])
    placed = {2: (0, 100), 5: (0, 101), 6: (0, 102), 9: (0, 107), 3: (7, 3), 10: (7, 4), 11: (7, 6), 12: (7, 7)}
    assert {position: await place(ledger, position) for position in placed} == placed
    assert await place(ledger, 4) is None, "it was private"
    assert await ledger.batch_of(13) is None
    found = await ledger.batch_of(5)
    assert found is not None
    assert (found.batch.last, found.batch.topic, found.batch.relayed_at) == (10, TOPIC, NOON)
    assert await ledger.relayed_to() == 12


async def test_where_kafka_was_filled_anew_only_the_new_places_count(opened: AsyncConnectionPool[Any]) -> None:
    ledger = PostgresLedger(opened)
    await ledger.note([batch(10, Run(0, 5, [1, 10])), batch(20, Run(0, 9, [15, 20]))])
    await ledger.note([batch(14, Run(0, 0, [1, 10]), minute=5)])
    assert await place(ledger, 10) == (0, 1)
    outdated = await ledger.batch_of(15)
    assert outdated is not None
    assert outdated.outdated, "the relay began anew and is not there yet"
    await ledger.note([batch(20, Run(0, 3, [15, 20]), minute=6)])
    assert await place(ledger, 15) == (0, 3)
    assert await ledger.relayed_to() == 20


async def test_a_batch_of_private_events_only_says_how_far_the_relay_is(opened: AsyncConnectionPool[Any]) -> None:
    ledger = PostgresLedger(opened)
    await ledger.note([batch(3)])
    assert await ledger.relayed_to() == 3
    assert await place(ledger, 3) is None


async def test_the_oldest_rows_go(opened: AsyncConnectionPool[Any]) -> None:
    ledger = PostgresLedger(opened, kept=100)
    for start in range(0, 2400, 300):
        await ledger.note([batch(each + 1, Run(0, each, [each + 1])) for each in range(start, start + 300)])
    async with opened.connection() as connection:
        rows = await (
            await connection.execute("select count(*), min(last), max(last) from relay_deliveries")
        ).fetchone()
    assert rows is not None
    assert rows[0] < 1000
    assert rows[2] == 2400
    assert await place(ledger, 2400) == (0, 2399)
    assert await place(ledger, 1) is None


async def test_commands_tell_their_positions_or_that_they_needed_none(
    opened: AsyncConnectionPool[Any], database: str
) -> None:
    events = a_story()
    ledger = PostgresLedger(opened)
    done, idle, never = (derived_id("command", name) for name in ("done", "idle", "never"))
    await append(database, events, [CommandRow(done, b"x", 2, 3), CommandRow(idle, b"y", None, None)])
    assert await ledger.outcomes([done, idle, never]) == {done: (2, 3), idle: None}
    assert await ledger.outcomes([]) == {}


async def test_effects_are_the_later_events_of_the_project_with_this_cause(
    opened: AsyncConnectionPool[Any], database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = a_story()
    ledger = PostgresLedger(opened)
    await append(database, events, [])
    effects = await ledger.effects(events[0])
    assert [(each.position, each.type, each.stream_id) for each in effects.events] == [
        (4, "sample_tally.added", events[3].stream_id)
    ]
    assert effects.searched_to == 4
    assert (await ledger.effects(events[1])).events == []
    assert [each.position for each in (await ledger.effects(events[2])).events] == [5]
    monkeypatch.setattr("adapters.postgres.deliveries.LOOKED_AT", 1)
    short = await ledger.effects(events[0])
    assert (short.events, short.searched_to) == ([], 2)
    assert (await ledger.effects(events[4])).searched_to == 5, "nothing comes after it"


def a_story() -> list[StoredEvent]:
    """Events of one project at 1, 2, 4, of none at 3 and 5; 1 caused 4 and 5, 3 caused 5 as well."""
    log, project = Writing(), derived_id("project")
    for number in range(1, 6):
        own = project if number in (1, 2, 4) else None
        log.add(Tally.Added, derived_id("stream", number), own, amount=number)
    one, two, three, four, five = log.events
    return [one, two, three, replace(four, causation_id=one.command_id), replace(five, causation_id=three.command_id)]


async def append(database: str, events: list[StoredEvent], commands: list[CommandRow]) -> None:
    """Into the log as they are."""
    async with open_store(database) as store, store.batch() as batch:
        await batch.open([], {}, most=1)
        await batch.commit(events, commands)
