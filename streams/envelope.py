"""The form in which an event leaves for Kafka: a CloudEvent in structured JSON around the stored bytes, and back."""

import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

from domain.log import StoredEvent, microseconds

CONTENT_TYPE: Final = b"application/cloudevents+json; charset=UTF-8"
_DATA: Final = b',"data":'
"""Comes last. It cannot occur earlier: inside a JSON string its quotes would be escaped."""
_TYPE: Final = re.compile(r"toybox\.(?P<type>.+)\.v(?P<version>[1-9]\d*)")


class Message(NamedTuple):
    """An event as a record holds it."""

    value: bytes
    headers: list[tuple[str, bytes]]


class NotOurs(ValueError):
    """A record on our topic that no relay of ours has written."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """An event as it came back from Kafka, with the position of the one before it on its partition."""

    event: StoredEvent
    prev: int


def source_of(log_id: str) -> str:
    """The CloudEvents source of everything from one log."""
    return f"urn:toybox:log:{log_id[:32]}"


def type_of(stored: StoredEvent) -> str:
    """`toybox.budget.settled.v2`."""
    return _type_of(stored.type, stored.schema_version)


@lru_cache(maxsize=4096)
def _type_of(kind: str, version: int) -> str:
    return f"toybox.{kind}.v{version}"


def key_of(stored: StoredEvent) -> bytes:
    """What orders the event: its project, else its stream."""
    return str(stored.project_id or stored.stream_id).encode()


def id_of(stored: StoredEvent) -> str:
    """The same however often the event is relayed: its stream and its version there."""
    return f"{stored.stream_id}.{stored.version}"


def seal(stored: StoredEvent, prev: int, source: str) -> bytes:
    """The CloudEvent alone."""
    return message(stored, prev, source).value


def headers(stored: StoredEvent, prev: int, source: str) -> list[tuple[str, bytes]]:
    """Its headers alone."""
    return message(stored, prev, source).headers


def message(stored: StoredEvent, prev: int, source: str) -> Message:
    """The CloudEvent, and headers enough to choose and to order records without parsing them.

    `data` is the payload byte for byte as it was hashed. Positions are text, for CloudEvents integers end at 2^31.
    """
    identity, kind = id_of(stored), type_of(stored)
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": identity,
        "source": source,
        "type": kind,
        "subject": stored.stream_id,
        "time": stored.recorded_at,
        "datacontenttype": "application/json",
        "position": str(stored.position),
        "prev": str(prev),
        "streamversion": stored.version,
        "actor": stored.actor,
        "command": stored.command_id,
        "correlation": stored.correlation_id,
    }
    # An attribute without a value is left out: CloudEvents knows no null.
    if stored.project_id is not None:
        attributes["project"] = stored.project_id
    if stored.causation_id is not None:
        attributes["causation"] = stored.causation_id
    if stored.trace_id is not None:
        attributes["traceid"] = stored.trace_id
    head = orjson.dumps(attributes, option=orjson.OPT_UTC_Z)
    # No more headers than the contract asks for: the client walks over all of them several times for each record.
    told = [
        ("content-type", CONTENT_TYPE),
        ("ce_specversion", b"1.0"),
        ("ce_id", identity.encode()),
        ("ce_source", source.encode()),
        ("ce_type", kind.encode()),
        ("ce_time", stored.recorded_at.isoformat().replace("+00:00", "Z").encode()),
        ("toybox-position", b"%d" % stored.position),
        ("toybox-prev", b"%d" % prev),
    ]
    return Message(b"".join((head[:-1], _DATA, stored.data, b"}")), told)


def timestamp_ms(stored: StoredEvent) -> int:
    """The record's time: the event's."""
    return microseconds(stored.recorded_at) // 1000


def unseal(value: bytes) -> Arrived:
    """The event again, its payload byte for byte."""
    try:
        split = value.index(_DATA)
        attributes = orjson.loads(value[:split] + b"}")
        kind = _TYPE.fullmatch(attributes["type"])
        if kind is None:
            raise NotOurs(f"not an event of toybox: type {attributes['type']!r}")
        event = StoredEvent(
            position=int(attributes["position"]),
            stream_id=UUID(attributes["subject"]),
            version=attributes["streamversion"],
            type=kind["type"],
            schema_version=int(kind["version"]),
            project_id=_uuid(attributes.get("project")),
            data=value[split + len(_DATA) : -1],
            actor=attributes["actor"],
            command_id=UUID(attributes["command"]),
            correlation_id=UUID(attributes["correlation"]),
            causation_id=_uuid(attributes.get("causation")),
            trace_id=attributes.get("traceid"),
            recorded_at=datetime.fromisoformat(attributes["time"]),
        )
        return Arrived(event, int(attributes["prev"]))
    except NotOurs:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise NotOurs(f"not an event of toybox: {error!r} in {value[:200]!r}") from error


def _uuid(text: str | None) -> UUID | None:
    return UUID(text) if text else None
