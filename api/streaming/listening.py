"""One client of one job: how far it has got, what it is told next, when it has to go."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final
from uuid import UUID

from api.streaming.board import Board
from api.streaming.cursor import Cursor
from api.streaming.messages import BEGINNING, Said, delta, ending, message, restarted
from api.streaming.watched import Watched
from domain.errors import Refused
from domain.llm_jobs import LlmJob

HEARTBEAT_SECONDS = 15.0
PIECE: Final = 8 * 1024
"""Characters of text in one message."""
CHUNK: Final = 32 * 1024
"""Bytes between two looks at whether the client is still there."""


class JobListener:
    """Reads from what the board keeps, at its own pace: nothing is ever queued for it."""

    def __init__(
        self,
        board: Board,
        job_id: UUID,
        cursor: Cursor | None = None,
        *,
        key_id: UUID | None = None,
        still_welcome: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        self.at = cursor or Cursor()
        self._board, self._job_id = board, job_id
        self._key_id, self._still_welcome = key_id, still_welcome
        self._caught_up = self._compared = False
        self._gone = False
        self._over: str | None = None
        self._woken = asyncio.Event()
        self._beat_at = 0.0

    # --- what the board and the connection do to it ---

    def gone(self) -> None:
        """The client has left."""
        self._gone = True
        self._woken.set()

    def revoked(self, key_id: UUID) -> None:
        """An access key is no more."""
        if key_id == self._key_id:
            self._over = "the access key was revoked"
            self._woken.set()

    # --- what it sends ---

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Bytes to send, until all is told, the client leaves or has to go."""
        async with self._board.watching(self._job_id, self.revoked) as watched:
            self._postpone()
            yield BEGINNING
            while not self._gone:
                changed = watched.changed
                if last_words := self._last_words(watched):
                    yield last_words
                    return
                if chunk := self._next(watched):
                    self._postpone()
                    yield chunk
                elif watched.is_over:
                    return
                elif self._beat_at <= asyncio.get_running_loop().time():
                    if self._still_welcome and not await self._still_welcome():
                        self._over = "the access key has expired or was revoked"
                    else:
                        self._postpone()
                        yield message("heartbeat", self.at, {"status": watched.status})
                else:
                    self._caught_up = True
                    await self._wait(changed)

    def _last_words(self, watched: Watched) -> bytes | None:
        if self._over:
            return ending("closed", self.at, self._over)
        if self._board.closing:
            return ending("closed", self.at, "the server is stopping: connect again")
        if self._caught_up and len(self._text(watched)) - self.at.characters > self._board.kept:
            return ending("cut", self.at, "this connection was too slow: connect again to go on from here")
        return None

    def _text(self, watched: Watched) -> str:
        """As much of the attempt that it reads as there is."""
        if watched.attempt != self.at.attempt:
            return ""
        return watched.text if watched.whole is None else watched.whole

    def _next(self, watched: Watched) -> bytes:
        """What there is to tell now, in order; empty when nothing is."""
        told: list[bytes] = []
        size = 0
        while size < CHUNK and (each := self._one(watched)):
            told.append(each)
            size += len(each)
        return b"".join(told)

    def _one(self, watched: Watched) -> bytes | None:
        event = watched.said[self.at.version] if self.at.version < len(watched.said) else None
        if event and event.stored.type == LlmJob.Started.TYPE:
            return self._start(event)
        if event and event.stored.type == LlmJob.Completed.TYPE and not self._is_true(watched):
            # The log has the answer. Whoever was told anything else, by whatever accident, begins anew.
            before, self.at = self.at, self.at.begun(event.attempt)
            return restarted(self.at, before, {"job_id": self._job_id})
        if text := self._text(watched)[self.at.characters : self.at.characters + PIECE]:
            self.at = self.at.after_text(text)
            return delta(self.at, text)
        if event is None:
            return None
        self.at = self.at.after_event()
        return message(event.name, self.at, event.data)

    def _is_true(self, watched: Watched) -> bool:
        """Whether what was told is how the answer begins; looked at once, because the rest is told from the answer."""
        if not self._compared and watched.whole is not None:
            self._compared = True
            return self.at.attempt == watched.attempt and self.at.fits(watched.whole)
        return True

    def _start(self, event: Said) -> bytes:
        before, self.at = self.at, self.at.after_event().begun(event.attempt)
        self._compared = False
        if event.attempt == 1:
            return message("started", self.at, event.data)
        return restarted(self.at, before, event.data)

    async def _wait(self, changed: asyncio.Event) -> None:
        """Until the job changes, the client leaves, or it is time for a sign of life."""
        waits = [asyncio.ensure_future(changed.wait()), asyncio.ensure_future(self._woken.wait())]
        left = self._beat_at - asyncio.get_running_loop().time()
        try:
            await asyncio.wait(waits, timeout=max(0.0, left), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    def _postpone(self) -> None:
        self._beat_at = asyncio.get_running_loop().time() + HEARTBEAT_SECONDS


async def is_told(board: Board, job_id: UUID, cursor: Cursor) -> bool:
    """Whether this client has got everything already. NotFound without the job; Refused where the id is another's."""
    known = await board.glance(job_id)
    begun = [each.attempt for each in known.said[: cursor.version] if each.stored.type == LlmJob.Started.TYPE]
    longest = len(known.whole) if known.whole is not None and cursor.attempt == known.attempt else None
    if (
        cursor.version > len(known.said)
        or cursor.attempt != (begun[-1] if begun else 0)
        or (cursor.characters and not cursor.attempt)
        or (longest is not None and cursor.characters > longest)
    ):
        raise Refused(
            "this id is not of this job's stream: give the id of its last message, or none to begin anew",
            code="unknown_event_id",
        )
    return known.is_over and cursor.version == len(known.said)
