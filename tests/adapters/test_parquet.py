"""Parquet files: exact values, groups of bounded size, nothing but nulls where nothing was said."""

import io
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow.parquet as pq
import pytest

from adapters import parquet
from adapters.parquet import Kind, ParquetFile

COLUMNS: dict[str, Kind] = {
    "position": "integer", "name": "text", "at": "instant", "usd": "amount", "estimated": "flag", "data": "json",
}  # fmt: skip
ROW = {
    "position": "9007199254740993",
    "name": "a\u2028b",
    "at": "2026-11-21T10:00:00.123456Z",
    "usd": "999999999999999.123456789012",
    "estimated": False,
    "data": {"lines": [{"amount": "0.1"}]},
}


def written(count: int, row: dict[str, object] = ROW) -> pq.ParquetFile:
    file = io.BytesIO()
    with ParquetFile(file, COLUMNS, {"toybox.what": "tests"}) as rows:
        for _ in range(count):
            rows.write(row, 100)
    return pq.ParquetFile(io.BytesIO(file.getvalue()))


def test_values_are_exact() -> None:
    (read,) = written(1).read().to_pylist()
    assert read == {
        "position": 2**53 + 1,
        "name": "a\u2028b",
        "at": datetime(2026, 11, 21, 10, 0, 0, 123456, UTC),
        "usd": Decimal("999999999999999.123456789012"),
        "estimated": False,
        "data": '{"lines":[{"amount":"0.1"}]}',
    }


def test_what_was_not_said_is_null_and_what_has_no_column_is_left_out() -> None:
    (read,) = written(1, {"other": 1}).read().to_pylist()
    assert read == dict.fromkeys(COLUMNS)


@pytest.mark.parametrize("limit", [("ROWS", 10), ("BYTES", 1000)])
def test_rows_are_written_in_groups(limit: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, *limit)
    file = written(25)
    assert [file.metadata.row_group(each).num_rows for each in range(file.num_row_groups)] == [10, 10, 5]


def test_a_file_of_nothing_has_its_columns() -> None:
    file = written(0)
    assert (file.metadata.num_rows, file.schema_arrow.names) == (0, list(COLUMNS))


def test_an_amount_with_more_digits_than_there_are_is_refused_not_rounded() -> None:
    with pytest.raises(ValueError, match=r"would cause data loss|Rescal"):
        written(1, {**ROW, "usd": "0.1234567890123"})
