"""One batch into one projection: rows, parked keys and position in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from domain.errors import Unavailable
from domain.log import LogReader, StoredEvent
from projections.projector.connecting import Connection, is_fault_of_event, told
from projections.projector.positions import Generation, move
from projections.projector.projection import Applied, Projection

SLICE = 2000
"""Events that a build reads at a time."""

_PARK: Final = (
    "insert into projection_parked (generation, key, projection, position, type, reason)"
    " values (%s, %s, %s, %s, %s, %s)"
)


@dataclass(frozen=True, slots=True)
class Slice:
    """Consecutive events of the log: all with `after < position <= up_to` that its reader asked for."""

    after: int
    up_to: int
    items: Sequence[Applied]

    def beyond(self, position: int) -> "Slice":
        """What is left of it for a projection that stands at `position`."""
        if position == self.after:
            return self
        if not self.after <= position <= self.up_to:
            msg = f"a slice of {self.after} to {self.up_to} does not continue a projection at {position}"
            raise ValueError(msg)
        return Slice(position, self.up_to, [each for each in self.items if each.stored.position > position])


async def read_slice(reader: LogReader, projection: Projection, after: int, up_to: int) -> Slice:
    """The next events that this projection hears; without them to the end, the slice still reaches `up_to`."""
    found = await reader.read(after, SLICE, types=projection.types, up_to=up_to)
    end = found[-1].position if len(found) == SLICE else up_to
    return Slice(after, end, [Applied(each) for each in found])


@dataclass(frozen=True, slots=True)
class Parked:
    """A key that waits, from this event on, because folding the event failed."""

    key: UUID
    position: int
    type: str
    reason: str


@dataclass(frozen=True, slots=True)
class Advanced:
    """What a batch did: where the projection stands now, how many events it took, which keys were parked."""

    generation: Generation
    applied: int
    parked: Sequence[Parked] = ()


async def advance(connection: Connection, projection: Projection, of: Generation, batch: Slice) -> Advanced:
    """Bring the projection from its position to the end of the batch, durably and at once or not at all.

    Raises Superseded when another follower has moved it, Unavailable when the next event it hears is from the future
    (those before it are applied first), and whatever the database or the SQL is at fault for. An event that cannot be
    folded parks its key and stops nobody else.
    """
    batch = batch.beyond(of.position)
    heard = [each for each in batch.items if projection.hears(each.stored.type)]
    batch, heard = _readable(projection, of, batch, heard)
    try:
        return await _advance(connection, projection, of, batch.up_to, heard, carefully=False)
    except Exception as error:
        if not is_fault_of_event(error):
            raise
    # Once more from the start, now with a savepoint around each key to find the one that fails.
    return await _advance(connection, projection, of, batch.up_to, heard, carefully=True)


def _readable(
    projection: Projection, of: Generation, batch: Slice, heard: list[Applied]
) -> tuple[Slice, list[Applied]]:
    kinds = {(each.stored.type, each.stored.schema_version): each for each in reversed(heard)}
    ahead = [each.stored for each in kinds.values() if each.from_the_future]
    if not ahead:
        return batch, heard
    stop = min(ahead, key=lambda each: each.position)
    if stop.position - 1 <= of.position:
        raise newer(projection, of, stop)
    return Slice(batch.after, stop.position - 1, batch.items), [
        each for each in heard if each.stored.position < stop.position
    ]


def newer(projection: Projection, of: Generation, stop: StoredEvent) -> Unavailable:
    """What is said of an event that only a newer toybox can read."""
    msg = (
        f"projection {projection.name} stops at position {of.position}: event {stop.type} version "
        f"{stop.schema_version} was written by a newer toybox; upgrade this process"
    )
    return Unavailable(msg, code="newer_event", position=stop.position)


async def _advance(
    connection: Connection,
    projection: Projection,
    of: Generation,
    to: int,
    heard: Sequence[Applied],
    *,
    carefully: bool,
) -> Advanced:
    found: list[Parked] = []
    async with connection.transaction():
        waiting = await move(connection, of, to)
        taken = [each for each in heard if each.key not in waiting] if waiting else heard
        if carefully:
            found = await apply_by_key(connection, projection, taken)
            await park(connection, of, found)
        elif taken:
            await projection.apply(connection, taken)
    return Advanced(replace(of, position=to), len(taken), found)


async def apply_by_key(connection: Connection, projection: Projection, batch: Sequence[Applied]) -> list[Parked]:
    """Apply each key's events on their own and answer the keys that failed, with everything before the failure kept."""
    by_key: dict[UUID, list[Applied]] = {}
    for each in batch:
        by_key.setdefault(each.key, []).append(each)
    parked: list[Parked] = []
    for events in by_key.values():
        if await _failure(connection, projection, events):
            parked += await _apply_until_one_fails(connection, projection, events)
    return parked


async def apply_or_park(
    connection: Connection, projection: Projection, of: Generation, batch: Sequence[Applied]
) -> list[Parked]:
    """Apply a batch inside the caller's transaction; the keys that fail are parked and answered."""
    if not batch or (await _failure(connection, projection, batch)) is None:
        return []
    parked = await apply_by_key(connection, projection, batch)
    await park(connection, of, parked)
    return parked


async def _failure(connection: Connection, projection: Projection, events: Sequence[Applied]) -> Exception | None:
    try:
        async with connection.transaction():
            await projection.apply(connection, events)
    except Exception as error:
        if not is_fault_of_event(error):
            raise
        return error
    return None


async def _apply_until_one_fails(
    connection: Connection, projection: Projection, events: Sequence[Applied]
) -> Sequence[Parked]:
    for each in events:
        if error := await _failure(connection, projection, [each]):
            return [Parked(each.key, each.stored.position, each.stored.type, told(error))]
    return []


async def park(connection: Connection, of: Generation, keys: Sequence[Parked]) -> None:
    """Let these keys wait, inside the caller's transaction."""
    if keys:
        async with connection.cursor() as cursor:
            rows = [(of.generation, each.key, of.projection, each.position, each.type, each.reason) for each in keys]
            await cursor.executemany(_PARK, rows)
