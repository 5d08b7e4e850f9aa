"""One contract for every event store, run on memory and on Postgres; then what only Postgres can get wrong."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from adapters.memory import MemoryStore
from adapters.postgres.connections import pool
from adapters.postgres.event_store import PostgresStore
from adapters.postgres.migrate import migrate
from adapters.security.sealing import MemoryKeyring
from commands.handling import Caller, Command, Commands
from commands.ports import Snapshot
from commands.sequencer import Answer, Sequencer
from domain.errors import Refused
from domain.kernel import evolve
from domain.values import derived_id
from tests.commands.counter import Count, Counter, OpenCounter
from tests.support.story import OWNER

Store = PostgresStore | MemoryStore


@asynccontextmanager
async def postgres(database: str) -> AsyncIterator[PostgresStore]:
    """A store on a fresh database."""
    async with pool(database) as opened:
        store = PostgresStore(database, opened)
        store.listen()
        try:
            yield store
        finally:
            await store.close()


@pytest.fixture(params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore(lambda: datetime.now(UTC))
        return
    async with postgres(request.getfixturevalue("database")) as opened:
        yield opened


class Door:
    """A process of its own: its own sequencer and cache over a shared store."""

    def __init__(self, store: Store, name: str = "a") -> None:
        self.sequencer, self.name, self.calls = Sequencer(store), name, 0
        self.commands = Commands(self.sequencer, MemoryKeyring())

    async def send(self, command: Command, key: str | None = None) -> Answer:
        self.calls += 1
        return await self.commands.send(command, Caller(OWNER, "http", key or f"{self.name}-{self.calls}"))


@asynccontextmanager
async def door(store: Store, name: str = "a") -> AsyncIterator[Door]:
    opened = Door(store, name)
    opened.sequencer.start()
    try:
        yield opened
    finally:
        await opened.sequencer.stop()


def counter(n: int = 1) -> UUID:
    return derived_id("test-counter", n)


async def test_what_is_answered_is_in_the_log_dense_and_in_order(store: Store) -> None:
    async with door(store) as one:
        await one.send(OpenCounter(counter_id=counter()))
        answers = await asyncio.gather(*(one.send(Count(counter_id=counter())) for _ in range(300)))
    log = await store.read(0, 1000)
    assert [each.position for each in log] == list(range(1, 302))
    assert [each.version for each in log] == list(range(1, 302))
    assert sorted(answer.position for answer in answers) == list(range(2, 302))
    assert all(log[i].recorded_at <= log[i + 1].recorded_at for i in range(300))
    assert await store.head() == 301


async def test_a_reader_gets_slices_by_project_type_and_position(store: Store) -> None:
    async with door(store) as one:
        for n in range(3):
            await one.send(OpenCounter(counter_id=counter(n)))
        await one.send(Count(counter_id=counter(2)))
    assert [each.type for each in await store.read(2, 10)] == ["counter.opened", "counter.added"]
    assert [each.position for each in await store.read(0, 2)] == [1, 2]
    assert [each.position for each in await store.read(0, 9, types={"counter.added"})] == [4]
    assert [each.position for each in await store.read(0, 9, up_to=2)] == [1, 2]
    assert [each.version for each in await store.read_stream(counter(2))] == [1, 2]
    assert [each.version for each in await store.read_stream(counter(2), up_to=3)] == [1]
    found = await store.read_streams([counter(2), counter(99)])
    assert [each.version for each in found[counter(2)]] == [1, 2]
    assert found[counter(99)] == []
    log = await store.read(0, 9)
    assert await store.position_at(log[1].recorded_at) >= 2
    assert await store.position_at(datetime(2000, 1, 1, tzinfo=UTC)) == 0
    assert await store.position_at(datetime(2100, 1, 1, tzinfo=UTC)) == 4


async def test_a_waiting_reader_is_woken_by_an_append(store: Store) -> None:
    async with door(store) as one:
        waiting = asyncio.create_task(store.wait(0, 5))
        await asyncio.sleep(0.05)
        await one.send(OpenCounter(counter_id=counter()))
        async with asyncio.timeout(0.5):
            assert await waiting == 1
    assert await store.wait(1, 0.05) == 1


async def test_two_processes_decide_on_each_others_events(store: Store) -> None:
    async with door(store, "a") as one, door(store, "b") as two:
        await one.send(OpenCounter(counter_id=counter(), limit=100))
        doors = (one, two)
        outcomes = await asyncio.gather(
            *(doors[n % 2].send(Count(counter_id=counter())) for n in range(160)), return_exceptions=True
        )
    assert sum(isinstance(each, Refused) for each in outcomes) == 60
    assert [each.version for each in await store.read_stream(counter())] == list(range(1, 102))


async def test_the_same_command_through_two_processes_happens_once(store: Store) -> None:
    async with door(store, "a") as one, door(store, "b") as two:
        # One installation has one keyring: fingerprints of the same request are the same in every process.
        two.commands.keyring = one.commands.keyring
        await one.send(OpenCounter(counter_id=counter()))
        answers = await asyncio.gather(
            *(each.send(Count(counter_id=counter()), key="same") for each in (one, two) * 10)
        )
    assert {answer.position for answer in answers} == {2}
    assert {tuple(answer.versions.items()) for answer in answers} == {((counter(), 2),)}
    assert await store.head() == 2


async def test_a_snapshot_shortens_the_replay_and_changes_nothing(store: Store) -> None:
    async with door(store, "a") as one:
        await one.send(OpenCounter(counter_id=counter()))
        await asyncio.gather(*(one.send(Count(counter_id=counter())) for _ in range(450)))
    assert [each.version for each in await store.snapshots([counter()])] != []
    async with door(store, "b") as two:
        await two.send(Count(counter_id=counter(), amount=5))
        cached = two.sequencer.aggregates[counter()]
    fresh: Counter | None = None
    for stored in await store.read_stream(counter()):
        fresh = evolve(fresh, stored)
    assert cached == fresh


async def test_a_long_history_is_read_before_the_lock_and_nothing_is_missed(store: Store) -> None:
    async with door(store, "a") as one:
        await one.send(OpenCounter(counter_id=counter()))
        await asyncio.gather(*(one.send(Count(counter_id=counter())) for _ in range(2500)))
    await store.save_snapshots([Snapshot(counter(), 2400, "counter", -1, b"{}")])  # of a fold that is no more
    async with door(store, "b") as two:
        await two.send(OpenCounter(counter_id=counter(2)))
        await asyncio.gather(
            two.send(Count(counter_id=counter())), two.send(Count(counter_id=counter(2), also=str(counter())))
        )
    assert [each.version for each in await store.read_stream(counter())] == list(range(1, 2504))


async def test_a_broken_request_in_a_batch_fails_alone(store: Store) -> None:
    async with door(store) as one:
        await one.send(OpenCounter(counter_id=counter()))
        outcomes = await asyncio.gather(
            *(one.send(Count(counter_id=counter(), misbehave="crash" if n == 3 else "")) for n in range(9)),
            return_exceptions=True,
        )
    assert [n for n, each in enumerate(outcomes) if isinstance(each, Exception)] == [3]
    assert await store.head() == 9


async def test_the_stored_bytes_are_the_canonical_bytes(database: str) -> None:
    async with postgres(database) as store, door(store) as one:
        await one.send(OpenCounter(counter_id=counter(), limit=7))
        stored = (await store.read(0, 1))[0]
        assert stored.data == b'{"limit":7}'
        async with await psycopg.AsyncConnection.connect(database) as connection:
            row: Any = await (await connection.execute("select data ->> 'limit' from events")).fetchone()
        assert row == ("7",)


@pytest.mark.parametrize("statement", ["update events set actor = 'x'", "delete from events", "truncate events"])
async def test_history_cannot_be_changed_by_accident(database: str, statement: str) -> None:
    async with postgres(database) as store, door(store) as one:
        await one.send(OpenCounter(counter_id=counter()))
        async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
            with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
                await connection.execute(statement.encode())


async def test_a_cut_connection_is_replaced_and_every_command_takes_effect_once(database: str) -> None:
    async with postgres(database) as store, door(store) as one:
        await one.send(OpenCounter(counter_id=counter()))
        async with await psycopg.AsyncConnection.connect(database, autocommit=True) as killer:

            async def cut() -> None:
                for _ in range(15):
                    await asyncio.sleep(0.02)
                    await killer.execute(
                        "select pg_terminate_backend(pid) from pg_stat_activity"
                        " where application_name = 'toybox sequencer' and datname = current_database()"
                    )

            async def count_on() -> None:
                for _ in range(60):
                    await one.send(Count(counter_id=counter()))

            await asyncio.gather(cut(), *(count_on() for _ in range(10)))
        assert [each.version for each in await store.read_stream(counter())] == list(range(1, 602))


async def test_a_stalled_holder_of_the_lock_is_cut_off(database: str) -> None:
    async with postgres(database) as stalled, postgres(database) as store, door(store) as one:
        async with asyncio.timeout(8):
            async with stalled.batch() as held:
                await held.open([], {}, most=1)
                await one.send(OpenCounter(counter_id=counter()))
                held.ended = True


async def test_a_foreign_or_broken_notification_moves_nothing(database: str) -> None:
    async with postgres(database) as store, door(store) as one:
        async with await psycopg.AsyncConnection.connect(database, autocommit=True) as stranger:
            for payload in ("999999", "public:999999", "x", ""):
                await stranger.execute("select pg_notify('toybox_head', %s)", [payload])
        assert await store.wait(0, 0.2) == 0
        await one.send(OpenCounter(counter_id=counter()))
        assert await store.wait(0, 0.5) == 1


async def test_a_schema_named_in_the_address_holds_on_every_connection(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("create schema elsewhere")
    address = make_conninfo(empty_database, options="-c search_path=elsewhere")
    await migrate(address)
    async with postgres(address) as store, door(store) as one:
        await one.send(OpenCounter(counter_id=counter()))
        assert await store.head() == 1
