"""How far each projection is: one row per build of it, compared and set with every batch."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, LiteralString
from uuid import UUID

from psycopg.rows import class_row

from domain.errors import Unavailable
from projections.projector.connecting import Connection, Connections, unavailable_when_away
from projections.projector.delivering import note_applied

POLL_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2)
"""How often a waiter in another process than the follower looks; the last one repeats."""
Status = Literal["live", "building", "old"]

_COLUMNS: Final[LiteralString] = "generation, projection, version, status, position, tables, started_at, updated_at"
_OF: Final = f"select {_COLUMNS} from projection_positions where projection = %s and status = %s"
_ALL: Final = f"select {_COLUMNS} from projection_positions where status <> 'old' order by projection, status desc"
_REACHED: Final = "select projection, position from projection_positions where status = 'live' and projection = any(%s)"
_MOVE: Final = (
    "update projection_positions set position = %(to)s, updated_at = clock_timestamp()"
    " where generation = %(generation)s and status = %(status)s and position = %(from)s"
    " and not exists (select from projection_partitions where generation = %(generation)s)"
)
_HOLD: Final = "select position from projection_positions where generation = %s and status = %s for update"
_NOW: Final = "select status, position from projection_positions where generation = %s"
# Read models are derived from a durable log: a crash of the server takes the last rows and their position together.
_SETTINGS: Final = (
    "select set_config('synchronous_commit', 'off', true), set_config('lock_timeout', '5s', true),"
    " set_config('search_path', case when %(schema)s::text is null then current_setting('search_path')"
    " else quote_ident(%(schema)s) || ', ' || current_setting('search_path') end, true)"
)
_PARKED: Final = "select key from projection_parked where generation = %s"


class Superseded(Exception):
    """Somebody else moved this projection: whoever gets this has stopped writing and must look at it anew."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One build of a projection: its tables were made once, from position 0, by one version of its code."""

    generation: int
    projection: str
    version: int
    status: Status
    position: int
    tables: Sequence[str]
    started_at: datetime
    updated_at: datetime

    @property
    def scratch(self) -> str | None:
        """The schema that holds it while it is built; None once readers see it."""
        return scratch_schema(self.projection) if self.status == "building" else None


def scratch_schema(projection: str) -> str:
    """Where a projection is built beside the live one."""
    return f"rebuild_{projection}"


async def generation(connection: Connection, projection: str, status: Status) -> Generation | None:
    """The live generation of a projection, or the one that is being built."""
    async with connection.cursor(row_factory=class_row(Generation)) as cursor:
        return await (await cursor.execute(_OF, [projection, status])).fetchone()


async def generations(connection: Connection) -> Sequence[Generation]:
    """Every generation that is live or being built, of every projection."""
    async with connection.cursor(row_factory=class_row(Generation)) as cursor:
        return await (await cursor.execute(_ALL)).fetchall()


async def move(connection: Connection, of: Generation, to: int) -> frozenset[UUID]:
    """Claim the events up to `to` inside the caller's transaction and answer the keys that are parked.

    Raises Superseded when the row is not where the caller left it. The parked keys are read by a statement of their
    own, after the row is locked: a retry that held the row may have freed one while this waited.
    """
    async with connection.pipeline():
        await connection.execute(_SETTINGS, {"schema": of.scratch})
        moved = await connection.execute(
            _MOVE, {"to": to, "generation": of.generation, "status": of.status, "from": of.position}
        )
        parked = await connection.execute(_PARKED, [of.generation])
        await note_applied(connection, of.generation, after=of.position, up_to=to)
    if moved.rowcount != 1:
        raise Superseded(await _why(connection, of))
    return frozenset(row[0] for row in await parked.fetchall())


@dataclass(frozen=True, slots=True)
class Held:
    """A generation as it is under its lock: where it stands, and which keys wait."""

    position: int
    waiting: frozenset[UUID]


async def hold(connection: Connection, of: Generation) -> Held:
    """Lock a generation inside the caller's transaction, wherever it stands by now. Superseded when it was replaced."""
    async with connection.pipeline():
        await connection.execute(_SETTINGS, {"schema": of.scratch})
        found = await connection.execute(_HOLD, [of.generation, of.status])
        parked = await connection.execute(_PARKED, [of.generation])
    row = await found.fetchone()
    if row is None:
        raise Superseded(await _why(connection, of))
    return Held(int(row[0]), frozenset(each[0] for each in await parked.fetchall()))


async def _why(connection: Connection, of: Generation) -> str:
    row = await (await connection.execute(_NOW, [of.generation])).fetchone()
    told = f"projection {of.projection}, generation {of.generation}, {of.status} at position {of.position}"
    if row is None:
        return f"{told}: it was dropped; this follower stops writing"
    return f"{told}: another follower left it {row[0]} at position {row[1]}; this one stops writing"


async def reached(connection: Connection, names: Collection[str]) -> dict[str, int]:
    """The position of each of these projections, as far as they are live."""
    return dict(await (await connection.execute(_REACHED, [list(names)])).fetchall())


async def wait_until(
    connections: Connections,
    names: Collection[str],
    position: int,
    timeout: float,  # noqa: ASYNC109 -- the caller's patience is part of the question
) -> None:
    """Return as soon as all of these projections show `position`; works in any process.

    Raises Unavailable after `timeout` seconds, naming those that are behind; a database that is away for a moment is
    waited for as well.
    """
    deadline = asyncio.get_running_loop().time() + timeout
    attempt = 0
    while True:
        try:
            with unavailable_when_away():
                async with connections.connection() as connection:
                    now = await reached(connection, names)
            behind = {name: now.get(name) for name in names if now.get(name, -1) < position}
            if not behind:
                return
            trouble = late(behind, position)
        except Unavailable as away:
            trouble = away
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            raise trouble
        await asyncio.sleep(min(left, POLL_SECONDS[min(attempt, len(POLL_SECONDS) - 1)]))
        attempt += 1


def late(behind: dict[str, int | None], position: int) -> Unavailable:
    """What a waiter is told whose patience is over."""
    told = ", ".join(
        f"{name} is {'being built' if now is None else f'at {now}'}" for name, now in sorted(behind.items())
    )
    msg = f"position {position} is not shown yet: {told}; ask again, or without min_position"
    return Unavailable(msg, code="behind", position=position)
