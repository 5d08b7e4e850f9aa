"""Rows of a table as dataclasses: a batch reads those that it touches, changes them, and writes them at once."""

from collections.abc import Collection, Iterable
from dataclasses import fields
from decimal import Decimal
from typing import Any, Generic, LiteralString, TypeVar
from uuid import UUID

import orjson
from psycopg import sql
from psycopg.rows import class_row

from domain.values import money_text
from projections.projector import Connection

R = TypeVar("R")


class Rows(Generic[R]):
    """A table whose columns are the fields of a dataclass, in any order; `key` is a uuid and its primary key."""

    def __init__(self, kind: type[R], table: LiteralString, key: LiteralString) -> None:
        self.table = table
        self.columns = [each.name for each in fields(kind)]  # pyright: ignore[reportArgumentType] -- a dataclass
        self._kind = kind
        self._key = key
        name, columns = sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, self.columns))
        changes = sql.SQL(", ").join(
            sql.SQL("{0} = excluded.{0}").format(sql.Identifier(each)) for each in self.columns if each != key
        )
        # One JSON document for the whole batch: psycopg writes an array element by element in Python, orjson does not.
        self._insert = sql.SQL(
            "insert into {0} ({1}) select {1} from json_populate_recordset(null::{0}, %s::json)"
        ).format(name, columns)
        self._save = sql.SQL("{} on conflict ({}) do update set {}").format(self._insert, sql.Identifier(key), changes)
        self._load = sql.SQL("select {} from {} where ").format(columns, name)

    async def load(self, connection: Connection, keys: Collection[UUID], by: LiteralString | None = None) -> list[R]:
        """The rows that there are of these keys, or with one of these values in another column."""
        if not keys:
            return []
        where = sql.SQL("{} = any(%s)").format(sql.Identifier(by or self._key))
        async with connection.cursor(row_factory=class_row(self._kind)) as cursor:
            return await (await cursor.execute(sql.SQL("{}{}").format(self._load, where), [list(keys)])).fetchall()

    async def insert(self, connection: Connection, rows: Iterable[R]) -> None:
        """Write rows that are new."""
        await self._write(connection, self._insert, rows)

    async def save(self, connection: Connection, rows: Iterable[R]) -> None:
        """Write rows, new or changed."""
        await self._write(connection, self._save, rows)

    async def _write(self, connection: Connection, statement: sql.Composed, rows: Iterable[R]) -> None:
        if whole := list(rows):
            await connection.execute(statement, [as_json(whole)])


def as_json(rows: list[Any]) -> str:
    """Dataclasses as a JSON array that `json_populate_recordset` reads back exactly."""
    return orjson.dumps(rows, default=_exact).decode()


def _exact(value: object) -> str:
    if isinstance(value, Decimal):
        return money_text(value)
    raise TypeError(f"{type(value).__name__} has no column type")
