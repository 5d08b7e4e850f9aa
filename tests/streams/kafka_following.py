"""Workers on Kafka that run as long as a test wants, and what their read models must be compared with."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from psycopg_pool import AsyncConnectionPool

from adapters.faust.app import FaustConsumption
from adapters.kafka.connecting import Cluster
from adapters.kafka.topics import KafkaTopics
from adapters.postgres.connections import pool
from adapters.postgres.event_store import PostgresStore
from domain.log import StoredEvent
from projections.projector import Comparison, Projection, generation, rebuild
from streams.follower import Standing
from streams.partitioned import KafkaViews
from tests.streams.relaying import PATIENCE_SECONDS, Stage


def consumption(stage: Stage, group: str, instance: str | None = None) -> FaustConsumption:
    """A member of a group on this stage's broker."""
    topics = [stage.topics.events.name, stage.topics.relay_position.name]
    return FaustConsumption(Cluster(stage.address), topics, group=f"{stage.prefix}.{group}", instance=instance)


@asynccontextmanager
async def connections(stage: Stage) -> AsyncIterator[AsyncConnectionPool[Any]]:
    """A pool of the stage's database."""
    async with pool(stage.conninfo, size=8) as lent:
        yield lent


@asynccontextmanager
async def viewing(
    stage: Stage,
    lent: AsyncConnectionPool[Any],
    projections: Iterable[Projection],
    *,
    instance: str | None = None,
) -> AsyncIterator[KafkaViews]:
    """A worker that follows Kafka until the block ends."""
    views = KafkaViews(
        consumption(stage, "views", instance),
        KafkaTopics(Cluster(stage.address)),
        reader=stage.store,
        connections=lent,
        topics=stage.topics,
        projections=projections,
    )
    views.start()
    try:
        yield views
    finally:
        await views.stop()


async def seen(views: KafkaViews, projections: Iterable[Projection], position: int) -> None:
    """Until readers see a position in all of these."""
    await views.wait_for([each.name for each in projections], position, PATIENCE_SECONDS)


async def compared(stage: Stage, lent: AsyncConnectionPool[Any], projection: Projection) -> Comparison:
    """What is live beside what a fresh build from the log makes."""
    return (await rebuild(lent, stage.store, projection)).comparison


async def assert_as_built(stage: Stage, lent: AsyncConnectionPool[Any], projections: Iterable[Projection]) -> None:
    """Every table holds the rows that a fresh build from the log makes, at the same position."""
    for each in projections:
        comparison = await compared(stage, lent, each)
        assert comparison.comparable, f"{each.name} is not where its build is"
        assert comparison.equal, f"{each.name}: {comparison.differences()}"


async def until_true(true: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for something that has to be asked for."""
    async with asyncio.timeout(seconds):
        while not await true():  # noqa: ASYNC110 -- what is waited for tells nobody
            await asyncio.sleep(0.05)


async def append(store: PostgresStore, events: Sequence[StoredEvent]) -> None:
    """Write these events, which follow the head, into the log."""
    for start in range(0, len(events), 1000):
        async with store.batch() as batch:
            await batch.open([], {}, most=1)
            await batch.commit(list(events[start : start + 1000]), [])
    await store.announce(events[-1].position)


async def position_of(lent: AsyncConnectionPool[Any], name: str) -> int | None:
    """Where readers see a projection."""
    async with lent.connection() as connection:
        live = await generation(connection, name, "live")
    return live.position if live else None


async def standing(views: KafkaViews, name: str) -> Standing:
    """What a worker says of one projection."""
    return next(each for each in await views.standings() if each.projection == name)
