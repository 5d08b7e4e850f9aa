"""Events as they go over the wire: server-sent events, each made once, however many listen."""

from typing import Any
from uuid import UUID

import orjson

from domain.kernel import EVENT_TYPES
from domain.log import StoredEvent
from domain.values import instant_text

COMMENT = b": toybox\nretry: 2000\n\n"
"""The beginning of every feed: a client that loses it comes back after two seconds."""


class Frame:
    """One event of the log, encoded when the first listener wants it."""

    __slots__ = ("_encoded", "position", "private", "project_id", "stored", "type")

    def __init__(self, stored: StoredEvent) -> None:
        self.stored = stored
        self.position = stored.position
        self.type = stored.type
        self.project_id: UUID | None = stored.project_id
        declared = EVENT_TYPES.get(stored.type)
        # A type that only a newer toybox knows may be private: nobody sees it here.
        self.private = declared is None or declared.PRIVATE
        self._encoded: bytes | None = None

    @property
    def encoded(self) -> bytes:
        """The bytes to send, with texts sealed as they lie in the log."""
        if self._encoded is None:
            shown = fields(self.stored, orjson.Fragment(self.stored.data))
            shown = fields(self.stored, orjson.Fragment(self.stored.data))
            self._encoded = event_frame(self.position, orjson.dumps(shown))
        return self._encoded


def fields(stored: StoredEvent, data: Any) -> dict[str, Any]:
    """An event as the API shows it: `version` is its schema's, `stream_version` its place in its stream."""
    return {
        "position": stored.position,
        "type": stored.type,
        "version": stored.schema_version,
        "stream_id": stored.stream_id,
        "stream_version": stored.version,
        "project_id": stored.project_id,
        "recorded_at": instant_text(stored.recorded_at),
        "actor": stored.actor,
        "correlation_id": stored.correlation_id,
        "causation_id": stored.causation_id,
        "data": data,
    }


def event_frame(position: int, data: bytes) -> bytes:
    """An event of the log. JSON has no line breaks, so it is one line of data."""
    return b"id: %d\ndata: %s\n\n" % (position, data)


def heartbeat(position: int, head: int) -> bytes:
    """Everything up to `position` was served to this listener; the log is durable up to `head`."""
    data = orjson.dumps({"position": position, "head": head})
    return b"event: heartbeat\nid: %d\ndata: %s\n\n" % (position, data)


def ending(kind: str, position: int, reason: str) -> bytes:
    """The last words of a feed: where to go on."""
    data = orjson.dumps({"resume_after": position, "reason": reason})
    return b"event: %s\nid: %d\ndata: %s\n\n" % (kind.encode(), position, data)
