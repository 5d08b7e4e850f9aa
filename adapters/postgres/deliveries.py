"""The delivery ledger in Postgres: where the relay has put events, and what their commands have set off."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import orjson
from psycopg.rows import args_row
from psycopg_pool import AsyncConnectionPool

from adapters.postgres.connections import unavailable_when_away
from domain.delivering import Effect, Effects, FoundBatch, RelayedBatch, Run
from domain.log import StoredEvent

KEPT_BATCHES: Final = 100_000
"""Rows of the relay's ledger: a transaction each. What is older is looked up in Kafka."""
SWEEP_EVERY: Final = 1_000
WIDEST_BATCH: Final = 100_000
"""Positions in one transaction, at most: how far behind a position the end of its batch is looked for."""
LOOKED_AT: Final = 2_000
"""Events of a project that are looked at for effects of one of them."""

_NOTE: Final = (
    "insert into relay_deliveries (first, last, topic, relayed_at, runs) select first, last, topic, relayed_at,"
    " runs::json from unnest(%s::bigint[], %s::bigint[], %s::text[], %s::timestamptz[], %s::text[])"
    " as new (first, last, topic, relayed_at, runs) returning id"
)
_SWEEP: Final = "delete from relay_deliveries where id <= %s"
# Losing the last rows in a crash of the server is no loss: they are found in Kafka.
_RELAXED: Final = "set local synchronous_commit = off"
_BATCH_OF: Final = (
    "select first, last, topic, relayed_at, runs::text,"
    " (select newest.id > found.id and newest.last < %(position)s from relay_deliveries newest"
    " order by newest.id desc limit 1)"
    " from relay_deliveries found where last >= %(position)s and last < %(position)s + %(widest)s"
    " and first <= %(position)s order by id desc limit 1"
)
_RELAYED_TO: Final = "select last from relay_deliveries order by id desc limit 1"
_OUTCOMES: Final = "select command_id, first, last from commands where command_id = any(%s::uuid[])"
_REACTIONS_ON: Final = "select reaction, position from reaction_partitions where partition = %s"
_LATER: Final = (
    "with later as materialized (select position, type, stream_id, actor, recorded_at, causation_id from events"
    " where {where} and position > %(position)s order by position limit %(most)s)"
)
_EFFECTS: Final = (
    " select position, type, stream_id, actor, recorded_at from later where causation_id = %(command_id)s"
    " order by position"
)
_SEARCHED_TO: Final = " select coalesce(max(position), %(position)s) from later"
_OF_PROJECT: Final = _LATER.format(where="project_id = %(project_id)s")
_OF_ALL: Final = _LATER.format(where="true")


class PostgresLedger:
    """Rows that were written in passing, and the log's own indexes."""

    def __init__(self, pool: AsyncConnectionPool[Any], *, kept: int = KEPT_BATCHES) -> None:
        self._pool = pool
        self._kept = kept

    async def note(self, batches: Sequence[RelayedBatch]) -> None:
        """One round trip for all of them."""
        values = [
            [each.first for each in batches],
            [each.last for each in batches],
            [each.topic for each in batches],
            [each.relayed_at for each in batches],
            [_packed(each) for each in batches],
        ]
        with unavailable_when_away():
            async with self._pool.connection() as connection, connection.transaction():
                await connection.execute(_RELAXED)
                ids = [row[0] for row in await (await connection.execute(_NOTE, values)).fetchall()]
                if ids and max(ids) // SWEEP_EVERY != (min(ids) - 1) // SWEEP_EVERY:
                    await connection.execute(_SWEEP, [max(ids) - self._kept])

    async def batch_of(self, position: int) -> FoundBatch | None:
        """The last one that was noted: where Kafka was filled anew, earlier ones are of the past."""
        rows = await self._rows(_BATCH_OF, {"position": position, "widest": WIDEST_BATCH})
        if not rows:
            return None
        first, last, topic, relayed_at, packed, outdated = rows[0]
        return FoundBatch(RelayedBatch(last, topic, relayed_at, _unpacked(packed, first)), outdated=bool(outdated))

    async def relayed_to(self) -> int | None:
        """The end of the last batch that was noted."""
        rows = await self._rows(_RELAYED_TO, {})
        return rows[0][0] if rows else None

    async def outcomes(self, command_ids: Collection[UUID]) -> Mapping[UUID, tuple[int, int] | None]:
        """By the primary key of the table of commands."""
        rows = await self._rows(_OUTCOMES, [list(command_ids)])
        return {command_id: None if first is None else (first, last) for command_id, first, last in rows}

    async def reactions_on(self, partition: int) -> Mapping[str, int]:
        """By the rows of whoever follows Kafka."""
        return dict(await self._rows(_REACTIONS_ON, [partition]))

    async def effects(self, of: StoredEvent) -> Effects:
        """Causes are not indexed, so as not to burden the append: the next events of the project are looked at."""
        later = _OF_PROJECT if of.project_id else _OF_ALL
        wanted = {
            "position": of.position,
            "project_id": of.project_id,
            "command_id": of.command_id,
            "most": LOOKED_AT,
        }
        with unavailable_when_away():
            async with self._pool.connection() as connection, connection.cursor(row_factory=args_row(Effect)) as cursor:
                found = await (await cursor.execute((later + _EFFECTS).encode(), wanted)).fetchall()
        return Effects(found, (await self._rows(later + _SEARCHED_TO, wanted))[0][0])

    async def _rows(self, query: str, values: Mapping[str, object] | Sequence[object]) -> list[tuple[Any, ...]]:
        with unavailable_when_away():
            async with self._pool.connection() as connection:
                return await (await connection.execute(query.encode(), values)).fetchall()


def _packed(batch: RelayedBatch) -> str:
    first = batch.first
    runs = [[run.partition, run.offset, [each - first for each in run.positions]] for run in batch.runs]
    return orjson.dumps(runs).decode()


def _unpacked(packed: str, first: int) -> list[Run]:
    return [
        Run(partition, offset, [first + step for step in steps]) for partition, offset, steps in orjson.loads(packed)
    ]
