"""The tail: follows the log while somebody listens, keeps what came last, wakes whom it concerns."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final
from uuid import UUID

import structlog

from api.feed.frames import Frame
from domain.errors import Unavailable
from domain.log import LogReader

if TYPE_CHECKING:
    from api.feed.listening import Listener

KEPT_EVENTS: Final = 20_000
KEPT_BYTES: Final = 64 * 1024 * 1024
"""How much is kept for listeners that are a little late; who falls behind this is cut and resumes from the log."""
CHUNK = 1_000
WAIT_SECONDS = 5.0
BEAT_SECONDS = 1.0
"""How often the tail looks whose heartbeat is due."""
REVOKED = "access_key.revoked"
log = structlog.get_logger("toybox.feed")


class Tail:
    """The front of the log, in memory. With nobody listening it rests and keeps nothing."""

    def __init__(self, reader: LogReader, *, kept_events: int = KEPT_EVENTS, kept_bytes: int = KEPT_BYTES) -> None:
        self.reader = reader
        self.position = 0
        """Everything up to here has been read; meaningful while somebody listens."""
        self.closing = False
        self._kept_events, self._kept_bytes = kept_events, kept_bytes
        self._frames: list[Frame] = []
        self._bytes = 0
        self._listeners: set[Listener] = set()
        self._waiting: defaultdict[UUID | None, set[Listener]] = defaultdict(set)
        self._runner: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()

    # --- listeners ---

    async def join(self, listener: "Listener") -> None:
        """Begin to listen; the first listener begins the tail."""
        async with self._starting:
            if self._runner is None or self._runner.done():
                self._frames, self._bytes = [], 0
                self.position = await self.reader.head()
                self._runner = asyncio.create_task(self._run(), name="feed-tail")
            self._listeners.add(listener)

    async def leave(self, listener: "Listener") -> None:
        """Listen no more; the last listener ends the tail."""
        self.forget(listener)
        self._listeners.discard(listener)
        async with self._starting:
            if not self._listeners and self._runner:
                runner, self._runner = self._runner, None
                runner.cancel()
                await asyncio.gather(runner, return_exceptions=True)

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    @property
    def listening(self) -> Sequence["Listener"]:
        """Who listens, by how far each has been served."""
        return sorted(self._listeners, key=lambda listener: listener.delivered)

    async def close(self) -> None:
        """Say goodbye to everybody: the process is stopping."""
        self.closing = True
        for listener in list(self._listeners):
            listener.wake(self.position)
        if self._runner:
            self._runner.cancel()
            await asyncio.gather(self._runner, return_exceptions=True)

    def wait(self, listener: "Listener") -> None:
        """Wake this listener when something of its project comes."""
        self._waiting[listener.selection.project_id].add(listener)

    def forget(self, listener: "Listener") -> None:
        """It is awake."""
        key = listener.selection.project_id
        waiting = self._waiting[key]
        waiting.discard(listener)
        if not waiting:
            del self._waiting[key]

    # --- what is kept ---

    @property
    def start(self) -> int:
        """Events after this position are kept."""
        return self.position - len(self._frames)

    def kept(self, after: int, limit: int) -> Sequence[Frame]:
        """Kept events after a position that is not before `start`. Positions are dense: no search is needed."""
        at = after - self.start
        return self._frames[at : at + limit]

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow())
                group.create_task(self._beat())
        except Exception:
            # A bug: whoever listens must not wait for ever. They come back, and the next one begins a new tail.
            log.exception("the feed failed", position=self.position)
            for listener in self._listeners:
                listener.shut_out("the feed failed here: connect again")

    async def _follow(self) -> None:
        while True:
            try:
                found = await self.reader.read(self.position, CHUNK)
                if found:
                    self._take([Frame(each) for each in found])
                else:
                    await self.reader.wait(self.position, WAIT_SECONDS)
            except Unavailable as away:
                log.warning("the feed waits", reason=str(away))
                await asyncio.sleep(away.retry_after)

    def _take(self, frames: Sequence[Frame]) -> None:
        before = self.position
        self._frames += frames
        self._bytes += sum(len(frame.stored.data) for frame in frames)
        self.position = frames[-1].position
        if len(self._frames) > self._kept_events or self._bytes > self._kept_bytes:
            self._drop(min(len(self._frames) // 2, len(self._frames) - len(frames)))
        for frame in frames:
            if frame.type == REVOKED:
                self._shut_out(frame.stored.stream_id)
        concerned: set[UUID | None] = {None, *(frame.project_id for frame in frames)}
        for key in concerned & self._waiting.keys():
            self._wake(self._waiting[key], before)

    def _drop(self, dropped: int) -> None:
        """Half of them at once: dropping one by one would move the whole list each time."""
        self._bytes -= sum(len(frame.stored.data) for frame in self._frames[:dropped])
        del self._frames[:dropped]

    @staticmethod
    def _wake(listeners: Iterable["Listener"], served: int) -> None:
        for listener in list(listeners):
            listener.wake(served)

    def _shut_out(self, key_id: UUID) -> None:
        for listener in self._listeners:
            if listener.key_id == key_id:
                listener.shut_out("the access key was revoked")

    async def _beat(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            now = clock()
            for listener in list(self._listeners):
                if listener.beat_at <= now:
                    listener.wake(self.position)
