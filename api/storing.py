"""Text that is too long for an event goes to the object store first."""

from uuid import UUID

from commands.objects import Objects
from domain.values import INLINE_TEXT, Text


async def kept_text(objects: Objects, subject: UUID, text: str, *, makes_key: bool = False) -> str | Text:
    """The text itself where it may travel in an event; else what it is known by in the store.

    `makes_key` for a subject that is about to be created.
    """
    body = text.encode()
    if len(body) <= INLINE_TEXT:
        return text
    stored = await objects.put(subject, body, makes_key=makes_key)
    return Text(digest=stored.digest, size=stored.size)
