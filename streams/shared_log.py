"""One reading of the log for all projections of a process: each event is fetched and decoded once."""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from domain.log import LogReader, StoredEvent
from projections.projector import Applied, Slice

WAIT_SECONDS = 5.0
"""How long one wait for news lasts; a lost notification costs at most the reader's own poll."""


@dataclass(frozen=True, slots=True)
class _Ahead:
    """The events after a position, on their way before anybody asks for them."""

    after: int
    events: "asyncio.Task[Sequence[StoredEvent]]"


class SharedLog:
    """A short window of slices at the front of the log.

    Followers in step take the same slices. One that is far behind reads for itself until it has caught up. The fastest
    waits a moment for the others before the window leaves them behind, so that nobody can hold it up for long. While
    they write one slice, the next is read.
    """

    def __init__(self, reader: LogReader, *, limit: int = 1000, window: int = 4, patience: float = 0.5) -> None:
        self.reader = reader
        self._limit, self._window, self._patience = limit, window, patience
        self._slices: deque[Slice] = deque()
        self._at: dict[str, int] = {}
        self._stepped = asyncio.Event()
        self._reading = asyncio.Lock()
        self._ahead: _Ahead | None = None
        self._news: asyncio.Task[int] | None = None
        self._news_after = 0

    async def after(self, follower: str, position: int) -> Slice:
        """A slice that holds the event after this position, as soon as there is one."""
        self._at[follower] = position
        self._tidy()
        while True:
            if found := self._kept(position) or await self._read(position):
                return found
            await self._moved_beyond(position)

    def leave(self, follower: str) -> None:
        """Nobody waits for this follower any more."""
        self._at.pop(follower, None)
        self._tidy()

    async def close(self) -> None:
        """Stop reading, and waiting for news."""
        for each in (self._news, self._ahead and self._ahead.events):
            if each:
                each.cancel()
                await asyncio.wait([each])

    def _kept(self, position: int) -> Slice | None:
        return next((each for each in self._slices if each.after <= position < each.up_to), None)

    async def _read(self, position: int) -> Slice | None:
        await self._room(position)
        async with self._reading:
            if found := self._kept(position):
                return found
            in_front = not self._slices or position >= self._slices[-1].up_to
            events = await (self._next(position) if in_front else self.reader.read(position, self._limit))
            if not events:
                return None
            found = Slice(position, events[-1].position, [Applied(each) for each in events])
            if self._slices and position > self._slices[-1].up_to:
                self._slices.clear()
            if not self._slices or position == self._slices[-1].up_to:
                self._slices.append(found)
            return found

    async def _next(self, position: int) -> Sequence[StoredEvent]:
        """The events in front, mostly read already; those after them are on their way when this returns."""
        ahead, self._ahead = self._ahead, None
        if ahead and ahead.after != position:
            ahead.events.cancel()
            ahead = None
        events = await (ahead.events if ahead else self.reader.read(position, self._limit))
        if len(events) == self._limit:
            after = events[-1].position
            task = asyncio.create_task(self.reader.read(after, self._limit), name="projections-ahead")
            task.add_done_callback(_notice)
            self._ahead = _Ahead(after, task)
        return events

    async def _room(self, position: int) -> None:
        """Let the window move on: when nobody needs its oldest slice, or when patience is over."""
        if len(self._slices) < self._window or position < self._slices[-1].up_to:
            return
        oldest = self._slices[0]
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                while self._slices and self._slices[0] is oldest:
                    await self._stepped.wait()
        if self._slices and self._slices[0] is oldest:
            self._slices.popleft()

    def _tidy(self) -> None:
        """Drop what every follower within the window has passed."""
        if self._slices:
            start = self._slices[0].after
            slowest = min((at for at in self._at.values() if at >= start), default=None)
            while self._slices and (slowest is None or self._slices[0].up_to <= slowest):
                self._slices.popleft()
        self._stepped.set()
        self._stepped = asyncio.Event()

    async def _moved_beyond(self, position: int) -> None:
        """Wait for the head, one wait for all who stand at it."""
        head = position
        while head <= position:
            if self._news is None or self._news.done():
                self._news_after = position
                self._news = asyncio.create_task(self.reader.wait(position, WAIT_SECONDS), name="projections-news")
            elif self._news_after > position:
                return  # somebody waits for more than this follower has seen
            head = await asyncio.shield(self._news)


def _notice(task: "asyncio.Task[Sequence[StoredEvent]]") -> None:
    """An error that nobody asks for is no news: whoever reads on meets it himself."""
    if not task.cancelled():
        task.exception()
