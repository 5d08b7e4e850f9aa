"""How things began, from the log: their first event never changes, and no read model can be behind it."""

from uuid import UUID

from domain.errors import NotFound
from domain.log import LogReader, StoredEvent


async def first_event(reader: LogReader, stream_id: UUID, what: str) -> StoredEvent:
    """The first event of an agent, a checkpoint, …; NotFound where there is none of this kind."""
    found = await reader.read_stream(stream_id, limit=1)
    if not found or not found[0].type.startswith(f"{what}."):
        raise NotFound(f"there is no {what.replace('_', ' ')} {stream_id}")
    return found[0]


async def project_of(reader: LogReader, stream_id: UUID, what: str) -> UUID:
    """The project that something belongs to; NotFound where it belongs to none."""
    project_id = (await first_event(reader, stream_id, what)).project_id
    if project_id is None:
        raise NotFound(f"{what.replace('_', ' ')} {stream_id} belongs to no project")
    return project_id
