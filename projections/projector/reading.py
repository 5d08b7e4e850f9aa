"""Reading read models: one snapshot of rows and positions that no switch can tear."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import sql

from domain.errors import Unavailable
from projections.projector.connecting import Connection, Connections, unavailable_when_away
from projections.projector.projection import Projection

# The lock is taken before the snapshot. The other way round, a switch in between would show tables whose rows are
# younger than the snapshot: half of them.
_LOCK: Final = "lock table {} in access share mode"
_WHERE: Final = (
    "select projection, version, position from projection_positions where status = 'live' and projection = any(%s)"
)


@dataclass(frozen=True, slots=True)
class Reading:
    """A read-only snapshot. `position` is what an answer from all these projections is true for: the lowest of them."""

    connection: Connection
    position: int
    positions: Mapping[str, int]


@asynccontextmanager
async def reading(connections: Connections, *projections: Projection | type[Projection]) -> AsyncGenerator[Reading]:
    """Lend a connection that sees these projections as they are at this moment, and goes on seeing them so.

    Raises Unavailable while one of them is built for the first time or for a version that this code cannot read yet.
    """
    chosen = [each() if isinstance(each, type) else each for each in projections]
    tables = sql.SQL(", ").join(sql.Identifier(table) for each in chosen for table in each.tables())
    with unavailable_when_away():
        async with connections.connection() as connection, connection.transaction():
            try:
                async with connection.pipeline():
                    await connection.execute("set transaction isolation level repeatable read, read only")
                    await connection.execute(sql.SQL(_LOCK).format(tables))
                    found = await connection.execute(_WHERE, [[each.name for each in chosen]])
                live = {name: (version, position) for name, version, position in await found.fetchall()}
            except psycopg.errors.UndefinedTable as missing:
                raise _being_built(chosen) from missing
            unreadable = [each for each in chosen if each.name not in live or not each.reads(live[each.name][0])]
            if unreadable:
                raise _being_built(unreadable)
            positions = {name: position for name, (_, position) in live.items()}
            yield Reading(connection, min(positions.values()), positions)


def _being_built(projections: list[Projection]) -> Unavailable:
    names = ", ".join(f"{each.name} (version {each.version})" for each in projections)
    return Unavailable(f"{names} is being built; ask again in a moment", code="being_built", retry_after=2.0)
