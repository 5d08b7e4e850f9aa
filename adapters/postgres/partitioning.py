"""How far each reaction is on each partition of Kafka, in Postgres."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from adapters.postgres.connections import unavailable_when_away
from adapters.postgres.following import PostgresCursors
from domain.consuming import PartitionRow

_ROWS: Final = (
    "select reaction, partition, topic, position, last, next_offset from reaction_partitions where reaction = any(%s)"
)
_CLAIM: Final = (
    "insert into reaction_partitions as kept (reaction, partition, topic, position, next_offset)"
    " select %(reaction)s, partition, %(topic)s, %(position)s, next_offset"
    " from unnest(%(partitions)s::int[], %(offsets)s::bigint[]) as new (partition, next_offset)"
    " on conflict (reaction, partition) do update set position = excluded.position, last = null"
    " where kept.position < excluded.position"
)
# Never backwards, whoever writes: a worker that lost its partition may be late.
_MOVE: Final = (
    "update reaction_partitions as own set topic = new.topic, position = new.position, last = new.last,"
    " next_offset = new.next_offset, updated_at = clock_timestamp()"
    " from unnest(%s::text[], %s::int[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[])"
    " as new (reaction, partition, topic, position, last, next_offset)"
    " where own.reaction = new.reaction and own.partition = new.partition and own.position <= new.position"
)
_MOVE_HOUSE: Final = (
    "update reaction_partitions set topic = %s, next_offset = 0 where reaction = any(%s) and topic <> %s"
)
_LEVEL: Final = (
    "update reaction_positions as own set position = whole.position, updated_at = clock_timestamp()"
    " from (select reaction, min(whole_up_to(partition, topic, position)) as position from reaction_partitions"
    " where reaction = any(%s) group by reaction) as whole"
    " where own.reaction = whole.reaction and own.position < whole.position"
)


class PostgresPartitionCursors(PostgresCursors):
    """Positions by partition beside those of the whole log, which are the lowest of them."""

    async def rows(self, reactions: Collection[str]) -> Mapping[str, Mapping[int, PartitionRow]]:
        """What each reaction has, by partition."""
        found: dict[str, dict[int, PartitionRow]] = {}
        for reaction, *row in await self._rows(_ROWS, [list(reactions)]):
            found.setdefault(reaction, {})[row[0]] = PartitionRow(*row)
        return found

    async def claim(self, reaction: str, topic: str, position: int, offsets: Mapping[int, int]) -> None:
        """From now on also by partition; where a row is behind the position, it is raised to it."""
        values = {"reaction": reaction, "topic": topic, "position": position}
        columns = {"partitions": list(offsets), "offsets": list(offsets.values())}
        with unavailable_when_away():
            async with self._pool.connection() as connection:
                await connection.execute(_CLAIM, values | columns)

    async def move_house(self, reactions: Collection[str], topic: str) -> None:
        """Go on in a topic that was made anew: positions stay, offsets begin again."""
        await self._run(_MOVE_HOUSE, [topic, list(reactions), topic])

    async def move(self, rows: Mapping[str, Sequence[PartitionRow]]) -> None:
        """Everything up to these rows is answered or parked."""
        flat = [
            (reaction, row.partition, row.topic, row.position, row.last, row.next_offset)
            for reaction, own in rows.items()
            for row in own
        ]
        if flat:
            await self._run(_MOVE, [list(column) for column in zip(*flat, strict=True)])

    async def level(self, reactions: Collection[str]) -> Mapping[str, int]:
        """Raise the positions of the whole log to the lowest of the partitions'; answers where they are."""
        await self._run(_LEVEL, [list(reactions)])
        return await self.load(reactions)
