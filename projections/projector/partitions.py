"""One batch from Kafka into one projection: rows, parked keys and how far each partition is, in one transaction."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from domain.consuming import PartitionRow
from domain.errors import ToyboxError
from domain.log import LogReader
from projections.projector.advancing import Advanced, Parked, apply_by_key, apply_or_park, newer, park, read_slice
from projections.projector.connecting import Connection, is_fault_of_event
from projections.projector.delivering import note_applied
from projections.projector.positions import Generation, Superseded, hold
from projections.projector.projection import Applied, Projection

_ROWS: Final = "select partition, topic, position, last, next_offset from projection_partitions where generation = %s"
_LOCK: Final = f"{_ROWS} order by partition for update"
_CLAIM: Final = (
    "insert into projection_partitions (generation, partition, topic, position, next_offset)"
    " select %s, partition, %s, %s, next_offset from unnest(%s::int[], %s::bigint[]) as new (partition, next_offset)"
)
_LEAVE: Final = "delete from projection_partitions where generation = %s"
_MOVE: Final = (
    "update projection_partitions as own set topic = %s, position = new.position, last = new.last,"
    " next_offset = new.next_offset, updated_at = clock_timestamp()"
    " from unnest(%s::int[], %s::bigint[], %s::bigint[], %s::bigint[]) as new (partition, position, last, next_offset)"
    " where own.generation = %s and own.partition = new.partition"
)
_WHOLE: Final = (
    "update projection_positions set updated_at = clock_timestamp(), position = greatest(position,"
    " (select min(whole_up_to(partition, topic, position)) from projection_partitions where generation = %(of)s))"
    " where generation = %(of)s returning position"
)
_MOVE_HOUSE: Final = (
    "update projection_partitions set topic = %(topic)s, next_offset = 0"
    " where generation = %(of)s and topic <> %(topic)s"
)
_SETTLE: Final = "update projection_positions set position = %(to)s where generation = %(of)s"
_PLACE_PARKED: Final = "update projection_parked set partition = %s where generation = %s and key = any(%s)"
_PARKED_KEYS: Final = "select key from projection_parked where generation = %s"


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event as Kafka brought it: where it lay, and what came before it on its partition."""

    partition: int
    offset: int
    prev: int
    applied: Applied

    @property
    def position(self) -> int:
        """Of the event."""
        return self.applied.stored.position


@dataclass(frozen=True, slots=True)
class Inflow:
    """What a consumer brings: events partition by partition in order, and where each partition goes on after them."""

    topic: str
    arrivals: Sequence[Arrival]
    next_offsets: Mapping[int, int]


class Gap(ToyboxError):
    """An event is missing between two on a partition: what follows it is not applied."""

    code = "partition_gap"


def continued(
    name: str, rows: Mapping[int, PartitionRow], inflow: Inflow
) -> tuple[list[Arrival], dict[int, PartitionRow]]:
    """What of an inflow is new to a follower, and its rows afterwards. Raises Gap where the chain is torn."""
    taken: list[Arrival] = []
    after = dict(rows)
    for each in inflow.arrivals:
        row = after[each.partition]
        if each.position <= row.position:
            if row.last is None and each.position == row.position:
                after[each.partition] = replace(row, last=each.position)
            continue
        if each.prev != row.last if row.last is not None else each.prev > row.position:
            raise Gap(
                f"{name} has partition {each.partition} up to position {row.position} (last {row.last}), and event "
                f"{each.position} comes after {each.prev}: what is between them is missing in Kafka. Rebuild it from "
                f"the log, or see what happened to the topic",
                projection=name,
                partition=each.partition,
                last=row.last if row.last is not None else row.position,
                prev=each.prev,
                position=each.position,
            )
        taken.append(each)
        after[each.partition] = replace(row, position=each.position, last=each.position)
    for partition, offset in inflow.next_offsets.items():
        row = after[partition]
        known = row.next_offset if row.topic == inflow.topic else 0
        after[partition] = replace(row, topic=inflow.topic, next_offset=max(known, offset))
    return taken, after


async def partition_rows(connection: Connection, of: Generation) -> Mapping[int, PartitionRow]:
    """How far a generation is by partition; empty while it follows the log itself."""
    found = await (await connection.execute(_ROWS, [of.generation])).fetchall()
    return {row[0]: PartitionRow(*row) for row in found}


async def claim(
    connection: Connection,
    of: Generation,
    topic: str,
    offsets: Mapping[int, int],
    partition_of: Callable[[UUID], int],
) -> None:
    """From now on a generation is followed by partition, from its position on. Nothing happens when it is already."""
    async with connection.transaction():
        now = await hold(connection, of)
        if await partition_rows(connection, of):
            return
        values = [of.generation, topic, now.position, list(offsets), list(offsets.values())]
        await connection.execute(_CLAIM, values)
        parked = [row[0] for row in await (await connection.execute(_PARKED_KEYS, [of.generation])).fetchall()]
        for key in parked:
            await connection.execute(_PLACE_PARKED, [partition_of(key), of.generation, [key]])


async def move_house(connection: Connection, of: Generation, topic: str) -> None:
    """Go on in a topic that was made anew: positions stay, offsets begin again, also where nothing may ever come."""
    async with connection.transaction():
        await hold(connection, of)
        await connection.execute(_MOVE_HOUSE, {"topic": topic, "of": of.generation})


async def advance_partitions(
    connection: Connection, projection: Projection, of: Generation, inflow: Inflow
) -> Advanced:
    """Bring what is new of an inflow into the projection, durably and at once or not at all.

    The generation's row is locked first: workers with different partitions of one projection take turns, for a view
    may be fed by several of them. Raises Gap, Superseded, Unavailable for an event from the future, or what the
    database is at fault for.
    """
    try:
        return await _advance(connection, projection, of, inflow, carefully=False)
    except Exception as error:
        if not is_fault_of_event(error) or isinstance(error, Gap | Superseded):
            raise
    return await _advance(connection, projection, of, inflow, carefully=True)


async def _advance(
    connection: Connection, projection: Projection, of: Generation, inflow: Inflow, *, carefully: bool
) -> Advanced:
    parked: list[Parked] = []
    async with connection.transaction():
        waiting = (await hold(connection, of)).waiting
        found = await (await connection.execute(_LOCK, [of.generation])).fetchall()
        rows = {row[0]: PartitionRow(*row) for row in found}
        if not rows:
            msg = f"projection {projection.name} follows the log of Postgres again: this worker stops writing to it"
            raise Superseded(msg)
        new, after = continued(projection.name, rows, _readable(projection, of, rows, inflow))
        heard = [each for each in new if projection.hears(each.applied.stored.type)]
        taken = sorted(
            (each.applied for each in heard if each.applied.key not in waiting), key=lambda each: each.stored.position
        )
        if carefully:
            parked = await apply_by_key(connection, projection, taken)
            await park(connection, of, parked)
            of_key = {each.applied.key: each.partition for each in heard}
            for each in parked:
                await connection.execute(_PLACE_PARKED, [of_key[each.key], of.generation, [each.key]])
        elif taken:
            await projection.apply(connection, taken)
        position = await _move(connection, of, rows, after)
    return Advanced(replace(of, position=position), len(taken), parked)


def _readable(projection: Projection, of: Generation, rows: Mapping[int, PartitionRow], inflow: Inflow) -> Inflow:
    """Up to the first event that only a newer toybox can read. Unavailable when nothing comes before it."""
    unread = [each for each in inflow.arrivals if each.position > rows[each.partition].position]
    stop = min(
        (each for each in unread if projection.hears(each.applied.stored.type) and each.applied.from_the_future),
        key=lambda each: each.position,
        default=None,
    )
    if stop is None:
        return inflow
    kept = [each for each in inflow.arrivals if each.position < stop.position]
    if all(each.position <= rows[each.partition].position for each in kept):
        raise newer(projection, of, stop.applied.stored)
    return Inflow(inflow.topic, kept, {each.partition: each.offset + 1 for each in kept})


async def _move(
    connection: Connection, of: Generation, rows: Mapping[int, PartitionRow], after: Mapping[int, PartitionRow]
) -> int:
    moved = [row for partition, row in after.items() if row != rows[partition]]
    async with connection.pipeline():
        if moved:
            columns = zip(*((row.partition, row.position, row.last, row.next_offset) for row in moved), strict=True)
            await connection.execute(_MOVE, [moved[0].topic, *map(list, columns), of.generation])
        for row in moved:
            before = rows[row.partition].position
            await note_applied(connection, of.generation, after=before, up_to=row.position, partition=row.partition)
        whole = await connection.execute(_WHOLE, {"of": of.generation})
    row = await whole.fetchone()
    return int(row[0]) if row else of.position


async def level(connection: Connection, of: Generation) -> int | None:
    """Bring a generation's position to where all of its partitions are; None when it is not followed by partition."""
    async with connection.transaction():
        await hold(connection, of)
        if not await partition_rows(connection, of):
            return None
        row = await (await connection.execute(_WHOLE, {"of": of.generation})).fetchone()
        return int(row[0]) if row else None


async def furthest(connection: Connection, of: Generation) -> int:
    """The last position that is in the rows of any partition, or of all."""
    return max([of.position, *(row.position for row in (await partition_rows(connection, of)).values())])


async def settle(
    connection: Connection,
    reader: LogReader,
    projection: Projection,
    of: Generation,
    partition_of: Callable[[UUID, int], int],
) -> Advanced:
    """Give a generation back to who follows the log itself: from the log, all partitions as far as the furthest.

    `partition_of` answers for a key and a number of partitions. Nothing happens when it follows the log already.
    """
    applied, parked = 0, list[Parked]()
    async with connection.transaction():
        held = await hold(connection, of)
        rows = await partition_rows(connection, of)
        end, at = max([held.position, *(row.position for row in rows.values())]), held.position
        waiting = set(held.waiting)
        while at < end:
            batch = await read_slice(reader, projection, at, end)
            taken = [
                each
                for each in batch.items
                if each.key not in waiting and each.stored.position > rows[partition_of(each.key, len(rows))].position
            ]
            failed = await apply_or_park(connection, projection, of, taken)
            waiting.update(each.key for each in failed)
            applied, at, parked = applied + len(taken), batch.up_to, parked + failed
        if rows:
            await connection.execute(_SETTLE, {"of": of.generation, "to": end})
            await connection.execute(_LEAVE, [of.generation])
    return Advanced(replace(of, position=end), applied, parked)
