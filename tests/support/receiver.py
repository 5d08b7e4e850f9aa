"""A receiver of webhooks on this machine: real sockets, answers as the test wants, verifies with code of its own."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

Answer = tuple[int, Mapping[str, str], bytes]
"""Status, headers, body."""
Answers = Callable[["Got"], "Answer | Awaitable[Answer]"]
FINE: Answer = (204, {}, b"")


@dataclass(frozen=True)
class Got:
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        return json.loads(self.body)

    @property
    def position(self) -> int:
        return int(self.event["position"])


def verified(got: Got, secret: str, *, tolerance: float = 300) -> bool:
    """What a receiver does that knows nothing of toybox but the standard and the secret."""
    stamp = got.headers["webhook-timestamp"]
    if abs(time.time() - int(stamp)) > tolerance:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = got.headers["webhook-id"].encode() + b"." + stamp.encode() + b"." + got.body
    expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    given = [each.partition(",") for each in got.headers["webhook-signature"].split(" ")]
    return any(version == "v1" and hmac.compare_digest(said, expected) for version, _, said in given)


@dataclass
class Receiver:
    """Takes everything down, in the order in which it came."""

    url: str = ""
    got: list[Got] = field(default_factory=list[Got])
    answers: Answers = lambda _: FINE
    came: asyncio.Condition = field(default_factory=asyncio.Condition)
    at_once: int = 0
    most_at_once: int = 0

    @property
    def positions(self) -> list[int]:
        return [each.position for each in self.got]

    async def until(self, enough: Callable[["Receiver"], bool], seconds: float = 15) -> None:
        """Return as soon as enough has come."""
        async with asyncio.timeout(seconds), self.came:
            await self.came.wait_for(lambda: enough(self))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, kept open for several requests."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {
                    name.lower(): value for name, _, value in (each.partition(": ") for each in head[1:] if each)
                }
                body = await reader.readexactly(int(headers["content-length"]))
                got = Got(head[0].split(" ")[1], headers, body)
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                async with self.came:
                    self.got.append(got)
                    self.came.notify_all()
                try:
                    found = self.answers(got)
                    status, more, said = found if isinstance(found, tuple) else await found
                finally:
                    self.at_once -= 1
                sent = {"Content-Length": str(len(said)), **more}
                told = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
                writer.write(f"HTTP/1.1 {status} X\r\n{told}\r\n".encode() + said)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def receiving(host: str = "127.0.0.1") -> AsyncIterator[Receiver]:
    """A receiver that runs."""
    receiver = Receiver()
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        connections.add(task)
        try:
            await receiver.serve(reader, writer)
        except asyncio.CancelledError:
            writer.close()
        finally:
            connections.discard(task)

    server = await asyncio.start_server(serve, host, 0)
    port = server.sockets[0].getsockname()[1]
    receiver.url = f"http://{host}:{port}/hook?token=s3cr3t-path"
    try:
        yield receiver
    finally:
        server.close()
        for each in list(connections):
            each.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await server.wait_closed()
