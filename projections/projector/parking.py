"""Parked keys: which wait, since when and why, and how they are taken up again."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from psycopg.rows import class_row

from domain.errors import NotFound, Unavailable
from domain.log import LogReader, StoredEvent
from projections.projector.advancing import Parked, apply_by_key, park
from projections.projector.connecting import Connection, Connections
from projections.projector.delivering import note_retried
from projections.projector.positions import Generation, Held, Superseded, generation, hold
from projections.projector.projection import Applied, Projection

CHUNK = 1000
"""Events that a retry applies at a time."""

_LIVE_PARKED: Final = (
    "select p.projection, p.key, p.position, p.type, p.reason, p.parked_at"
    " from projection_parked p join projection_positions g using (generation) where g.status = 'live'"
    " and (%(projection)s::text is null or p.projection = %(projection)s)"
    " and (%(key)s::uuid is null or p.key = %(key)s) order by p.parked_at, p.projection, p.key"
)
_INCOMPLETE: Final = (
    "select min(p.position) from projection_parked p join projection_positions g using (generation)"
    " where g.status = 'live' and p.projection = %(projection)s and (%(key)s::uuid is null or p.key = %(key)s)"
)
_UNPARK: Final = (
    "delete from projection_parked as parked where generation = %(of)s and key = %(key)s returning position,"
    " (select own.position from projection_partitions own"
    " where own.generation = parked.generation and own.partition = parked.partition)"
)


@dataclass(frozen=True, slots=True)
class ParkedKey:
    """A key of a live projection that waits for a fix and a retry."""

    projection: str
    key: UUID
    position: int
    type: str
    reason: str
    parked_at: datetime


@dataclass(frozen=True, slots=True)
class Retried:
    """What a retry did: how many events it took up, and what failed again, if anything did."""

    applied: int
    parked: Parked | None


async def parked_keys(
    connection: Connection, projection: str | None = None, key: UUID | None = None
) -> Sequence[ParkedKey]:
    """The parked keys of the live projections, the oldest first."""
    async with connection.cursor(row_factory=class_row(ParkedKey)) as cursor:
        return await (await cursor.execute(_LIVE_PARKED, {"projection": projection, "key": key})).fetchall()


async def incomplete_since(connection: Connection, projection: str, key: UUID | None = None) -> int | None:
    """The first position that is missing from answers about this key, or about all of them; None when nothing is."""
    row = await (await connection.execute(_INCOMPLETE, {"projection": projection, "key": key})).fetchone()
    return row[0] if row else None


async def retry(connections: Connections, reader: LogReader, projection: Projection, key: UUID) -> Retried:
    """Take up a parked key: its events from the parked one up to where its follower is, in one transaction.

    The follower of this projection waits meanwhile, and goes on with the key unparked. A key that fails again stays
    parked, from the event that failed now. NotFound when it is not parked, Unavailable while it is being built.
    """
    async with connections.connection() as connection:
        live = await generation(connection, projection.name, "live")
        if live is None or live.version != projection.version:
            msg = f"projection {projection.name} is not live in version {projection.version}; wait for its rebuild"
            raise Unavailable(msg)
        async with connection.transaction():
            held = await _hold(connection, live)
            row = await (await connection.execute(_UNPARK, {"of": live.generation, "key": key})).fetchone()
            if row is None:
                msg = f"key {key} of projection {projection.name} is not parked"
                raise NotFound(msg)
            applied, failed = 0, list[Parked]()
            up_to = held.position if row[1] is None else int(row[1])
            async for batch in _events_of(reader, projection, key, int(row[0]), up_to):
                failed = await apply_by_key(connection, projection, batch)
                applied += sum(1 for each in batch if not failed or each.stored.position < failed[0].position)
                if failed:
                    break
            await park(connection, live, failed)
            through = failed[0].position - 1 if failed else up_to
            await note_retried(connection, live.generation, key, first=int(row[0]), up_to=through)
    return Retried(applied, failed[0] if failed else None)


async def _hold(connection: Connection, live: Generation) -> Held:
    """Lock the position where it is now: nobody applies to this projection until the transaction ends."""
    try:
        return await hold(connection, live)
    except Superseded as rebuilt:
        msg = f"projection {live.projection} was rebuilt this moment: see whether the key is still parked"
        raise Unavailable(msg) from rebuilt


async def _events_of(
    reader: LogReader, projection: Projection, key: UUID, first: int, last: int
) -> AsyncIterator[list[Applied]]:
    """The key's events that the projection hears, with `first <= position <= last`, in chunks."""
    at = await reader.read(first - 1, 1)
    if at and at[0].project_id is None:
        own = await reader.read_stream(key, up_to=last)
        heard = [each for each in own if each.position >= first and each.project_id is None]
        for start in range(0, len(heard), CHUNK):
            yield _heard(projection, heard[start : start + CHUNK])
        return
    after = first - 1
    while found := await reader.read(after, CHUNK, project_id=key, types=projection.types, up_to=last):
        yield _heard(projection, found)
        after = found[-1].position


def _heard(projection: Projection, found: Sequence[StoredEvent]) -> list[Applied]:
    return [Applied(each) for each in found if projection.hears(each.type)]
