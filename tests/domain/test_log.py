"""The canonical bytes and the leaf: frozen with the first release, so their vectors are spelled out here."""

import hashlib
import json
import struct
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.log import SAFE_INTEGER, StoredEvent, canonical, leaf, microseconds

CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is no finding."""
PLAIN = StoredEvent(
    position=1,
    stream_id=UUID("00000000-0000-0000-0000-000000000001"),
    version=1,
    type="counter.opened",
    schema_version=1,
    project_id=None,
    data=b'{"limit":7}',
    actor="owner",
    command_id=UUID("00000000-0000-0000-0000-000000000002"),
    correlation_id=UUID("00000000-0000-0000-0000-000000000003"),
    causation_id=None,
    trace_id=None,
    recorded_at=datetime(2026, 11, 21, 10, 0, 0, 1, tzinfo=UTC),
)
FULL = StoredEvent(
    position=SAFE_INTEGER,
    stream_id=UUID("ffffffff-ffff-ffff-ffff-ffffffffffff"),
    version=2**31 - 1,
    type="budget.settled",
    schema_version=3,
    project_id=UUID("01234567-89ab-cdef-0123-456789abcdef"),
    data='{"note":"Grüße, 世界 😀"}'.encode(),
    actor="réviseur",
    command_id=UUID("00000000-0000-0000-0000-00000000000a"),
    correlation_id=UUID("00000000-0000-0000-0000-00000000000b"),
    causation_id=UUID("00000000-0000-0000-0000-00000000000c"),
    trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
    recorded_at=datetime(2099, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
)
EMPTY = replace(PLAIN, data=b"{}", actor="", trace_id="", recorded_at=datetime(1970, 1, 1, tzinfo=UTC))
OLD = replace(PLAIN, recorded_at=datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC))
GOLDEN = [
    (PLAIN, "ec46c9bdb031a418722b5aeafc78e3e998184af03393b42bad8804e900400634"),
    (FULL, "2d583bbb03d397f6bcdd0bec99eb7b9cf901aaccc5e19df9349135fc4bdaf409"),
    (EMPTY, "7023fbf178f7d93f806db8b47bbf46512db135fdd64ed99ec869aa66edeadccf"),
    (OLD, "216d953e23847cdff3f20681c8d23487b5ae3ea0ec32b47328da78a8d3cad6ca"),
]


def spelled_out(row: StoredEvent) -> str:
    """The leaf by its definition alone, written a second time on purpose."""

    def field(value: bytes | None) -> bytes:
        return b"\0" if value is None else b"\1" + len(value).to_bytes(4, "big") + value

    def number(value: int) -> bytes:
        return struct.pack(">q", value)

    since_1970 = row.recorded_at - datetime(1970, 1, 1, tzinfo=UTC)
    columns = [
        b"toybox-leaf-v1",
        number(row.position),
        row.stream_id.bytes,
        number(row.version),
        row.type.encode(),
        number(row.schema_version),
        row.project_id.bytes if row.project_id is not None else None,
        hashlib.sha256(row.data).digest(),
        row.actor.encode(),
        row.command_id.bytes,
        row.correlation_id.bytes,
        row.causation_id.bytes if row.causation_id is not None else None,
        row.trace_id.encode() if row.trace_id is not None else None,
        number((since_1970.days * 86_400 + since_1970.seconds) * 1_000_000 + since_1970.microseconds),
    ]
    return hashlib.sha256(b"".join(field(each) for each in columns)).hexdigest()


@pytest.mark.parametrize(("row", "digest"), GOLDEN)
def test_a_leaf_never_changes(row: StoredEvent, digest: str) -> None:
    assert leaf(row).hex() == digest
    assert spelled_out(row) == digest


CHANGES: dict[str, Any] = {
    "position": 2,
    "stream_id": UUID(int=99),
    "version": 2,
    "type": "counter.added",
    "schema_version": 2,
    "project_id": UUID(int=0),
    "data": b'{"limit":8}',
    "actor": "auditor",
    "command_id": UUID(int=99),
    "correlation_id": UUID(int=99),
    "causation_id": UUID(int=0),
    "trace_id": "",
    "recorded_at": PLAIN.recorded_at + timedelta(microseconds=1),
}


def test_every_column_counts() -> None:
    assert set(CHANGES) == {name for name in StoredEvent.__slots__ if not name.startswith("_")}
    leaves = [leaf(PLAIN), *(leaf(replace(PLAIN, **{name: value})) for name, value in CHANGES.items())]
    assert len(set(leaves)) == len(CHANGES) + 1


def test_text_cannot_move_from_one_column_to_the_next() -> None:
    assert leaf(replace(FULL, type="budget.settled", actor="x")) != leaf(
        replace(FULL, type="budget.settle", actor="dx")
    )


def test_the_zone_in_which_an_instant_is_read_makes_no_difference() -> None:
    there = PLAIN.recorded_at.astimezone(timezone(timedelta(hours=5, minutes=45)))
    assert leaf(replace(PLAIN, recorded_at=there)) == leaf(PLAIN)


@CALM
@given(st.datetimes(timezones=st.just(UTC)), st.integers(-(2**40), 2**40))
def test_microseconds_are_exact(moment: datetime, step: int) -> None:
    try:
        later = moment + timedelta(microseconds=step)
    except OverflowError:
        return
    assert microseconds(later) - microseconds(moment) == step


# --- canonical JSON ---

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
KEYS = st.from_regex(r"[a-z][a-z0-9_]*", fullmatch=True)
SAFE = st.integers(-SAFE_INTEGER, SAFE_INTEGER)
VALUES = st.recursive(
    st.none() | st.booleans() | SAFE | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)
PAYLOADS = st.dictionaries(KEYS, VALUES, max_size=6)


@CALM
@given(PAYLOADS)
def test_canonical_bytes_read_back_as_what_was_written(payload: dict[str, Any]) -> None:
    assert json.loads(canonical(payload)) == payload


@CALM
@given(PAYLOADS)
def test_canonical_bytes_are_those_of_any_other_rfc_8785_writer(payload: dict[str, Any]) -> None:
    plain = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert canonical(payload) == plain.encode()


@CALM
@given(PAYLOADS, st.randoms())
def test_the_order_in_which_keys_were_set_makes_no_difference(payload: dict[str, Any], random: Any) -> None:
    shuffled = list(payload.items())
    random.shuffle(shuffled)
    assert canonical(dict(shuffled)) == canonical(payload)
    assert canonical(json.loads(canonical(payload))) == canonical(payload)


CONTROL = '\b\t\n\f\r\x01\x1f\x7f\u2028"\\/'


def test_what_is_escaped_and_how_is_fixed() -> None:
    assert canonical({"text": CONTROL}) == b'{"text":"\\b\\t\\n\\f\\r\\u0001\\u001f\x7f\xe2\x80\xa8\\"\\\\/"}'
    assert canonical({"b": [1, -1, 0], "a": {"z": None, "y_1": True}}) == (b'{"a":{"y_1":true,"z":null},"b":[1,-1,0]}')
    assert canonical({}) == b"{}"
    assert canonical({"most": SAFE_INTEGER, "least": -SAFE_INTEGER}) == (
        b'{"least":-9007199254740991,"most":9007199254740991}'
    )


@pytest.mark.parametrize(
    ("payload", "saying"),
    [
        ({"a": 0.5}, r"payload\.a: float"),
        ({"a": [1, {"b": 1.0}]}, r"payload\.a\[1\]\.b: float"),
        ({"a": SAFE_INTEGER + 1}, "53 bits"),
        ({"a": -SAFE_INTEGER - 1}, "53 bits"),
        ({"a": "nul\0"}, r"U\+0000"),
        ({"a": ["x", "\0"]}, r"payload\.a\[1\].*U\+0000"),
        ({"a": "\ud800"}, "surrogate"),
        ({"a": b"bytes"}, "bytes does not belong"),
        ({"a": (1, 2)}, "tuple does not belong"),
        ({"a": {1: 2}}, "key 1 is not"),
        ({"A": 1}, "key 'A'"),
        ({"": 1}, "key ''"),
        ({"1a": 1}, "key '1a'"),
        ({"a-b": 1}, "key 'a-b'"),
        ({"ä": 1}, "key 'ä'"),
        ({"a\n": 1}, r"key 'a\\n'"),
        ({"a": [{"ok": {"Nested": 1}}]}, "key 'Nested'"),
        ({"a": datetime(2026, 1, 1, tzinfo=UTC)}, "datetime does not belong"),
        ({"a": UUID(int=1)}, "UUID does not belong"),
    ],
)
def test_what_other_readers_would_get_wrong_is_refused(payload: dict[Any, Any], saying: str) -> None:
    with pytest.raises(ValueError, match=saying):
        canonical(payload)


@CALM
@given(st.text(min_size=1).filter(lambda key: not key.isascii() or not key.replace("_", "").isalnum()))
def test_no_odd_key_gets_through(key: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        canonical({key: 1})
