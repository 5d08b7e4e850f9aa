"""Documents: one view per key, folded by a pure function, kept as JSON with the position it is true for."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Generic, Literal, LiteralString, NamedTuple, TypeVar, cast, get_args
from uuid import UUID

from psycopg import sql
from pydantic import BaseModel

from domain.kernel import Event
from domain.log import StoredEvent
from projections.paging import Page, cursor_text, cursor_values
from projections.projector.connecting import Connection
from projections.projector.projection import Applied, Projection, heard_by

V = TypeVar("V", bound=BaseModel)
BREATH = 200
"""Events folded before other tasks of the process get their turn: a few milliseconds."""

_KINDS: Final[Mapping[str, tuple[LiteralString, LiteralString]]] = {
    "text": ('text collate "C"', "text"),
    "bigint": ("bigint", "bigint"),
    "numeric": ("numeric", "numeric"),
    "uuid": ("uuid", "uuid"),
    "boolean": ("boolean", "boolean"),
}
_OWN: Final[Mapping[str, LiteralString]] = {"key": "uuid", "position": "bigint"}
_LOAD: Final = "select key, project_id, position, body::text from {} where key = any(%s)"
_SAVE: Final = (
    "insert into {} as kept (key, project_id, position, body)"
    " select key, project_id, position, body::json"
    " from unnest(%s::uuid[], %s::uuid[], %s::bigint[], %s::text[]) as new (key, project_id, position, body)"
    " on conflict (key) do update set project_id = excluded.project_id, position = excluded.position,"
    " body = excluded.body"
)
_REMOVE: Final = "delete from {} where key = any(%s)"
_PAGE: Final = (
    "select t.key, t.project_id, t.position, t.body::text, t.{column}::text from {table} t where {conditions}"
    " order by t.{column} {way}, t.key {way} limit %(limit)s"
)


class Column(NamedTuple):
    """A field of the view that lists are filtered or sorted by: PostgreSQL takes it from the body by itself.

    Instants are `text`: their one spelling sorts by time.
    """

    kind: Literal["text", "bigint", "numeric", "uuid", "boolean"] = "text"


@dataclass(frozen=True, slots=True)
class Row(Generic[V]):
    """A view as stored; `position` is that of the last event that changed it."""

    key: UUID
    project_id: UUID | None
    position: int
    view: V


class Document(Projection, Generic[V]):
    """One frozen pydantic view per key: `class Overview(Document[OverviewView])`.

    Fold methods are marked with `@on(...)` and take `(view or None, event, stored)` to the next view, or to None, which
    removes the row. They are pure: nothing but their arguments, and a new view instead of a changed one. Whatever is
    listed by is named in `columns`; `indexes` are lists of columns, `key` is added to each.
    """

    View: type[V]
    begins: ClassVar[type[Event] | None] = None
    """The event without which there is no view, if there is one: whatever else comes first is passed over. `version`
    and `changed_at` are then those of the last event of the view's own stream."""
    columns: ClassVar[Mapping[str, Column]] = {}
    indexes: ClassVar[Sequence[Sequence[str]]] = ()
    _folds: ClassVar[Mapping[str | None, str]] = {}
    _stamped: ClassVar[Sequence[str]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        view = next((_argument(base) for base in getattr(cls, "__orig_bases__", ()) if _argument(base)), None)
        if view is not None:
            cls.View = cast("type[V]", view)
            cls._check_view(view)
            cls._stamped = [each for each in ("version", "changed_at") if each in view.model_fields]
        cls._folds = heard_by(cls)
        super().__init_subclass__(**kwargs)

    @classmethod
    def _check_view(cls, view: type[BaseModel]) -> None:
        if not view.model_config.get("frozen"):
            msg = f"{view.__qualname__} must be frozen: a fold makes the next view, it does not change the last one"
            raise TypeError(msg)
        for name in cls.columns:
            if name not in view.model_fields:
                msg = f"column {name} of {cls.__qualname__} is no field of {view.__qualname__}"
                raise TypeError(msg)

    # --- the fold ---

    def key(self, stored: StoredEvent, event: Event) -> UUID | None:  # noqa: ARG002 -- for those that override it
        """Which view the event belongs to; None for none. The stream's, unless overridden."""
        return stored.stream_id

    def evolve(self, view: V | None, event: Event, stored: StoredEvent) -> V | None:
        """The next view. An event that no method hears changes nothing but the version."""
        if view is None and self.begins and not isinstance(event, self.begins):
            return None
        name = self._folds.get(stored.type) or self._folds.get(None)
        after: V | None = getattr(self, name)(view, event, stored) if name else view
        if after is None or not self.begins or stored.stream_id != self.key(stored, event):
            return after
        stamp: dict[str, object] = {"version": stored.version, "changed_at": stored.recorded_at}
        return after.model_copy(update={each: stamp[each] for each in self._stamped})

    def ddl(self) -> str:
        """One table named like the projection."""
        columns = "".join(
            f"    {name} {_KINDS[column.kind][0]}{'' if _nullable(self.View, name) else ' not null'}"
            f" generated always as ((body ->> '{name}')::{_KINDS[column.kind][1]}) stored,\n"
            for name, column in self.columns.items()
        )
        indexes = "".join(
            f"create index on {self.name} ({', '.join(dict.fromkeys([*index, 'key']))});\n" for index in self.indexes
        )
        return (
            f"create table {self.name} (\n    key uuid not null primary key,\n    project_id uuid,\n"
            f"    position bigint not null,\n{columns}    body json not null\n);\n"
            f"create index on {self.name} (project_id, key);\n{indexes}"
        )

    def tables(self) -> tuple[str, ...]:
        """The one table."""
        return (self.name,)

    async def apply(self, connection: Connection, batch: Sequence[Applied]) -> None:
        """Load the views of a batch, fold in memory, write back those that changed."""
        keyed = [(key, each) for each in batch if (key := self.key(each.stored, each.event)) is not None]
        before = {row.key: row for row in await self.many(connection, {key for key, _ in keyed})}
        after: dict[UUID, Row[V] | None] = dict(before)
        for count, (key, each) in enumerate(keyed, 1):
            after[key] = self._next(key, after.get(key), each)
            if count % BREATH == 0:
                await asyncio.sleep(0)
        changed = [row for key, row in after.items() if row is not None and row is not before.get(key)]
        gone = [key for key, row in after.items() if row is None and key in before]
        if changed:
            columns = zip(
                *((row.key, row.project_id, row.position, row.view.model_dump_json()) for row in changed), strict=True
            )
            await connection.execute(self._sql(_SAVE), [list(each) for each in columns])
        if gone:
            await connection.execute(self._sql(_REMOVE), [gone])

    def _next(self, key: UUID, row: Row[V] | None, each: Applied) -> Row[V] | None:
        stored = each.stored
        view = self.evolve(row.view if row else None, each.event, stored)
        if view is None:
            return None
        if row is None:
            return Row(key, stored.project_id, stored.position, view)
        return row if view is row.view else Row(key, row.project_id, max(row.position, stored.position), view)

    # --- queries ---

    @classmethod
    async def find(cls, connection: Connection, key: UUID) -> Row[V] | None:
        """The view of one key."""
        return next(iter(await cls.many(connection, [key])), None)

    @classmethod
    async def many(cls, connection: Connection, keys: Collection[UUID]) -> Sequence[Row[V]]:
        """The views of these keys, as far as there are any, in no order."""
        if not keys:
            return []
        found = await connection.execute(cls._sql(_LOAD), [list(keys)])
        return [cls._row(*row) for row in await found.fetchall()]

    @classmethod
    async def page(
        cls,
        connection: Connection,
        *,
        where: Mapping[str, object] | None = None,
        order_by: str = "key",
        descending: bool = False,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Row[V]]:
        """Up to `limit` views in the order of a column and then the key, after the cursor of the page before.

        `where` holds equal values by column; a collection means any of its values, None means that it has none.
        Refused for a cursor of another list, ValueError for a column that cannot be listed by.
        """
        column, kind = sql.Identifier(order_by), cls._order(order_by)
        order = f"{cls.name} {order_by} {'desc' if descending else 'asc'}"
        wanted: dict[str, object] = {"limit": limit + 1}
        conditions = [cls._condition(name, value, wanted) for name, value in (where or {}).items()]
        if cursor:
            wanted["value"], wanted["after"] = cursor_values(cursor, order)
            beyond = sql.SQL("(t.{}, t.key) {} (%(value)s::text::{}, %(after)s::text::uuid)")
            conditions.append(beyond.format(column, sql.SQL("<" if descending else ">"), sql.SQL(kind)))
        query = sql.SQL(_PAGE).format(
            table=sql.Identifier(cls.name),
            column=column,
            way=sql.SQL("desc" if descending else "asc"),
            conditions=sql.SQL(" and ").join(conditions) if conditions else sql.SQL("true"),
        )
        found = await (await connection.execute(query, wanted)).fetchall()
        rows = [cls._row(*row[:4]) for row in found[:limit]]
        more = len(found) > limit
        return Page(rows, cursor_text(order, found[limit - 1][4], str(rows[-1].key)) if more else None)

    @classmethod
    def _order(cls, name: str) -> LiteralString:
        if name in _OWN:
            return _OWN[name]
        if name not in cls.columns or _nullable(cls.View, name):
            msg = f"{cls.name} is listed by key, position or a column that always has a value, not by {name}"
            raise ValueError(msg)
        return _KINDS[cls.columns[name].kind][1]

    @classmethod
    def _condition(cls, name: str, value: object, wanted: dict[str, object]) -> sql.Composed:
        if name not in {"key", "project_id", *cls.columns}:
            msg = f"{cls.name} has no column {name} to filter by"
            raise ValueError(msg)
        if value is None:
            return sql.SQL("{} is null").format(sql.Identifier(name))
        place = f"where_{name}"
        if isinstance(value, Iterable) and not isinstance(value, str):
            wanted[place] = list(cast("Iterable[object]", value))
            return sql.SQL("{} = any({})").format(sql.Identifier(name), sql.Placeholder(place))
        wanted[place] = value
        return sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(place))

    @classmethod
    def _sql(cls, text: LiteralString) -> sql.Composed:
        return sql.SQL(text).format(sql.Identifier(cls.name))

    @classmethod
    def _row(cls, key: UUID, project_id: UUID | None, position: int, body: str) -> Row[V]:
        return Row(key, project_id, position, cls.View.model_validate_json(body))


def _argument(base: object) -> type[BaseModel] | None:
    """The view in `Document[View]`."""
    found = next(iter(get_args(base)), None)
    return found if isinstance(found, type) and issubclass(found, BaseModel) else None


def _nullable(view: type[BaseModel], name: str) -> bool:
    return type(None) in get_args(view.model_fields[name].annotation)
