"""The moment a finished build replaces what readers see: one transaction, under the locks of both."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from psycopg import sql
from psycopg.rows import class_row

from domain.errors import Refused
from domain.log import LogReader
from projections.projector.advancing import advance, read_slice
from projections.projector.comparing import USE, Comparison, figures
from projections.projector.connecting import Connection
from projections.projector.delivering import forget_old
from projections.projector.partitions import furthest
from projections.projector.positions import Generation, Superseded, scratch_schema
from projections.projector.projection import Projection

_BOTH: Final = (
    "select generation, projection, version, status, position, tables, started_at, updated_at"
    " from projection_positions where projection = %s and status in ('live', 'building') order by generation for update"
)
_PLACE: Final = "select current_schema(), current_setting('search_path')"
# Readers queue behind a waiting drop: it waits for the slow ones among them only this long at a time.
_IMPATIENT: Final = "set local lock_timeout = '2s'"
_TABLES: Final = (
    "select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
    " where n.nspname = %s and c.relkind in ('r', 'p') order by c.relname"
)
_RETIRE: Final = "update projection_positions set status = 'old', tables = '{}' where generation = %s"
_UNPARK: Final = "delete from projection_parked where generation = %s"
_PROMOTE: Final = "update projection_positions set status = 'live', tables = %s where generation = %s"


async def place(connection: Connection) -> tuple[str, str]:
    """The schema that readers use, and the search path that finds it."""
    row = await (await connection.execute(_PLACE)).fetchone()
    return (str(row[0]), str(row[1])) if row else ("public", "public")


async def switch(
    connection: Connection,
    reader: LogReader,
    projection: Projection,
    build: Generation,
    accept: Callable[[Comparison], bool],
) -> tuple[Generation, Comparison]:
    """Bring the build to the live position, compare, drop the old tables, move the new ones in.

    Raises Refused when `accept` declines, Superseded when another process has moved the build, and the driver's
    LockNotAvailable when readers hold the old tables: nothing has changed then.
    """
    async with connection.transaction():
        home, path = await place(connection)
        live, build = await _lock_both(connection, projection, build)
        # Where Kafka is followed, some partitions are ahead of the others: none of them may go back.
        end = await furthest(connection, live) if live else 0
        while build.position < end:
            batch = await read_slice(reader, projection, build.position, end)
            build = (await advance(connection, projection, build, batch)).generation
        comparison = await _compare(connection, projection, live, build, path)
        if not accept(comparison):
            msg = f"the rebuild of {projection.name} was declined: {'; '.join(comparison.differences()) or 'no change'}"
            raise Refused(msg, code="rebuild_declined")
        await connection.execute(USE, [path])
        await connection.execute(_IMPATIENT)
        if live:
            await _drop_tables(connection, home, live.tables)
            await connection.execute(_RETIRE, [live.generation])
            await connection.execute(_UNPARK, [live.generation])
            await forget_old(connection)
        tables = await _move_in(connection, projection, home)
        await connection.execute(_PROMOTE, [tables, build.generation])
        await connection.execute("set local synchronous_commit = on")
    return replace(build, status="live", tables=tables), comparison


async def _lock_both(
    connection: Connection, projection: Projection, build: Generation
) -> tuple[Generation | None, Generation]:
    """Hold up the follower of the live one, and any zombie builder, until the switch is over."""
    async with connection.cursor(row_factory=class_row(Generation)) as cursor:
        rows = {each.status: each for each in await (await cursor.execute(_BOTH, [projection.name])).fetchall()}
    own = rows.get("building")
    if own is None or (own.generation, own.position) != (build.generation, build.position):
        msg = f"another process took over the build of projection {projection.name}; this one stops"
        raise Superseded(msg)
    return rows.get("live"), own


async def _compare(
    connection: Connection, projection: Projection, live: Generation | None, build: Generation, path: str
) -> Comparison:
    before = None
    if live and live.version == projection.version:
        before = await figures(connection, projection, live.tables, search_path=path, position=live.position)
    scratch = f"{scratch_schema(projection.name)}, {path}"
    built = await figures(connection, projection, projection.tables(), search_path=scratch, position=build.position)
    return Comparison(before, built)


async def _drop_tables(connection: Connection, home: str, tables: Sequence[str]) -> None:
    if tables:
        names = sql.SQL(", ").join(sql.Identifier(home, each) for each in tables)
        await connection.execute(sql.SQL("drop table {}").format(names))


async def _move_in(connection: Connection, projection: Projection, home: str) -> list[str]:
    scratch = scratch_schema(projection.name)
    found = await (await connection.execute(_TABLES, [scratch])).fetchall()
    tables = [str(row[0]) for row in found]
    for table in tables:
        move = sql.SQL("alter table {} set schema {}").format(sql.Identifier(scratch, table), sql.Identifier(home))
        await connection.execute(move)
    # No cascade: a view, a function or a type in the script would stay behind, so it fails and nothing is switched.
    await connection.execute(sql.SQL("drop schema {}").format(sql.Identifier(scratch)))
    return tables
