"""Follows one project over the live feed, from a thread, through restarts of the server."""

import threading
import time
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from typing import Any, Self

from domain.errors import ToyboxError, Unavailable
from toybox.client import Client, FeedEvent

Json = dict[str, Any]
PAUSE = 0.5
HEED_SECONDS = 0.5
"""How long a Ctrl-C may go unnoticed."""
PATIENCE = 60.0
"""How long a server may be away before following gives up."""


class Feed:
    """The events of a feed as a queue; resumes after a break exactly where it was."""

    def __init__(self, client: Client, *, after: int | None = None, **filters: object) -> None:
        self._client = client
        self._after = after
        self._filters = filters
        self._queue: SimpleQueue[FeedEvent | ToyboxError] = SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()  # the thread is a daemon: a read in progress ends with its connection or with us

    def next(self, timeout: float) -> FeedEvent | None:
        """The next event, if one comes in time; raises what ended the feed."""
        until = time.monotonic() + timeout
        while True:
            left = until - time.monotonic()
            try:
                # In short waits: a Ctrl-C that comes right before a long one would only be noticed after it.
                found = self._queue.get(timeout=max(0.0, min(left, HEED_SECONDS)))
            except Empty:
                if left <= HEED_SECONDS:
                    return None
                continue
            if isinstance(found, ToyboxError):
                raise found
            return found

    def waiting(self, timeout: float) -> Iterator[FeedEvent]:
        """All events that are there, the first of which may take a while."""
        found = self.next(timeout)
        while found is not None:
            yield found
            found = self.next(0) if not self._queue.empty() else None

    def _run(self) -> None:
        lost_at: float | None = None
        while not self._stopping.is_set():
            try:
                with self._client.feed(after=self._after, **self._filters) as events:
                    for each in events:
                        lost_at = None
                        if self._stopping.is_set():
                            return
                        self._take(each)
            except Unavailable as error:
                lost_at = lost_at or time.monotonic()
                if time.monotonic() - lost_at > PATIENCE:
                    self._queue.put(error)
                    return
            except ToyboxError as error:
                self._queue.put(error)
                return
            self._stopping.wait(PAUSE)

    def _take(self, event: FeedEvent) -> None:
        if event.id.isdigit():
            self._after = int(event.id)
        if event.data.get("type"):  # heartbeats and markers carry none
            self._queue.put(event)
