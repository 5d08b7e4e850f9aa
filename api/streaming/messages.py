"""What a job's events say to whoever waits for its answer, as server-sent events."""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from api.streaming.cursor import Cursor
from api.unsealing import unseal
from commands.ports import Keyring
from domain.kernel import EVENT_TYPES
from domain.llm_jobs import LlmJob
from domain.log import StoredEvent
from domain.values import instant_text

BEGINNING: Final = b": toybox\nretry: 2000\n\n"
"""A client that loses the connection comes back after two seconds."""
LEFT_OUT: Final = frozenset({"messages", "request", "output", "holds", "key_id"})
"""Fields that are long, sealed or of no use to whoever waits for an answer."""


@dataclass(frozen=True, slots=True)
class Said:
    """An event, ready to be told."""

    name: str
    attempt: int
    data: dict[str, Any]
    stored: StoredEvent


async def said(stored: StoredEvent, keyring: Keyring, **more: object) -> Said:
    """An event in the clear, but for the texts that have messages of their own."""
    payload = {name: value for name, value in stored.payload().items() if name not in LEFT_OUT}
    if declared := EVENT_TYPES.get(stored.type):
        await unseal(keyring, [(declared, payload)])
    data = {
        "job_id": stored.stream_id,
        "position": stored.position,
        "recorded_at": instant_text(stored.recorded_at),
        **payload,
        **more,
    }
    attempt = 0 if stored.type == LlmJob.Queued.TYPE else int(payload.get("attempt", 0))
    return Said(stored.type.partition(".")[2], attempt, data, stored)


def message(name: str, cursor: Cursor, data: object) -> bytes:
    """One message. JSON has no line breaks, so it is one line of data."""
    return b"event: %s\nid: %s\ndata: %s\n\n" % (name.encode(), cursor.id.encode(), orjson.dumps(data, default=str))


def delta(cursor: Cursor, text: str) -> bytes:
    """The next piece of the answer."""
    return message("delta", cursor, {"attempt": cursor.attempt, "text": text})


def restarted(cursor: Cursor, before: Cursor, data: dict[str, Any]) -> bytes:
    """Another attempt answers, or the same one from its beginning: what was told of the one before is void."""
    void = {"attempt": before.attempt, "characters": before.characters} if before.attempt else None
    return message("restarted", cursor, {**data, "attempt": cursor.attempt, "void": void})


def ending(name: str, cursor: Cursor, reason: str) -> bytes:
    """The last words of a connection whose job goes on: how to come back."""
    return message(name, cursor, {"resume_after": cursor.id, "reason": reason})
