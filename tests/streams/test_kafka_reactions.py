"""Reactions on Kafka: answered once, in as many workers and by as many runners as it takes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool

from adapters.kafka.connecting import Cluster
from adapters.kafka.topics import KafkaTopics
from adapters.postgres.following import PostgresCursors, PostgresLeadership
from adapters.postgres.partitioning import PostgresPartitionCursors
from commands.handling import Caller, Commands
from domain.kernel import load_event
from faults.crew.journals import counter_id
from faults.crew.mirror import MIRROR, mirror_of
from faults.crew.sending import sending
from streams.partitioned import KafkaReactions
from streams.reactor import Reactor
from tests.commands.counter import Count, Counter, OpenCounter
from tests.streams.kafka_following import connections, consumption, until_true
from tests.streams.relaying import Stage, open_store, running, until
from tests.support.story import OWNER

COUNTERS = 8


@pytest.fixture
async def stage(database: str, kafka_server: str, kafka_prefix: str) -> AsyncIterator[Stage]:
    """A log, a broker, and topics of this test's own."""
    async with open_store(database) as store:
        yield Stage(database, store, kafka_server, kafka_prefix)


@pytest.fixture
async def lent(stage: Stage) -> AsyncIterator[AsyncConnectionPool[Any]]:
    async with connections(stage) as opened:
        yield opened


@pytest.fixture
async def commands(stage: Stage) -> AsyncIterator[Commands]:
    """The write side, with counters and their mirrors."""
    async with sending(stage.conninfo) as (door, _):
        for number in range(COUNTERS):
            for each in (counter_id(number), mirror_of(counter_id(number))):
                await door.send(OpenCounter(counter_id=each), Caller(OWNER, "http", f"open {each}"))
        yield door


def embedded(stage: Stage, lent: AsyncConnectionPool[Any], commands: Commands) -> Reactor:
    return Reactor(
        MIRROR,
        reader=stage.store,
        commands=commands,
        cursors=PostgresCursors(lent),
        leadership=PostgresLeadership(stage.conninfo),
    )


@asynccontextmanager
async def reacting(
    stage: Stage, lent: AsyncConnectionPool[Any], commands: Commands, *, on_kafka: bool = True
) -> AsyncIterator[KafkaReactions | None]:
    """A worker that answers until the block ends."""
    reactor = embedded(stage, lent, commands)
    made = KafkaReactions(
        MIRROR,
        consumption(stage, "reactions"),
        KafkaTopics(Cluster(stage.address)),
        reactor=reactor,
        reader=stage.store,
        cursors=PostgresPartitionCursors(lent),
        connections=lent,
        topics=stage.topics,
    )
    task = asyncio.create_task(made.run() if on_kafka else reactor.run())
    try:
        yield made if on_kafka else None
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def count(commands: Commands, first: int, last: int) -> None:
    """What a person counts: its number, on one of the counters."""
    await asyncio.gather(
        *(
            commands.send(
                Count(counter_id=counter_id(number % COUNTERS), amount=1), Caller(OWNER, "http", f"count {number}")
            )
            for number in range(first, last)
        )
    )


async def mirrored(stage: Stage) -> int:
    """What the mirrors hold, from the log."""
    total = 0
    for number in range(COUNTERS):
        for stored in await stage.store.read_stream(mirror_of(counter_id(number))):
            event = load_event(stored)
            total += event.amount if isinstance(event, Counter.Added) else 0
    return total


async def assert_mirrored(stage: Stage, expected: int) -> None:
    """So much and, after a while, not more."""

    async def there() -> bool:
        return await mirrored(stage) >= expected

    await until_true(there)
    await asyncio.sleep(0.3)
    assert await mirrored(stage) == expected


async def test_every_event_is_answered_once_by_workers_that_come_and_go(
    stage: Stage, lent: AsyncConnectionPool[Any], commands: Commands
) -> None:
    async with running(stage.relay()):
        async with reacting(stage, lent, commands):
            await count(commands, 0, 50)
            await assert_mirrored(stage, 50)
        await count(commands, 50, 100)
        async with reacting(stage, lent, commands) as first, reacting(stage, lent, commands) as second:
            assert first
            assert second
            await until(lambda: first.state.phase == second.state.phase == "following")
            await count(commands, 100, 150)
            await assert_mirrored(stage, 150)
    assert not await PostgresCursors(lent).parked()


async def test_the_log_and_kafka_hand_the_cursor_over_and_back(
    stage: Stage, lent: AsyncConnectionPool[Any], commands: Commands
) -> None:
    async with running(stage.relay()):
        for turn in range(4):
            async with reacting(stage, lent, commands, on_kafka=bool(turn % 2)):
                await count(commands, turn * 40, turn * 40 + 40)
                await assert_mirrored(stage, turn * 40 + 40)
        async with reacting(stage, lent, commands) as made:
            assert made
            head = await stage.store.head()
            await until(lambda: made.positions.get("mirror_counts") == head)


async def test_both_runners_at_once_change_nothing(
    stage: Stage, lent: AsyncConnectionPool[Any], commands: Commands
) -> None:
    async with (
        running(stage.relay()),
        reacting(stage, lent, commands),
        reacting(stage, lent, commands, on_kafka=False),
    ):
        await count(commands, 0, 100)
        await assert_mirrored(stage, 100)
