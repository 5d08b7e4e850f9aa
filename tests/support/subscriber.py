"""A client of the live feed that speaks ASGI itself: it may be slow, and it may leave in the middle."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI
from starlette.types import Message


@dataclass
class Received:
    """One server-sent event."""

    name: str
    id: int | None
    data: dict[str, Any]


@dataclass
class Subscriber:
    """What one connection got."""

    status: int = 0
    messages: list[Received] = field(default_factory=list[Received])
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    takes: asyncio.Event = field(default_factory=asyncio.Event)
    """While it is not set, the client takes nothing: what is sent to it has to wait."""
    _left: asyncio.Event = field(default_factory=asyncio.Event)
    _came: asyncio.Event = field(default_factory=asyncio.Event)
    _text: str = ""
    _asked: bool = False

    @property
    def events(self) -> list[dict[str, Any]]:
        """Events of the log."""
        return [each.data for each in self.messages if each.name == "message"]

    @property
    def positions(self) -> list[int]:
        """Their positions."""
        return [each["position"] for each in self.events]

    @property
    def last_id(self) -> int:
        """What a browser would send as Last-Event-ID."""
        return next(each.id for each in reversed(self.messages) if each.id is not None)

    def named(self, name: str) -> list[Received]:
        """Messages of one kind."""
        return [each for each in self.messages if each.name == name]

    async def until(self, done: Callable[["Subscriber"], bool], seconds: float = 10.0) -> None:
        """Wait until what was received is enough."""
        async with asyncio.timeout(seconds):
            while not done(self):
                self._came.clear()
                await self._came.wait()

    def leave(self) -> None:
        """Cut the connection."""
        self._left.set()

    # --- ASGI ---

    async def receive(self) -> Message:
        """An empty body, then nothing until the client leaves."""
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Take what comes, as fast as this client does."""
        await self.takes.wait()
        if self._left.is_set():
            raise OSError("the connection is gone")
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self._read(message.get("body", b"").decode())
        self._came.set()

    def _read(self, text: str) -> None:
        *whole, self._text = (self._text + text).split("\n\n")
        for block in whole:
            fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
            if "data" in fields:
                position = int(fields["id"]) if "id" in fields else None
                self.messages.append(Received(fields.get("event", "message"), position, json.loads(fields["data"])))


@asynccontextmanager
async def subscribed(
    app: FastAPI, token: str, *, last_id: int | None = None, slow: bool = False, **params: Any
) -> AsyncIterator[Subscriber]:
    """A connection to the feed; it is cut when the block ends."""
    client = Subscriber()
    if not slow:
        client.takes.set()
    headers = [(b"authorization", f"Bearer {token}".encode())]
    if last_id is not None:
        headers.append((b"last-event-id", str(last_id).encode()))
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "GET",
        "scheme": "http", "path": "/api/events", "raw_path": b"/api/events", "root_path": "", "headers": headers,
        "query_string": urlencode(params, doseq=True).encode(), "client": ("127.0.0.1", 1), "server": ("toybox", 80),
    }  # fmt: skip

    async def run() -> None:
        try:
            await app(scope, client.receive, client.send)
        finally:
            client.ended.set()
            client._came.set()

    task = asyncio.create_task(run())
    try:
        yield client
    finally:
        client.leave()
        client.takes.set()
        await asyncio.wait_for(task, 10)
