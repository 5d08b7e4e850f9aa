"""Lists over tables: one page after another by keyset, never more than the ceiling."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, LiteralString, TypeVar

from psycopg import sql
from psycopg.rows import dict_row

from projections.paging import Page, cursor_text, cursor_values
from projections.projector import Connection

R = TypeVar("R")
CEILING: Final = 200
"""The most rows that one page of any list holds."""


def bounded(limit: int) -> int:
    """A page's size as it is carried out."""
    return max(1, min(limit, CEILING))


@dataclass(frozen=True)
class Listing(Generic[R]):
    """One list: its query, what makes a row of it, what it can be filtered by, and the columns that order it.

    The query holds `{filters}`, `{after}` and `{order}`; all columns in `order` are among those that it selects, and
    together they are unique.
    """

    name: str
    query: LiteralString
    row: Callable[[dict[str, Any]], R]
    order: Mapping[LiteralString, LiteralString]
    """Column to its SQL type: bigint, numeric, text, uuid."""
    filters: Mapping[str, LiteralString]
    """The condition of each filter; its value is the placeholder of the same name."""
    descending: bool = True

    async def page(
        self, connection: Connection, wanted: Mapping[str, object], *, cursor: str | None, limit: int
    ) -> Page[R]:
        """The rows after the cursor; filters that are None are left out. Refused for another list's cursor."""
        limit = bounded(limit)
        values: dict[str, object] = {name: value for name, value in wanted.items() if value is not None}
        conditions = [sql.SQL(self.filters[name]) for name in values]
        columns = list(self.order)
        values["limit"] = limit + 1
        if cursor:
            after = cursor_values(cursor, self._order_name, len(columns))
            values |= {f"after_{column}": text for column, text in zip(columns, after, strict=True)}
        query = sql.SQL(self.query).format(
            filters=sql.SQL(" and ").join(conditions) if conditions else sql.SQL("true"),
            after=self._beyond() if cursor else sql.SQL("true"),
            order=sql.SQL(", ").join(sql.SQL(f"{column} desc" if self.descending else column) for column in columns),
        )
        async with connection.cursor(row_factory=dict_row) as reader:
            found = await (await reader.execute(sql.SQL("{} limit %(limit)s").format(query), values)).fetchall()
        rows = [self.row(each) for each in found[:limit]]
        last = [str(found[limit - 1][column]) for column in columns] if len(found) > limit else None
        return Page(rows, cursor_text(self._order_name, *last) if last else None)

    @property
    def _order_name(self) -> str:
        return f"{self.name} {'desc' if self.descending else 'asc'}"

    def _beyond(self) -> sql.Composed:
        places = [sql.SQL(f"%(after_{column})s::text::{kind}") for column, kind in self.order.items()]
        return sql.SQL("({}) {} ({})").format(
            sql.SQL(", ").join(sql.SQL(column) for column in self.order),
            sql.SQL("<" if self.descending else ">"),
            sql.SQL(", ").join(places),
        )
