"""The envelope: a CloudEvent that its SDK reads, around the stored bytes, and back without a bit changed."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_structured_event
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2

from domain.log import StoredEvent, canonical
from streams.envelope import NotOurs, headers, key_of, seal, source_of, timestamp_ms, unseal
from streams.topics import partition_of
from tests.streams.relaying import event_at, examples

SOURCE = source_of("ab" * 32)
EVERY_EVENT = [event_at(position) for position in range(len(examples()))]


@pytest.mark.parametrize("stored", EVERY_EVENT, ids=lambda stored: f"{stored.type}.v{stored.schema_version}")
def test_every_event_type_is_a_cloud_event_to_the_sdk_and_comes_back_as_it_was(stored: StoredEvent) -> None:
    value, told = seal(stored, 41, SOURCE), headers(stored, 41, SOURCE)
    read = from_structured_event(KafkaMessage(headers=dict(told), key=key_of(stored), value=value))
    assert read.get_type() == f"toybox.{stored.type}.v{stored.schema_version}"
    assert (read.get_source(), read.get_subject()) == (SOURCE, str(stored.stream_id))
    assert read.get_time() == stored.recorded_at
    assert read.get_data() == stored.payload()
    assert read.get_extension("position") == str(stored.position)
    assert stored.data in value
    arrived = unseal(value)
    assert (arrived.event, arrived.prev) == (stored, 41)
    json.loads(value)


def test_headers_say_what_the_envelope_says() -> None:
    for stored in EVERY_EVENT:
        attributes: dict[str, Any] = json.loads(seal(stored, 7, SOURCE))
        told = dict(headers(stored, 7, SOURCE))
        assert told.pop("content-type") == b"application/cloudevents+json; charset=UTF-8"
        assert (told.pop("toybox-position"), told.pop("toybox-prev")) == (str(stored.position).encode(), b"7")
        assert told == {f"ce_{name}": attributes[name].encode() for name in (each[3:] for each in told)}


def test_the_bytes_are_frozen() -> None:
    stored = StoredEvent(
        position=3_000_000_000,
        stream_id=EVERY_EVENT[1].stream_id,
        version=2,
        type="budget.settled",
        schema_version=2,
        project_id=None,
        data=b'{"amount":"1.25"}',
        actor="owner",
        command_id=EVERY_EVENT[1].command_id,
        correlation_id=EVERY_EVENT[1].correlation_id,
        causation_id=None,
        trace_id=None,
        recorded_at=datetime(2026, 11, 21, 10, 30, 0, 17, tzinfo=UTC),
    )
    stream, command, story = stored.stream_id, stored.command_id, stored.correlation_id
    assert seal(stored, 2_999_999_990, SOURCE).decode() == (
        f'{{"specversion":"1.0","id":"{stream}.2","source":"urn:toybox:log:{"ab" * 16}",'
        f'"type":"toybox.budget.settled.v2","subject":"{stream}","time":"2026-11-21T10:30:00.000017Z",'
        f'"datacontenttype":"application/json","position":"3000000000","prev":"2999999990","streamversion":2,'
        f'"actor":"owner","command":"{command}","correlation":"{story}","data":{{"amount":"1.25"}}}}'
    )
    assert timestamp_ms(stored) == 1795257000000


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(actor=TEXT, note=TEXT | st.just('","data":{"position":"1"}'))
def test_no_text_in_an_event_can_break_the_envelope(actor: str, note: str) -> None:
    stored = replace(EVERY_EVENT[3], actor=actor, data=canonical({"data": {"data": note}, "note": note}))
    assert unseal(seal(stored, 0, SOURCE)).event == stored


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{}",
        b'{"data":{}}',
        b"not json at all",
        b'{"specversion":"1.0","type":"com.example.order.v1","data":{}}',
        seal(EVERY_EVENT[1], 0, SOURCE).replace(b'"position":"1"', b'"position":"first"'),
    ],
)
def test_a_record_of_somebody_else_is_refused(value: bytes) -> None:
    with pytest.raises(NotOurs, match="not an event of toybox"):
        unseal(value)


@given(st.binary(max_size=80), st.integers(1, 64))
def test_keys_go_where_the_java_clients_would_put_them(key: bytes, partitions: int) -> None:
    assert partition_of(key, partitions) == (murmur2(key) & 0x7FFFFFFF) % partitions


def test_a_project_orders_its_events_and_what_has_none_is_ordered_by_its_stream() -> None:
    of_project, of_none = EVERY_EVENT[1], replace(EVERY_EVENT[1], project_id=None)
    assert key_of(of_project) == str(of_project.project_id).encode()
    assert key_of(of_none) == str(of_none.stream_id).encode()
