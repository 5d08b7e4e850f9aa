"""Events followed to a real Kafka: the place that is told is where a consumer finds them, written down or not."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from psycopg_pool import AsyncConnectionPool

from adapters.clock import now
from adapters.kafka.connecting import Cluster
from adapters.kafka.finding import KafkaFinder
from adapters.postgres.connections import pool
from adapters.postgres.deliveries import PostgresLedger
from adapters.postgres.following import PostgresLeadership
from domain.following import ParkedReaction
from domain.log import StoredEvent
from streams.recording import Recorder
from streams.relay import Relay
from streams.tracing import EventTracer
from tests.streams.relaying import Stage, examples, is_public, open_store, running, until, write
from tests.support.kafka_broker import free_ports


@pytest.fixture
async def opened(database: str) -> AsyncIterator[AsyncConnectionPool[Any]]:
    """Connections to the test's database."""
    async with pool(database, size=3) as made:
        yield made


@pytest.fixture
async def stage(database: str, kafka_server: str, kafka_prefix: str) -> AsyncIterator[Stage]:
    """A log and topics of this test's own."""
    async with open_store(database) as store:
        yield Stage(database, store, kafka_server, kafka_prefix)


def tracer(stage: Stage, opened: AsyncConnectionPool[Any], *, address: str | None = "the stage's") -> EventTracer:
    """Who answers; without an address no Kafka is named."""

    async def positions() -> Mapping[str, int]:
        return {}

    async def parked() -> Sequence[ParkedReaction]:
        return []

    servers = stage.address if address == "the stage's" else address
    return EventTracer(
        reader=stage.store,
        connections=opened,
        ledger=PostgresLedger(opened),
        topic=stage.topics.events,
        finder=KafkaFinder(Cluster(servers, client={"bootstrap_timeout_ms": 500})) if servers else None,
        reactions={},
        positions=positions,
        parked=parked,
    )


@asynccontextmanager
async def recorded(stage: Stage, opened: AsyncConnectionPool[Any], *, batch: int = 100) -> AsyncIterator[Relay]:
    """A relay with a recorder beside it."""
    recorder = Recorder(PostgresLedger(opened), topic=stage.topics.events.name, now=now, pause=0.01)
    relay = Relay(
        stage.outlet(),
        reader=stage.store,
        leadership=PostgresLeadership(stage.conninfo),
        topics=stage.topics,
        batch=batch,
        observe=recorder.observe,
    )
    task = asyncio.create_task(recorder.run())
    try:
        async with running(relay):
            yield relay
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def relay_all(stage: Stage, opened: AsyncConnectionPool[Any]) -> None:
    """Everything out, and written down."""
    async with recorded(stage, opened) as relay:
        await until(lambda: relay.state.position == stage.store.head_seen.position)


def consumed(stage: Stage, partition: int, offset: int) -> int:
    """The position in the header of the record that lies there, by another client."""
    consumer = Consumer({"bootstrap.servers": stage.address, "group.id": "checks", "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(stage.topics.events.name, partition, offset)])
        message = consumer.poll(10)
        assert message is not None
        assert message.error() is None
        assert message.offset() == offset
        value = dict(message.headers() or ())["toybox-position"]
        assert isinstance(value, bytes)
        return int(value)
    finally:
        consumer.close()


async def test_the_ledger_tells_where_a_consumer_finds_each_event(
    stage: Stage, opened: AsyncConnectionPool[Any]
) -> None:
    await write(stage.store, 150)
    await relay_all(stage, opened)
    events = await write(stage.store, 150)
    before = now()
    await relay_all(stage, opened)
    lies_at = {each.position: (each.partition, each.offset) for each in await stage.committed()}
    ask = tracer(stage, opened, address=None)
    for event in filter(is_public, await stage.store.read(0, 1000)):
        told = (await ask.trace(event)).relay
        assert (told.status, told.topic, told.reached) == ("relayed", stage.topics.events.name, 300)
        assert (told.partition, told.offset) == lies_at[event.position]
        assert told.at is not None
        assert (told.at >= before) == (event.position > 150)
    last = next(each for each in reversed(events) if is_public(each))
    told = (await ask.trace(last)).relay
    assert told.partition is not None
    assert told.offset is not None
    assert await asyncio.to_thread(consumed, stage, told.partition, told.offset) == last.position


async def test_what_nobody_wrote_down_is_found_in_kafka(stage: Stage, opened: AsyncConnectionPool[Any]) -> None:
    events = await write(stage.store, 230)
    await stage.relay_all()
    lies_at = {each.position: (each.partition, each.offset) for each in await stage.committed()}
    ask = tracer(stage, opened)
    for event in [*filter(is_public, events)][::40]:
        told = (await ask.trace(event)).relay
        assert (told.status, told.at) == ("relayed", None)
        assert (told.partition, told.offset) == lies_at[event.position]
        assert "found in Kafka" in (told.reason or "")


async def test_an_event_that_is_not_relayed_yet_waits_and_a_private_one_never_is(
    stage: Stage, opened: AsyncConnectionPool[Any]
) -> None:
    await write(stage.store, 100)
    await relay_all(stage, opened)
    later = await write(stage.store, len(examples()))  # one of each type, so some are private
    ask = tracer(stage, opened)
    told = (await ask.trace(first_public(later))).relay
    assert (told.status, told.offset, told.reached) == ("waiting", None, 100)
    private = next(each for each in later if not is_public(each))
    assert (await ask.trace(private)).relay.status == "private"
    await relay_all(stage, opened)
    assert (await ask.trace(private)).relay.status == "private"


async def test_a_kafka_that_is_away_leaves_only_the_ledgers_answers(
    stage: Stage, opened: AsyncConnectionPool[Any]
) -> None:
    await write(stage.store, 40)
    await relay_all(stage, opened)
    later = await write(stage.store, 40)
    ask = tracer(stage, opened, address=f"127.0.0.1:{free_ports(1)[0]}")
    known = first_public(await stage.store.read(0, 40))
    assert (await ask.trace(known)).relay.status == "relayed"
    told = (await ask.trace(first_public(later))).relay
    assert told.status == "unknown"
    assert "Kafka" in (told.reason or "")


async def test_without_a_kafka_nothing_is_relayed(stage: Stage, opened: AsyncConnectionPool[Any]) -> None:
    event = first_public(await write(stage.store, 30))
    told = (await tracer(stage, opened, address=None).trace(event)).relay
    assert (told.status, told.reached) == ("off", None)
    assert "TOYBOX_KAFKA" in (told.reason or "")


def first_public(events: Sequence[StoredEvent]) -> StoredEvent:
    return next(filter(is_public, events))
