"""Makes one transaction of the next events of the log: records in order, chained per partition, and the marker."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from domain.errors import Unavailable
from domain.kernel import EVENT_TYPES
from domain.log import StoredEvent, leaf
from domain.relaying import Record
from streams.envelope import key_of, message, source_of, timestamp_ms
from streams.products.costs import Facts
from streams.relay.marker import Marker, RelayHalted
from streams.topics import MAX_MESSAGE_BYTES, Topics, partition_of

MAX_BATCH_BYTES: Final = 8 * 1024 * 1024
_ROOM: Final = 64 * 1024
"""What a record needs beside its value."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What goes out together."""

    records: list[Record]
    positions: list[int]
    """Of the events in the records, in their order; behind those come cost facts, the last record is the marker."""
    marker: Marker
    last: StoredEvent
    """The last event that the batch has dealt with, be it private."""


def pack(events: Sequence[StoredEvent], after: Marker, topics: Topics) -> Batch:
    """As many of the events as fit. They must follow the marker without a hole."""
    _require_dense(events, after.position)
    log = after.log or leaf(events[0]).hex()
    source, prev, topic = source_of(log), dict(after.prev), topics.events
    records: list[Record] = []
    positions: list[int] = []
    facts = Facts(after.costs, topics, source)
    last: StoredEvent | None = None
    size = 0
    for stored in events:
        if (private := _is_private(stored)) is None:
            break
        if not private:
            key = key_of(stored)
            partition = partition_of(key, topic.partitions)
            before = prev.get(partition, 0)
            value, told = message(stored, before, source)
            fact = facts.make(stored)
            size += len(value) + len(fact.value or b"" if fact else b"")
            if size > MAX_BATCH_BYTES and records:
                break
            if len(value) > MAX_MESSAGE_BYTES - _ROOM:
                raise RelayHalted(
                    f"event {stored.position} is too large for Kafka ({len(value)} bytes): nothing after it is "
                    f"relayed; raise max.message.bytes with a newer toybox",
                    code="relay_event_too_large",
                    position=stored.position,
                )
            records.append(Record(topic.name, partition, key, value, told, timestamp_ms(stored)))
            positions.append(stored.position)
            prev[partition] = stored.position
            if fact:
                facts.take(fact, stored.position)
        last = stored
    if last is None:
        raise Unavailable(
            f"this toybox is older than event {events[0].type} version {events[0].schema_version} and cannot know "
            f"whether it is private; upgrade this process",
            retry_after=5.0,
            position=events[0].position,
        )
    marker = Marker(after.topic, log, last.position, leaf(last).hex(), prev, facts.chain(last.position))
    return Batch([*records, *facts.records, record_of(marker, topics, last)], positions, marker, last)


def record_of(marker: Marker, topics: Topics, of: StoredEvent) -> Record:
    """The marker as a record; it carries the time of the event that it stands at."""
    return Record(topics.relay_position.name, 0, marker_key(topics), marker.dumps(), [], timestamp_ms(of))


def marker_key(topics: Topics) -> bytes:
    """Under which the marker is found."""
    return topics.events.name.encode()


def _is_private(stored: StoredEvent) -> bool | None:
    """None when only a newer toybox knows: such an event must wait for it."""
    declared = EVENT_TYPES.get(stored.type)
    if declared is None or stored.schema_version > declared.VERSION:
        return None
    return declared.PRIVATE


def _require_dense(events: Sequence[StoredEvent], after: int) -> None:
    for expected, stored in enumerate(events, after + 1):
        if stored.position != expected:
            raise RelayHalted(
                f"the log has no event {expected}: it is damaged, and nothing is relayed beyond; restore the database",
                code="relay_log_damaged",
                position=expected,
            )
