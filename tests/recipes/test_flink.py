"""The Flink page says nothing that the contracts do not: topics, columns and their types, options of the connector."""

import re
from datetime import datetime
from decimal import Decimal
from typing import Any, get_args
from uuid import UUID

import orjson
import pytest

from domain.kernel import EVENT_TYPES
from streams.envelope import seal
from streams.products.costs import CostFact
from streams.topics import Topics
from tests.recipes.pages import cells
from tests.streams.relaying import event_at
from toybox.inventory import load

load()
OPTIONS = {
    "connector": {"kafka"},
    "topic": {each.name for each in Topics.named("toybox")},
    "properties.bootstrap.servers": {"localhost:9092"},
    "properties.group.id": {"flink-costs", "flink-events"},
    "properties.isolation.level": {"read_committed"},
    "scan.startup.mode": {"earliest-offset"},
    "format": {"json"},
    "json.timestamp-format.standard": {"ISO-8601"},
}
"""What the page may say, of all that the Kafka connector and its JSON format take."""
MEANS: dict[type, set[str]] = {
    str: {"STRING"},
    UUID: {"STRING"},
    int: {"BIGINT", "INT"},
    bool: {"BOOLEAN"},
    datetime: {"TIMESTAMP_LTZ(3)"},  # watermarks allow no finer one
    Decimal: {"DECIMAL(28, 12)"},
}
COLUMN = re.compile(
    r"^  `(?P<name>\w+)` (?P<type>[A-Z_]+(?:\([\d, ]+\)|<.*>)?)(?P<required> NOT NULL)?,?$", re.MULTILINE
)
SQL = [each.text for each in cells("flink.md")]
TABLES = {re.match(r"CREATE TABLE (\w+)", text)[1]: text for text in SQL if text.startswith("CREATE TABLE")}  # pyright: ignore[reportOptionalSubscript]


def options(table: str) -> dict[str, str]:
    return dict(re.findall(r"'([^']+)' = '([^']*)'", TABLES[table].partition("WITH (")[2]))


def columns(table: str) -> dict[str, tuple[str, bool]]:
    """Names, types, and whether a value must be there."""
    return {each["name"]: (each["type"], bool(each["required"])) for each in COLUMN.finditer(TABLES[table])}


@pytest.mark.parametrize("table", TABLES)
def test_a_table_says_where_its_records_are(table: str) -> None:
    said = options(table)
    assert said.keys() == OPTIONS.keys()
    assert not {name: value for name, value in said.items() if value not in OPTIONS[name]}
    assert said["topic"] == f"toybox.{table}"


def test_the_costs_are_columns_of_the_cost_fact() -> None:
    declared = columns("costs")
    assert len(declared) == 14
    for name, (kind, required) in declared.items():
        field = CostFact.model_fields[name]
        optional = type(None) in get_args(field.annotation)
        assert kind in MEANS[plain(field.annotation)], name
        assert required is not optional, name


def plain(annotation: Any) -> type:
    """The Python type inside of an optional or a literal."""
    for each in get_args(annotation):
        if each is not type(None):
            return each if isinstance(each, type) else type(each)
    return annotation


def test_the_events_are_attributes_of_the_cloudevent() -> None:
    sealed = [orjson.loads(seal(event_at(position), 0, "urn:toybox:log:x")) for position in range(1, 400)]
    for name, (kind, required) in columns("events").items():
        found = [each[name] for each in sealed if name in each]
        assert found, name
        assert required is (len(found) == len(sealed)) or name == "data", name
        expected = datetime if name == "time" else type(found[0])
        assert kind.startswith("ROW<") if name == "data" else kind in MEANS[expected], name
    nested = re.findall(r"`(\w+)` [A-Z]+", columns("events")["data"][0])
    assert nested
    assert all(any(name in each["data"] for each in sealed) for name in nested)


def test_queries_name_tables_columns_and_event_types_that_are_there() -> None:
    queries = [text for text in SQL if text.startswith("SELECT")]
    assert len(queries) == 2
    known = {"window_start", "window_end", *columns("costs"), *columns("events")}
    for query in queries:
        assert set(re.findall(r"`(\w+)`", query)) <= known
        assert set(re.findall(r"(?:FROM|JOIN|TABLE) (\w+)", query)) <= {"TABLE", *TABLES}
        types = re.findall(r"'toybox\.([a-z_.]+)\.v\d+'", query)
        assert set(types) <= EVENT_TYPES.keys()
