"""Publishes state products: follows the log for what changed, takes it from the read models, writes the latest."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Final, NoReturn
from uuid import UUID

import structlog

from domain.errors import Unavailable
from domain.following import Leadership
from domain.log import LogReader, StoredEvent, leaf
from domain.relaying import Outlet, Record
from projections.documents import Row
from projections.projector import Connections
from streams.envelope import source_of, timestamp_ms
from streams.leading import Duty
from streams.products.changes import Changes, Seen
from streams.products.cloud import headers
from streams.products.progress import ProductsHalted, ProductsState, Progress
from streams.products.states import STATES, StateProduct
from streams.topics import Topics, check, fatal, init, partition_of

LEADING: Final = "products"
PAGE: Final = 500
"""States in one transaction, and events looked at for what changed."""
PAUSE_SECONDS: Final = 0.5
"""States are latest values: what changes ten times within a pause is written once."""
POLL_SECONDS: Final = 5.0
ERASED_SECONDS: Final = 10.0
"""How often it is asked which keys were destroyed: no event says so."""
log = structlog.get_logger("toybox.products")


async def nothing_erased() -> Collection[UUID]:
    """For installations, and tests, in which no key is ever destroyed."""
    return ()


class StatePublisher(Duty):
    """Keeps the compacted topics of states at the read models' heels. Whoever leads does it.

    States and the position they are true for are one transaction, so a publisher that dies leaves nothing half done;
    the next one goes on from what Kafka holds. A state may be written twice, never an older one after a newer one.
    """

    def __init__(  # noqa: PLR0913 -- its ports, and its pace
        self,
        outlet: Outlet,
        *,
        reader: LogReader,
        connections: Connections,
        leadership: Leadership,
        topics: Topics,
        replication: int = 1,
        erased: Callable[[], Awaitable[Collection[UUID]]] = nothing_erased,
        page: int = PAGE,
        pause: float = PAUSE_SECONDS,
    ) -> None:
        self.state = ProductsState()
        super().__init__(LEADING, outlet, leadership, self.state, pause)
        self._reader = reader
        self._changes = Changes(connections, reader, page)
        self._topics = topics
        self._replication = replication
        self._ask_erased = erased
        self._pause = pause
        self._erased: frozenset[UUID] = frozenset()
        self._asked_at = float("-inf")
        self._source = ""

    async def go_on(self) -> NoReturn:
        """Every product in turn, from what Kafka holds of it."""
        if not self.state.alarm:
            self.state.phase = "starting"
        await init(self._outlet, self._topics, replication=self._replication)
        own = {product.topic(self._topics).name for product in STATES} | {self._topics.relay_position.name}
        findings = fatal(await check(self._outlet, self._topics, replication=self._replication))
        if wrong := [each for each in findings if each.topic in own]:
            raise ProductsHalted("; ".join(map(str, wrong)), code="products_topics_wrong")
        there = await self._outlet.describe(own)
        while not (first := await self._reader.read(0, 1)):
            await self._reader.wait(0, POLL_SECONDS)
        log_id = leaf(first[0]).hex()
        self._source = source_of(log_id)
        held = {product.kind: await self._held(product, log_id) for product in STATES}
        await self._outlet.open()
        held = {product.kind: await self._held(product, log_id) for product in STATES}
        self.state.goes_on("publishing")
        self._erased, self._asked_at = frozenset(), float("-inf")
        while True:
            more, at = False, 0
            erased = await self._newly_erased()
            for product in STATES:
                topic_id = there[product.topic(self._topics).name].id
                now, full = await self._step(product, held[product.kind], topic_id, log_id, erased)
                held[product.kind], more = now, more or full
                self.state.positions[product.topic(self._topics).name] = now.position
                at = max(at, now.position)
            if more:
                continue
            # A read model that lags behind the log is looked at again after the pause, else news is waited for.
            if await self._reader.head() <= at:
                await self._reader.wait(at, POLL_SECONDS)
            await asyncio.sleep(self._pause)

    async def _held(self, product: StateProduct[Any], log_id: str) -> Progress | None:
        """How far the topic is, by what Kafka holds, if it can be that of this log."""
        value = await self._outlet.last(self._topics.relay_position.name, _key(product, self._topics))
        progress = Progress.loads(value) if value else None
        if progress is None:
            return None
        there = await self._event_at(progress.position)
        known = leaf(there).hex() if there else ""
        if progress.log != log_id or known != progress.leaf:
            raise ProductsHalted(
                f"{product.topic(self._topics).name} shows event {progress.position} of another history than this "
                f"log's: restore the database that was published, or delete all topics of this installation",
                code="products_history_forked",
                position=progress.position,
            )
        return progress

    async def _newly_erased(self) -> frozenset[UUID]:
        """Subjects whose keys were destroyed since this was last asked; all of them, the first time."""
        clock = asyncio.get_running_loop().time
        if clock() - self._asked_at < ERASED_SECONDS:
            return frozenset()
        known, self._erased = self._erased, frozenset(await self._ask_erased())
        self._asked_at = clock()
        return self._erased - known

    # --- one product ---

    async def _step(
        self,
        product: StateProduct[Any],
        held: Progress | None,
        topic_id: str,
        log_id: str,
        erased: frozenset[UUID],
    ) -> tuple[Progress, bool]:
        """Write what changed since; everything, when what is there was made otherwise. Also says if there is more."""
        shape = product.shape()
        if held is None or (held.topic, held.shape) != (topic_id, shape):
            return await self._fill(product, Progress(topic_id, 0, shape, log_id, 0, "")), True
        seen = await self._changes.since(product, held, erased)
        if seen.generation != held.generation:
            return await self._fill(product, held), True
        after = replace(held, position=seen.position, parked=seen.parked)
        if not seen.rows and not seen.gone and seen.parked == held.parked:
            return after, seen.more  # nothing to write: Kafka is told with the next change
        return await self._commit(product, after, seen), seen.more

    async def _fill(self, product: StateProduct[Any], like: Progress) -> Progress:
        """Every row there is; the progress comes last, so that one that dies on the way begins again."""
        log.info("writing every state", topic=product.topic(self._topics).name)
        first = seen = await self._changes.everything(product)
        while seen.cursor:
            await self._write(product, seen, await self._event_at(seen.position))
            seen = await self._changes.everything(product, seen.cursor)
            if seen.generation != first.generation:
                raise Unavailable(f"{product.document.name} was rebuilt meanwhile", retry_after=0.1)
        after = replace(like, generation=first.generation, position=first.position, parked=first.parked)
        return await self._commit(product, after, seen)

    async def _commit(self, product: StateProduct[Any], after: Progress, seen: Seen) -> Progress:
        """The states and the progress that they make."""
        told = await self._event_at(after.position)
        after = replace(after, leaf=leaf(told).hex() if told else "")
        mark = Record(self._topics.relay_position.name, 0, _key(product, self._topics), after.dumps(), [], _time(told))
        await self._write(product, seen, told, mark)
        return after

    async def _write(self, product: StateProduct[Any], seen: Seen, told: StoredEvent | None, *marks: Record) -> None:
        """One transaction."""
        records = [self._state(product, row, seen.parked, told) for row in seen.rows]
        records += [self._record(product, key, seen.position, None, told) for key in seen.gone]
        await self._leadership.check(LEADING)
        await self._outlet.send([*records, *marks])
        gone = sum(each.value is None for each in records)
        self.state.transactions += 1
        self.state.tombstones += gone
        self.state.states += len(records) - gone

    async def _event_at(self, position: int) -> StoredEvent | None:
        found = await self._reader.read(position - 1, 1) if position else ()
        return found[0] if found else None

    def _state(
        self, product: StateProduct[Any], row: Row[Any], parked: Mapping[UUID, int], told: StoredEvent | None
    ) -> Record:
        value = None
        if not {row.key, row.project_id} & self._erased:
            since = parked.get(row.project_id or row.key)
            value = product.value(row, since).model_dump_json().encode()
        return self._record(product, row.key, row.position, value, told)

    def _record(
        self, product: StateProduct[Any], key: UUID, position: int, value: bytes | None, told: StoredEvent | None
    ) -> Record:
        topic, name = product.topic(self._topics), str(key)
        carried = headers(product.kind, id=f"{name}.{position}", source=self._source, subject=name, position=position)
        return Record(
            topic.name, partition_of(name.encode(), topic.partitions), name.encode(), value, carried, _time(told)
        )


def _key(product: StateProduct[Any], topics: Topics) -> bytes:
    return product.topic(topics).name.encode()


def _time(told: StoredEvent | None) -> int:
    return timestamp_ms(told) if told else 0
