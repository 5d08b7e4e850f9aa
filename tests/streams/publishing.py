"""A town's log in Postgres, its read models, and publishers of their states: in this process, or in one to kill."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from adapters.kafka.connecting import Cluster
from adapters.kafka.outlet import KafkaOutlet
from adapters.postgres.connections import pool
from adapters.postgres.event_store import PostgresStore
from adapters.postgres.following import PostgresLeadership
from domain.log import StoredEvent
from projections.projector import advance, generation, read_slice, rebuild
from streams.products.publisher import StatePublisher, nothing_erased
from streams.products.states import STATES, StateProduct
from streams.topics import Topics
from tests.streams.relaying import Stage, running, until
from tests.support.checkout import ROOT
from tests.support.kafka_reading import Found, committed

PAUSE = 0.02


class Press:
    """One log with its read models, one broker, topics of its own."""

    def __init__(self, stage: Stage, connections: Any) -> None:
        self.stage, self.connections = stage, connections
        self.store: PostgresStore = stage.store

    async def append(self, events: Sequence[StoredEvent]) -> None:
        """Put these into the log; they continue it."""
        async with self.store.batch() as batch:
            await batch.open([], {}, most=1)
            await batch.commit(list(events), [])
        await self.store.announce(events[-1].position)

    async def show(self, only: Collection[StateProduct[Any]] = STATES) -> None:
        """Bring the read models to the end of the log."""
        head = await self.store.head()
        for projection in (product.document for product in only):
            async with self.connections.connection() as connection:
                live = await generation(connection, projection.name, "live")
                while live and live.position < head:
                    batch = await read_slice(self.store, projection, live.position, head)
                    live = (await advance(connection, projection, live, batch)).generation
            if live is None:
                await rebuild(self.connections, self.store, projection)

    def publisher(self, *, page: int = 20, erased: Any = nothing_erased) -> StatePublisher:
        """A publisher that does not run yet."""
        return publisher(self.stage.conninfo, self.store, self.connections, self.stage, page=page, erased=erased)

    async def publish(self, made: StatePublisher | None = None) -> StatePublisher:
        """Run a publisher until everything that the read models show is out."""
        made = made or self.publisher()
        head = await self.store.head()
        async with running(made):  # pyright: ignore[reportArgumentType] -- runs as a relay does
            await until(lambda: len(made.state.positions) == 2 and set(made.state.positions.values()) == {head})
        return made

    async def written(self, product: StateProduct[Any]) -> list[Found]:
        """Everything on the product's topic."""
        return await asyncio.to_thread(committed, self.stage.address, product.topic(self.stage.topics).name)

    async def latest(self, product: StateProduct[Any]) -> dict[str, bytes | None]:
        """The last value of each key; None behind a tombstone. Refuses an older state after a newer one."""
        last: dict[bytes, Found] = {}
        for each in await self.written(product):
            before = last.get(each.key)
            assert before is None or before.position <= each.position, f"{each.key!r} went back"
            last[each.key] = each
        return {key.decode(): each.value for key, each in last.items()}

    async def shown(self, product: StateProduct[Any]) -> dict[str, bytes]:
        """What the read model says of each key, as its state is to be."""
        async with self.connections.connection() as connection:
            page = await product.document.page(connection, limit=100_000)
        return {str(row.key): product.value(row, None).model_dump_json().encode() for row in page.items}


def publisher(
    conninfo: str, store: PostgresStore, connections: Any, stage: Stage, *, page: int, erased: Any = nothing_erased
) -> StatePublisher:
    """A publisher with a pace for tests."""
    return StatePublisher(
        KafkaOutlet(Cluster(stage.address), f"{stage.prefix}.products"),
        reader=store,
        connections=connections,
        leadership=PostgresLeadership(conninfo),
        topics=Topics.named(stage.prefix),
        erased=erased,
        page=page,
        pause=PAUSE,
    )


@asynccontextmanager
async def press(conninfo: str, address: str, prefix: str) -> AsyncIterator[Press]:
    """A press on a database."""
    async with pool(conninfo, size=6) as opened:
        store = PostgresStore(conninfo, opened)
        store.listen()
        try:
            yield Press(Stage(conninfo, store, address, prefix), opened)
        finally:
            await store.close()


def process(stage: Stage) -> subprocess.Popen[bytes]:
    """A publisher in a process of its own, which can be killed."""
    command = [sys.executable, "-m", "tests.streams.publishing", stage.conninfo, stage.address, stage.prefix]
    return subprocess.Popen(command, cwd=ROOT)


async def main(conninfo: str, address: str, prefix: str) -> None:
    """Publish until killed."""
    async with press(conninfo, address, prefix) as made:
        await made.publisher(page=5).run()


def keys_of(found: dict[str, bytes | None]) -> set[UUID]:
    """Keys that have a value."""
    return {UUID(key) for key, value in found.items() if value is not None}


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
