"""A listener: its place in the log, what it has been served, when it is spoken to, when it has to go."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import Any
from uuid import UUID

import orjson

from api.feed.frames import COMMENT, Frame, ending, event_frame, fields, heartbeat
from api.feed.selecting import Selection
from api.feed.tail import Tail
from api.unsealing import unseal
from commands.ports import Keyring
from domain.kernel import EVENT_TYPES

HEARTBEAT_SECONDS = 15.0
CHUNK = 500
"""Events looked at between two answers to the client."""


class Listener:
    """Pulls its events from what the tail keeps, at its own pace: nothing is ever queued for it.

    Once it has caught up it must not fall out of what is kept: then it is cut, with the position to resume after.
    """

    def __init__(
        self,
        tail: Tail,
        selection: Selection,
        position: int,
        *,
        key_id: UUID | None = None,
        still_welcome: Callable[[], Awaitable[bool]] | None = None,
        keyring: Keyring | None = None,
    ) -> None:
        self.selection = selection
        self.position = position
        """Everything up to here was served, or was of no interest."""
        self.began_after = self.delivered = position
        """`delivered`: everything of interest up to here was handed to the connection."""
        self.key_id = key_id
        self.beat_at = 0.0
        self._tail = tail
        self._still_welcome = still_welcome
        self._keyring = keyring
        """With it, sealed text is shown in the clear."""
        self._caught_up = False
        self._gone = False
        self._over: str | None = None
        self._woken: asyncio.Future[None] | None = None

    # --- what the tail and the connection do to it ---

    def wake(self, served: int) -> None:
        """Look again. While it waited, nothing up to `served` was of interest."""
        if self._woken and not self._woken.done():
            self.position = max(self.position, served)
            self._woken.set_result(None)

    def shut_out(self, reason: str) -> None:
        """It may not listen any longer."""
        self._over = reason
        self.wake(self.position)

    def gone(self) -> None:
        """The client has left."""
        self._gone = True
        self.wake(self.position)

    # --- what it sends ---

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Bytes to send, until the client leaves or has to go."""
        await self._tail.join(self)
        try:
            yield COMMENT + self._beat()
            while not self._gone:
                self.delivered = self.position  # the connection asks for more: it has taken what it was given
                if last_words := self._last_words():
                    yield last_words
                    return
                if chunk := await self._next():
                    self._postpone()
                    yield chunk
                elif self.beat_at <= asyncio.get_running_loop().time():
                    if self._still_welcome and not await self._still_welcome():
                        self._over = "the access key has expired or was revoked"
                    else:
                        yield self._beat()
                elif self.position >= self._tail.position:
                    await self._wait()
        finally:
            await self._tail.leave(self)

    def _last_words(self) -> bytes | None:
        if self._over:
            return ending("closed", self.position, self._over)
        if self._tail.closing:
            return ending("closed", self.position, "the server is stopping: connect again")
        if self._caught_up and self.position < self._tail.start:
            return ending("cut", self.position, "this connection was too slow: connect again to go on from here")
        return None

    async def _next(self) -> bytes:
        """What there is to send now, in order and without a gap; empty when nothing is."""
        if self.position >= self._tail.start:
            frames = self._tail.kept(self.position, CHUNK)
            if frames:
                self.position = frames[-1].position
            self._caught_up = self._caught_up or self.position >= self._tail.position
        else:
            frames = await self._from_the_log()
        return await self._encoded([frame for frame in frames if self.selection.takes(frame)])

    async def _from_the_log(self) -> list[Frame]:
        up_to, wanted = self._tail.position, self.selection
        found = await self._tail.reader.read(
            self.position, CHUNK, project_id=wanted.project_id, types=wanted.types, up_to=up_to
        )
        self.position = found[-1].position if len(found) == CHUNK else up_to
        return [Frame(stored) for stored in found]

    async def _encoded(self, frames: list[Frame]) -> bytes:
        if self._keyring is None or not frames:
            return b"".join([frame.encoded for frame in frames])
        events = await readable(self._keyring, frames)
        return b"".join(
            event_frame(frame.position, orjson.dumps(each)) for frame, each in zip(frames, events, strict=True)
        )

    async def _wait(self) -> None:
        self._woken = asyncio.get_running_loop().create_future()
        if self._over or self._gone or self._tail.closing:
            return
        self._tail.wait(self)
        try:
            await self._woken
        finally:
            self._tail.forget(self)

    def _postpone(self) -> None:
        self.beat_at = asyncio.get_running_loop().time() + HEARTBEAT_SECONDS

    def _beat(self) -> bytes:
        self._postpone()
        return heartbeat(self.position, max(self.position, self._tail.position))


async def readable(keyring: Keyring, frames: Iterable[Frame]) -> list[dict[str, Any]]:
    """Events with their sealed texts in the clear, unsealed in one batch."""
    shown = [(frame.type, fields(frame.stored, frame.stored.payload())) for frame in frames]
    await unseal(keyring, [(EVENT_TYPES[kind], each["data"]) for kind, each in shown if kind in EVENT_TYPES])
    return [each for _, each in shown]
