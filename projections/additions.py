"""Tables that rows are only added to: as COPY in its binary form, the cheapest way there is."""

from collections.abc import Iterable, Mapping, Sequence

from psycopg import sql

from projections.projector import Connection


class Additions:
    """A table, and the type of each column in the order of its rows: binary COPY converts nothing."""

    def __init__(self, table: str, columns: Mapping[str, str]) -> None:
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        self._copy = sql.SQL("copy {} ({}) from stdin (format binary)").format(sql.Identifier(table), names)
        self._types = list(columns.values())

    async def write(self, connection: Connection, rows: Iterable[Sequence[object]]) -> None:
        """Add rows that are not there yet."""
        async with connection.cursor() as cursor, cursor.copy(self._copy) as copy:
            copy.set_types(self._types)
            for row in rows:
                await copy.write_row(row)
