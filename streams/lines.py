"""The log as lines of a file: what the topics hold, but for what only a topic has."""

from typing import Final

from domain.log import StoredEvent
from streams.envelope import seal, source_of
from streams.products.costs import COST_TYPES as COST_TYPES  # noqa: PLC0414 -- who writes lines takes it from here
from streams.products.costs import fact_of

_NO_PREV: Final = b',"prev":"0"'
"""Cannot occur inside a JSON string, and stands before `data`."""


def event_line(stored: StoredEvent, log_id: str) -> bytes:
    """The CloudEvent without `prev`: the event before it on its partition means nothing in a file."""
    return seal(stored, 0, source_of(log_id)).replace(_NO_PREV, b"", 1)


def cost_line(stored: StoredEvent) -> bytes | None:
    """The flat fact of an event that says what something cost; None for any other."""
    fact = fact_of(stored)
    return fact.model_dump_json().encode() if fact else None
