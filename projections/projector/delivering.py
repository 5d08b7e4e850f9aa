"""When each batch reached each read model: a row beside its position, and what is read from them of one event."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from psycopg.rows import class_row

from projections.projector.connecting import Connection

KEPT_BATCHES: Final = 10_000
"""Rows for each build of a projection and each partition; older events were applied at the latest with the first."""
SWEEP_EVERY: Final = 10_000
"""Positions after which what is too old goes, in passing."""
LOG: Final = -1
"""Stands for the log itself where Kafka's partitions have numbers."""

# Whoever was overtaken is told so by the position, not by this row.
_NOTE: Final = (
    "insert into projection_deliveries (generation, partition, up_to, after) values (%s, %s, %s, %s)"
    " on conflict do nothing"
)
_SWEEP: Final = (
    "delete from projection_deliveries where generation = %(generation)s and partition = %(partition)s and up_to <="
    " (select up_to from projection_deliveries where generation = %(generation)s and partition = %(partition)s"
    " order by up_to desc offset %(kept)s limit 1)"
)
_NOTE_RETRY: Final = (
    "insert into projection_retries (generation, key, first, up_to) values (%s, %s, %s, %s)"
    " on conflict (generation, key, first) do update set up_to = excluded.up_to, applied_at = excluded.applied_at"
)
_FORGET: Final = (
    "delete from {} as gone where not exists (select from projection_positions as kept"
    " where kept.generation = gone.generation and kept.status <> 'old')"
)
_OF: Final = (
    "select g.projection, g.version, greatest(g.position, own.position) as position,"
    " p.position as parked_since, p.reason, coalesce(r.applied_at, d.applied_at) as applied_at,"
    " r.applied_at is not null or coalesce(d.after < %(position)s, false) as exact"
    " from projection_positions g"
    " left join projection_partitions own on own.generation = g.generation and own.partition = %(own)s"
    " left join projection_parked p on p.generation = g.generation and p.key = %(key)s and p.position <= %(position)s"
    " left join lateral (select applied_at from projection_retries where generation = g.generation and key = %(key)s"
    " and first <= %(position)s and up_to >= %(position)s order by applied_at desc limit 1) r on true"
    " left join lateral (select each.after, each.applied_at from unnest(%(partitions)s::smallint[]) as wanted (number)"
    " cross join lateral (select after, applied_at from projection_deliveries where generation = g.generation"
    " and partition = wanted.number and up_to >= %(position)s order by up_to limit 1) each"
    " order by each.after < %(position)s desc, each.applied_at limit 1) d on true"
    " where g.status = 'live' order by g.projection"
)


@dataclass(frozen=True, slots=True)
class Delivery:
    """How far one event is on its way into a live projection."""

    projection: str
    version: int
    position: int
    """Where the projection stands, on the event's partition where it is followed by partition."""
    parked_since: int | None
    """Where the event's key waits, if it does and the event waits with it."""
    reason: str | None
    applied_at: datetime | None
    exact: bool
    """Whether that is the very batch of the event; else a later one, for its own row was swept."""

    def applied(self, position: int) -> bool:
        """Whether the event is in the rows."""
        return self.parked_since is None and (self.position >= position or self.exact)


async def note_applied(
    connection: Connection, generation: int, *, after: int, up_to: int, partition: int | None = None
) -> None:
    """Write down that a build of a projection took `after < position <= up_to` of the log, or of a partition.

    Belongs into the batch's own transaction, and into its pipeline, where it costs no round trip. A batch that moves
    nothing leaves no row.
    """
    if up_to <= after:
        return
    number = LOG if partition is None else partition
    await connection.execute(_NOTE, [generation, number, up_to, after])
    if up_to // SWEEP_EVERY != after // SWEEP_EVERY:
        await sweep(connection, generation, partition=partition)


async def sweep(
    connection: Connection, generation: int, *, partition: int | None = None, kept: int = KEPT_BATCHES
) -> None:
    """Let go of all but the newest rows."""
    number = LOG if partition is None else partition
    await connection.execute(_SWEEP, {"generation": generation, "partition": number, "kept": kept})


async def note_retried(connection: Connection, generation: int, key: UUID, *, first: int, up_to: int) -> None:
    """Write down that the events of a parked key were taken up now."""
    if first <= up_to:
        await connection.execute(_NOTE_RETRY, [generation, key, first, up_to])


async def forget_old(connection: Connection) -> None:
    """Let go of the rows about builds that nobody reads any more."""
    for table in ("projection_deliveries", "projection_retries"):
        await connection.execute(_FORGET.format(table).encode())  # bytes: both names are ours


async def deliveries(
    connection: Connection, position: int, key: UUID, *, partition: int | None = None
) -> Sequence[Delivery]:
    """How far the event at a position, with this key and on this partition, is on its way into every projection."""
    partitions = [LOG] if partition is None else [LOG, partition]
    async with connection.cursor(row_factory=class_row(Delivery)) as cursor:
        return await (
            await cursor.execute(_OF, {"position": position, "key": key, "partitions": partitions, "own": partition})
        ).fetchall()
