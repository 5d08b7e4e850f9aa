"""Time travel: a document folded straight from the log, as of any position, or step by step."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel

from domain.log import LogReader, StoredEvent
from projections.documents import Document
from projections.projector.projection import Applied

V = TypeVar("V", bound=BaseModel)
CHUNK = 2000
"""Events read at a time."""


@dataclass(frozen=True, slots=True)
class Moment(Generic[V]):
    """What an event made of a view. `view` is None before its first event and after its removal."""

    stored: StoredEvent
    view: V | None


async def moments(
    document: Document[V], reader: LogReader, key: UUID, project_id: UUID | None, *, up_to: int | None = None
) -> AsyncIterator[Moment[V]]:
    """The view after each of its events, in order. Without a project, the key is the stream that is folded.

    An event that cannot be folded raises what the fold raises; one from the future raises Unavailable.
    """
    view: V | None = None
    async for stored in _slice(document, reader, key, project_id, up_to):
        each = Applied(stored)
        if document.key(stored, each.event) != key:
            continue
        view = document.evolve(view, each.event, stored)
        yield Moment(stored, view)


async def fold_document(
    document: Document[V], reader: LogReader, key: UUID, project_id: UUID | None, *, up_to: int | None = None
) -> V | None:
    """The view as it was once `up_to` was the log's head; None when there was none."""
    last: V | None = None
    async for each in moments(document, reader, key, project_id, up_to=up_to):
        last = each.view
    return last


async def _slice(
    document: Document[V], reader: LogReader, key: UUID, project_id: UUID | None, up_to: int | None
) -> AsyncIterator[StoredEvent]:
    if project_id is None:
        for stored in await reader.read_stream(key, up_to=up_to):
            if document.hears(stored.type):
                yield stored
        return
    after = 0
    while found := await reader.read(after, CHUNK, project_id=project_id, types=document.types, up_to=up_to):
        for stored in found:
            yield stored
        after = found[-1].position
