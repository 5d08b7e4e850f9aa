"""The data product `toybox.dead-letters`: what could not be dealt with, byte for byte, and why."""

from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from domain.relaying import Record
from domain.values import Instant, derived_id
from streams.products.cloud import DEAD_LETTER, headers
from streams.topics import MAX_MESSAGE_BYTES, Topics, partition_of

SOURCE: Final = "urn:toybox:dead-letters"
MOST_BYTES: Final = MAX_MESSAGE_BYTES // 2
"""Of the original: in base64, with its envelope, it must still fit into a record."""
MOST_REASON: Final = 2000


class DeadHeader(BaseModel):
    """One header of the original record."""

    model_config = ConfigDict(frozen=True)

    name: str
    value: str | None = Field(description="Base64.")


class DeadLetter(BaseModel):
    """Something that a reader of a topic could not deal with and has passed over."""

    model_config = ConfigDict(frozen=True)

    topic: str = Field(description="Where the original lies, or would lie.")
    partition: Annotated[int, Field(ge=0)]
    offset: int | None = Field(description="Null when it never got an offset: it was refused on its way to Kafka.")
    position: int | None = Field(description="The event's place in the log, as far as that is known.")
    by: str = Field(description="Who could not deal with it: a consumer group, or the topic it was to be written to.")
    code: str = Field(description="The kind of trouble, in one word that does not change.")
    reason: str = Field(description="What was wrong, for a person.")
    at: Instant
    key: str | None = Field(description="The original's key, base64.")
    original: str | None = Field(description="The original's value, base64; null for a tombstone.")
    truncated: bool = Field(description="True when the original was too large and only its beginning is here.")
    headers: tuple[DeadHeader, ...]


def dead_letter(  # noqa: PLR0913 -- as many facts as a letter has
    topics: Topics,
    *,
    source: str,
    partition: int,
    key: bytes | None,
    value: bytes | None,
    by: str,
    code: str,
    reason: str,
    at: datetime,
    offset: int | None = None,
    position: int | None = None,
    carried: Sequence[tuple[str, bytes | None]] = (),
) -> Record:
    """The record to write, whichever client writes it. The same original of the same reader makes the same id."""
    letter = DeadLetter(
        topic=source,
        partition=partition,
        offset=offset,
        position=position,
        by=by,
        code=code,
        reason=reason.replace("\0", "")[:MOST_REASON],
        at=at,
        key=_text(key),
        original=_text(value[:MOST_BYTES] if value else value),
        truncated=value is not None and len(value) > MOST_BYTES,
        headers=tuple(DeadHeader(name=name, value=_text(held)) for name, held in carried),
    )
    place = f"{source}-{partition}@{position if offset is None else offset}"
    told = headers(
        DEAD_LETTER,
        id=str(derived_id("dead-letter", by, place)),
        source=SOURCE,
        subject=place,
        position=position,
        time=at,
    )
    own_key = place.encode()
    topic = topics.dead_letters
    body = letter.model_dump_json().encode()
    return Record(topic.name, partition_of(own_key, topic.partitions), own_key, body, told, int(at.timestamp() * 1000))


def _text(held: bytes | None) -> str | None:
    return None if held is None else b64encode(held).decode("ascii")
