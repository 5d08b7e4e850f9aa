"""Parquet files over pyarrow: typed columns, row group by row group, in the same memory however much it is."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from types import TracebackType
from typing import IO, Any, Final, Literal, Self

import orjson

from domain.errors import Refused

Kind = Literal["text", "integer", "instant", "day", "amount", "flag", "json"]
ROWS: Final = 50_000
"""Rows of a group: enough to be scanned fast."""
BYTES: Final = 32 * 1024 * 1024
"""Text after which a group is written although it has fewer rows."""
AMOUNT: Final = (28, 12)
"""Digits of an amount, and how many of them are fractions of a dollar."""
_FROM_TEXT: Final[Mapping[Kind, Callable[[Any], Any]]] = {
    "text": str,
    "integer": int,
    "instant": datetime.fromisoformat,
    "day": date.fromisoformat,
    "amount": Decimal,
    "flag": bool,
    "json": lambda value: orjson.dumps(value).decode(),
}


def require() -> None:
    """Refuse when pyarrow is not there, before anything is asked of anybody."""
    _arrow()


def _arrow(module: str = "pyarrow") -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as missing:
        raise Refused(
            "Parquet is written by pyarrow, which is not installed: pip install 'toybox[analytics]', or export with "
            "--format ndjson",
            code="pyarrow_missing",
        ) from missing


class ParquetFile:
    """Rows of these columns into an open file. Whole once it was left without an error."""

    def __init__(self, file: IO[bytes], columns: Mapping[str, Kind], about: Mapping[str, str]) -> None:
        arrow = _arrow()
        types: dict[Kind, Any] = {
            "text": arrow.string(),
            "integer": arrow.int64(),
            "instant": arrow.timestamp("us", tz="UTC"),
            "day": arrow.date32(),
            "amount": arrow.decimal128(*AMOUNT),
            "flag": arrow.bool_(),
            "json": arrow.string(),
        }
        self._arrow = arrow
        self._columns = columns
        self._schema = arrow.schema([(name, types[kind]) for name, kind in columns.items()], metadata=dict(about))
        self._writer = _arrow("pyarrow.parquet").ParquetWriter(file, self._schema, compression="zstd")
        self._rows: list[Mapping[str, Any]] = []
        self._size = 0

    def write(self, row: Mapping[str, Any], size: int) -> None:
        """One row, as JSON has it: amounts, instants and positions are text. `size` is about what it takes."""
        self._rows.append(row)
        self._size += size
        if len(self._rows) >= ROWS or self._size >= BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            made = [self._column(name, kind) for name, kind in self._columns.items()]
            self._writer.write_table(self._arrow.Table.from_arrays(made, schema=self._schema))
            self._rows, self._size = [], 0

    def _column(self, name: str, kind: Kind) -> Any:
        read = _FROM_TEXT[kind]
        values: Sequence[Any] = [None if (value := row.get(name)) is None else read(value) for row in self._rows]
        return self._arrow.array(values, type=self._schema.field(name).type)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        self._writer.close()
