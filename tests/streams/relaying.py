"""A log with events of every type, and a relay that runs as long as a test wants."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import cache
from uuid import UUID

from confluent_kafka.admin import AdminClient

from adapters.kafka.connecting import Cluster
from adapters.kafka.outlet import KafkaOutlet
from adapters.postgres.connections import pool
from adapters.postgres.event_store import PostgresStore
from adapters.postgres.following import PostgresLeadership
from domain.kernel import EVENT_TYPES
from domain.log import StoredEvent, canonical
from domain.values import derived_id
from streams.relay import Relay
from streams.relay.marker import Marker
from streams.relay.state import Relayed, RelayState
from streams.topics import Topics
from tests.golden.examples import MOMENT
from tests.golden.record import EVENTS, domain_events
from tests.support.kafka_reading import await_settled, committed, complaints

PROJECTS = 40
PATIENCE_SECONDS = 60.0


@cache
def examples() -> tuple[tuple[str, int, bytes], ...]:
    """Type, version and payload of every recorded example."""
    types = {kind.TYPE for kind in domain_events()}
    found: list[tuple[str, int, bytes]] = []
    for file in sorted(EVENTS.glob("*.json")):
        name, _, version = file.stem.rpartition(".v")
        if name in types:
            found.append((name, int(version), canonical(json.loads(file.read_text("utf-8")))))
    return tuple(found)


def event_at(position: int, story: str = "the log") -> StoredEvent:
    """An event of some type, some project; every eleventh without a project."""
    kind, version, data = examples()[position % len(examples())]
    project = None if position % 11 == 0 else derived_id(story, "project", str(position * 7 % PROJECTS))
    return StoredEvent(
        position=position,
        stream_id=derived_id(story, "stream", str(position)),
        version=1,
        type=kind,
        schema_version=version,
        project_id=project,
        data=data,
        actor="owner",
        command_id=derived_id(story, "command", str(position)),
        correlation_id=derived_id(story, "story", str(position % 5)),
        causation_id=derived_id(story, "cause", str(position)) if position % 2 else None,
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736" if position % 3 else None,
        recorded_at=MOMENT + timedelta(microseconds=position * 1009),
    )


def is_public(stored: StoredEvent) -> bool:
    """Whether it may leave for Kafka."""
    return not EVENT_TYPES[stored.type].PRIVATE


async def write(store: PostgresStore, count: int, *, story: str = "the log") -> list[StoredEvent]:
    """Append that many events to the log; answers them."""
    head = await store.head()
    events = [event_at(position, story) for position in range(head + 1, head + count + 1)]
    for start in range(0, count, 1000):
        async with store.batch() as batch:
            await batch.open([], {}, most=1)
            await batch.commit(events[start : start + 1000], [])
    await store.announce(head + count)
    return events


@asynccontextmanager
async def open_store(conninfo: str) -> AsyncIterator[PostgresStore]:
    """The log of a database."""
    async with pool(conninfo, size=3) as opened:
        store = PostgresStore(conninfo, opened)
        store.listen()
        try:
            yield store
        finally:
            await store.close()


class Stage:
    """One log, one broker, topics of its own, and as many relays as are wanted."""

    def __init__(self, conninfo: str, store: PostgresStore, address: str, prefix: str) -> None:
        self.conninfo, self.store, self.address, self.prefix = conninfo, store, address, prefix
        self.topics = Topics.named(prefix)

    def outlet(self, kind: Callable[..., KafkaOutlet] = KafkaOutlet) -> KafkaOutlet:
        """A way out to this stage's broker."""
        return kind(Cluster(self.address), f"{self.prefix}.relay")

    def relay(
        self,
        outlet: KafkaOutlet | None = None,
        *,
        batch: int = 100,
        most: int | None = None,
        observe: Callable[[Relayed], None] = lambda _: None,
    ) -> Relay:
        """A relay that does not run yet."""
        return Relay(
            outlet or self.outlet(),
            reader=self.store,
            leadership=PostgresLeadership(self.conninfo),
            topics=self.topics,
            batch=batch,
            most=most or batch,
            observe=observe,
        )

    async def relay_all(self, *, batch: int = 100) -> RelayState:
        """Run a relay until everything is out."""
        relay = self.relay(batch=batch)
        async with running(relay):
            await until(lambda: relay.state.position == self.store.head_seen.position)
        return relay.state

    async def complaints(self) -> list[str]:
        """What is wrong with what Kafka holds, compared with the log."""
        events = await self.store.read(0, 10_000_000)
        found = await self.committed()
        return complaints(found, [each.position for each in events if is_public(each)])

    async def committed(self, **how: str):
        """Every record of the events topic."""
        return await asyncio.to_thread(committed, self.address, self.topics.events.name, **how)

    async def delete(self, *names: str) -> None:
        """Delete topics, as somebody with rights might."""
        admin = AdminClient({"bootstrap.servers": self.address})
        for future in admin.delete_topics(list(names)).values():
            await asyncio.to_thread(future.result, 10)
        async with asyncio.timeout(10):
            while set(names) & set(await self.outlet().describe(names)):  # noqa: ASYNC110 -- Kafka tells nobody
                await asyncio.sleep(0.05)

    async def marker(self) -> Marker:
        """The marker that Kafka holds."""
        await asyncio.to_thread(await_settled, self.address, self.topics.relay_position.name)
        value = await self.outlet().last(self.topics.relay_position.name, self.topics.events.name.encode())
        assert value is not None
        return Marker.loads(value)


@asynccontextmanager
async def running(relay: Relay) -> AsyncIterator[asyncio.Task[None]]:
    """The relay runs until the block ends; one that fails fails the test."""
    task = asyncio.create_task(relay.run(), name="relay")
    try:
        yield task
    finally:
        failed = task.done()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert not failed


async def until(true: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 -- what is waited for tells nobody
            await asyncio.sleep(0.02)


def project_keys(events: Sequence[StoredEvent]) -> Iterator[UUID]:
    """What orders each event."""
    return (each.project_id or each.stream_id for each in events)
