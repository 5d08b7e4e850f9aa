"""The relay's marker as a worker has read it from Kafka, and what follows from it for idle partitions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from projections.projector.connecting import Connection

_NOTE: Final = (
    "insert into relay_marks as kept (topic, position, prev, marks, next_offset)"
    " values (%(topic)s, %(position)s, %(prev)s::jsonb, %(marks)s, %(next_offset)s) on conflict (topic) do update set"
    " position = greatest(kept.position, excluded.position),"
    " prev = case when excluded.position > kept.position then excluded.prev else kept.prev end,"
    " marks = excluded.marks, next_offset = excluded.next_offset, updated_at = clock_timestamp()"
)
_NEXT: Final = "select max(next_offset) from relay_marks where topic = %s and marks = %s"
_FOLLOWED: Final = (
    "select p.projection from projection_positions p where p.status = 'live' and exists"
    " (select from projection_partitions own where own.generation = p.generation)"
)


@dataclass(frozen=True, slots=True)
class Mark:
    """How far the relay is: on each partition, nothing comes between `prev` and the position."""

    topic: str
    position: int
    prev: Mapping[int, int]
    marks: str
    """The id of the topic that it was read from."""
    next_offset: int


async def note_mark(connection: Connection, mark: Mark) -> None:
    """Keep the marker that is ahead."""
    prev = orjson.dumps({str(partition): position for partition, position in mark.prev.items()}).decode()
    values = {"topic": mark.topic, "position": mark.position, "prev": prev, "marks": mark.marks}
    await connection.execute(_NOTE, values | {"next_offset": mark.next_offset})


async def mark_offset(connection: Connection, topic: str, marks: str) -> int:
    """Where to go on in the topic of markers."""
    row = await (await connection.execute(_NEXT, [topic, marks])).fetchone()
    return int(row[0] or 0) if row else 0


async def followed_by_partition(connection: Connection) -> list[str]:
    """The projections whose live rows are made from Kafka."""
    return [row[0] for row in await (await connection.execute(_FOLLOWED)).fetchall()]
