"""Dead letters: the original byte for byte, who gave it up and why, under an id that a repetition shares."""

import json
from base64 import b64decode
from datetime import UTC, datetime

import jsonschema
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event

from streams.products.cloud import DEAD_LETTER
from streams.products.dead_letters import MOST_BYTES, MOST_REASON, dead_letter
from streams.topics import MAX_MESSAGE_BYTES, Topics
from toybox.topic_contracts import product, product_headers

TOPICS = Topics.named("town")
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
ORIGINAL = b'{"not": "ours", \xff\x00'


def letter(value: bytes | None = ORIGINAL, *, offset: int | None = 17, reason: str = "not an event of toybox"):
    """What a reader writes that met a record of somebody else."""
    return dead_letter(
        TOPICS,
        source=TOPICS.events.name,
        partition=3,
        offset=offset,
        key=b"\x01",
        value=value,
        carried=[("ce_id", b"7"), ("empty", None)],
        by="toybox-projections",
        code="not_ours",
        reason=reason,
        at=NOON,
    )


def test_the_original_comes_back_byte_for_byte() -> None:
    record = letter()
    assert (record.topic, record.partition, record.key) == ("town.dead-letters", 0, b"town.events-3@17")
    assert record.timestamp_ms == NOON.timestamp() * 1000
    assert record.value
    said = json.loads(record.value)
    jsonschema.validate(said, product(DEAD_LETTER), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
    assert b64decode(said["original"]) == ORIGINAL
    assert b64decode(said["key"]) == b"\x01"
    assert said["headers"] == [{"name": "ce_id", "value": "Nw=="}, {"name": "empty", "value": None}]
    assert (said["topic"], said["partition"], said["offset"]) == ("town.events", 3, 17)
    assert (said["position"], said["truncated"], said["at"]) == (None, False, "2026-11-21T12:00:00.000000Z")


def test_it_is_a_cloud_event_whose_id_a_repetition_shares() -> None:
    record = letter()
    jsonschema.validate(
        {name: value.decode() for name, value in record.headers},
        product_headers("ce_time"),
        cls=jsonschema.Draft7Validator,
    )
    read = from_binary_event(KafkaMessage(headers=dict(record.headers), key=record.key, value=record.value or b""))
    assert (read.get_type(), read.get_subject(), read.get_time()) == (DEAD_LETTER, "town.events-3@17", NOON)
    ids = [dict(each.headers)["ce_id"] for each in (letter(), letter(reason="again"), letter(offset=18))]
    assert ids[0] == ids[1] != ids[2]


def test_a_tombstone_is_told_apart_from_nothing() -> None:
    for value, told in ((None, None), (b"", "")):
        said = json.loads(letter(value).value or b"")
        assert (said["original"], said["truncated"]) == (told, False)


def test_what_is_too_large_still_fits_with_its_beginning() -> None:
    record = letter(b"x" * (MAX_MESSAGE_BYTES + 1), reason="y\0" * 5000)
    assert record.value
    said = json.loads(record.value)
    assert said["truncated"]
    assert b64decode(said["original"]) == b"x" * MOST_BYTES
    assert len(said["reason"]) == MOST_REASON
    assert len(record.value) < MAX_MESSAGE_BYTES
