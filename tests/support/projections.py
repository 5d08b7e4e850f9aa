"""What every projection must hold, whatever it shows: run it over any projection with any log."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from psycopg import sql

from adapters.memory import MemoryStore
from domain.kernel import Event, payload_bytes
from domain.log import LogReader, StoredEvent, canonical
from domain.values import derived_id
from projections.documents import Document
from projections.folding import fold_document
from projections.projector import Applied, Connection, Connections, Projection, rebuild

Contents = dict[str, list[str]]
"""The rows of each table, as text, sorted."""
START = datetime(2026, 11, 21, 10, tzinfo=UTC)


class Writing:
    """A log that a test writes event by event, in memory, for real projections in Postgres."""

    def __init__(self) -> None:
        self.store = MemoryStore(lambda: START)
        self._versions: dict[UUID, int] = {}

    @property
    def events(self) -> list[StoredEvent]:
        """Everything so far."""
        return self.store.events

    def add(self, kind: type[Event], stream: UUID, project: UUID | None = None, **payload: Any) -> StoredEvent:
        """One more event of a stream, checked against its class."""
        made = kind.model_construct(**payload)
        return self.add_raw(kind.TYPE, kind.VERSION, payload_bytes(made), stream, project)

    def add_raw(
        self, type_name: str, schema_version: int, data: bytes, stream: UUID, project: UUID | None = None
    ) -> StoredEvent:
        """One more event, whatever it says."""
        position = len(self.events) + 1
        self._versions[stream] = self._versions.get(stream, 0) + 1
        stored = StoredEvent(
            position=position,
            stream_id=stream,
            version=self._versions[stream],
            type=type_name,
            schema_version=schema_version,
            project_id=project,
            data=data,
            actor="tester",
            command_id=derived_id("command", position),
            correlation_id=derived_id("command", position),
            causation_id=None,
            trace_id=None,
            recorded_at=START + timedelta(seconds=position),
        )
        self.store.append([stored], [])
        return stored

    def add_unknown(self, stream: UUID, project: UUID | None = None) -> StoredEvent:
        """An event of a type that this toybox does not know."""
        return self.add_raw("future.happened", 1, canonical({}), stream, project)

    async def announce(self) -> None:
        """Wake whoever waits for the head."""
        await self.store.announce(len(self.events))


def shuffled(events: Iterable[StoredEvent], random: Random) -> list[StoredEvent]:
    """The events as partitions deliver them: each key in order, the keys in any; positions stay what they were."""
    keys: dict[UUID, list[StoredEvent]] = {}
    for each in events:
        keys.setdefault(each.project_id or each.stream_id, []).append(each)
    order = [key for key, own in keys.items() for _ in own]
    random.shuffle(order)
    queues = {key: iter(own) for key, own in keys.items()}
    return [next(queues[key]) for key in order]


def batches(events: Sequence[StoredEvent], random: Random | None) -> Iterable[list[Applied]]:
    """The events as heard, cut at random; all at once without a random."""
    start = 0
    while start < len(events):
        end = start + random.randint(1, 50) if random else len(events)
        yield [Applied(each) for each in events[start:end]]
        start = end


async def contents(connection: Connection, tables: Iterable[str]) -> Contents:
    """All rows, readable and comparable."""
    found: Contents = {}
    for table in tables:
        query = sql.SQL("select row_to_json(t)::text from {} t").format(sql.Identifier(table))
        found[table] = sorted(row[0] for row in await (await connection.execute(query)).fetchall())
    return found


async def built(
    connections: Connections, projection: Projection, events: Sequence[StoredEvent], random: Random | None = None
) -> Contents:
    """What the projection makes of these events, in the order given; leaves nothing behind."""
    async with connections.connection() as connection, connection.transaction(force_rollback=True):
        await connection.execute("create schema bench_of_a_test")
        await connection.execute("set local search_path = bench_of_a_test, public")
        await connection.execute(projection.ddl().encode())
        heard = [each for each in events if projection.hears(each.type)]
        for batch in batches(heard, random):
            await projection.apply(connection, batch)
        return await contents(connection, projection.tables())


def assert_same(one: Contents, other: Contents, saying: str) -> None:
    """Both hold the same rows; else the first table that differs tells its rows."""
    for table in {*one, *other}:
        here, there = one.get(table, []), other.get(table, [])
        assert here == there, f"{table}: {saying}: {sorted({*here} ^ {*there})[:4]}"


async def assert_order_matters_only_within_a_key(
    connections: Connections, projection: Projection, events: Sequence[StoredEvent], random: Random
) -> None:
    """One by one, all at once, and shuffled across keys: the rows are the same."""
    in_order = await built(connections, projection, events, random)
    at_once = await built(connections, projection, events)
    assert_same(in_order, at_once, f"{projection.name} depends on how the log is cut into batches")
    for _ in range(3):
        mixed = await built(connections, projection, shuffled(events, random), random)
        assert_same(in_order, mixed, f"{projection.name} depends on the order of events across keys")


async def assert_rebuild_equals_incremental(
    connections: Connections, reader: LogReader, projection: Projection, events: Sequence[StoredEvent], random: Random
) -> None:
    """What `rebuild` switches in is what following event by event had made, to the last column."""
    in_order = await built(connections, projection, events, random)
    await rebuild(connections, reader, projection)
    async with connections.connection() as connection:
        live = await contents(connection, projection.tables())
    assert_same(in_order, live, f"a rebuild of {projection.name} differs from following")
    again = (await rebuild(connections, reader, projection)).comparison
    assert again.comparable, f"{projection.name}: the second build did not stop where the first one stands"
    assert again.equal, again.differences()


async def assert_as_of_equals_fold(
    connections: Connections,
    reader: LogReader,
    document: Document[Any],
    events: Sequence[StoredEvent],
    positions: Iterable[int],
) -> int:
    """The rows as they stood at these positions are what `fold_document` answers; answers how many were compared."""
    compared = 0
    for position in positions:
        async with connections.connection() as connection, connection.transaction(force_rollback=True):
            await connection.execute("create schema bench_of_a_test")
            await connection.execute("set local search_path = bench_of_a_test, public")
            await connection.execute(document.ddl().encode())
            heard = [Applied(each) for each in events if each.position <= position and document.hears(each.type)]
            await document.apply(connection, heard)
            keys = {key: each.stored for each in heard if (key := document.key(each.stored, each.event))}
            rows = {row.key: row.view for row in await document.many(connection, list(keys))}
            for key, stored in keys.items():
                folded = await fold_document(document, reader, key, stored.project_id, up_to=position)
                assert folded == rows.get(key), f"{document.name} {key} as of {position}"
                compared += 1
    return compared


async def assert_projection_holds(
    connections: Connections, reader: LogReader, projection: Projection, events: Sequence[StoredEvent], seed: int = 1
) -> None:
    """Everything above, for one projection and one log."""
    random = Random(seed)
    await assert_order_matters_only_within_a_key(connections, projection, events, random)
    await assert_rebuild_equals_incremental(connections, reader, projection, events, random)
    if isinstance(projection, Document):
        positions = sorted(random.sample(range(1, len(events) + 1), min(8, len(events))))
        await assert_as_of_equals_fold(connections, reader, projection, events, positions)
