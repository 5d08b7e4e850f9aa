"""The response that a listener's bytes go out with."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from typing import Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

STUCK_SECONDS = 60.0
"""A client that takes nothing for this long is dropped; it resumes from the last id that it got."""


class Speaker(Protocol):
    """Whoever has bytes to send, for as long as the client stays."""

    def chunks(self) -> AsyncGenerator[bytes]:
        """The next bytes, each time that the client has taken those before."""
        ...

    def gone(self) -> None:
        """The client has left."""
        ...


class FeedResponse(Response):
    """Sends what the listener has, no faster than the client takes it."""

    media_type = "text/event-stream"

    def __init__(self, listener: Speaker, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no", **(headers or {})})
        del self.headers["content-length"]
        self._listener = listener

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD":
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": b""})
            return
        watcher = asyncio.create_task(self._watch(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async with aclosing(self._listener.chunks()) as chunks:
                async for chunk in chunks:
                    async with asyncio.timeout(STUCK_SECONDS):
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except (OSError, TimeoutError):
            self._listener.gone()
        finally:
            watcher.cancel()
            with suppress(asyncio.CancelledError):
                await watcher

    async def _watch(self, receive: Receive) -> None:
        """Notice that the client has left, while there is nothing to send."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self._listener.gone()
