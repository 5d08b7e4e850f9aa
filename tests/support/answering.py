"""Clients of jobs' streams over real connections: they may be cut anywhere, and put together what they were told."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from api.app import close_feeds


@dataclass
class Told:
    """One message."""

    name: str
    id: str
    data: dict[str, Any]


@dataclass
class Reader:
    """What one client has, over all of its connections."""

    told: list[Told] = field(default_factory=list[Told])
    text: str = ""
    attempt: int = 0

    @property
    def last_id(self) -> str | None:
        """What it resumes from."""
        return self.told[-1].id if self.told else None

    @property
    def names(self) -> list[str]:
        """Kinds of messages in order, without texts and signs of life."""
        return [each.name for each in self.told if each.name not in ("delta", "heartbeat")]

    @property
    def is_over(self) -> bool:
        """Whether the job's end was told."""
        return bool(self.told) and self.told[-1].name in ("completed", "failed", "cancelled")

    def one(self, name: str) -> dict[str, Any]:
        """The only message of a kind."""
        (found,) = [each.data for each in self.told if each.name == name]
        return found

    def take(self, told: Told) -> None:
        """What a careful client does with a message."""
        self.told.append(told)
        if told.name in ("started", "restarted"):
            self.attempt, self.text = told.data["attempt"], ""
        elif told.name == "delta":
            assert told.data["attempt"] == self.attempt, "a piece of an attempt that never began"
            self.text += told.data["text"]


def parsed(got: bytes) -> list[Told]:
    """Messages in the bytes of a connection; one that broke off in the middle does not count."""
    found: list[Told] = []
    for block in got.split(b"\n\n")[:-1]:
        lines = [line.decode() for line in block.split(b"\n")]
        fields = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
        if "data" in fields:
            found.append(Told(fields["event"], fields["id"], json.loads(fields["data"])))
    return found


async def messages(answer: httpx.Response) -> AsyncIterator[Told]:
    """Messages of a stream; one that breaks off in the middle does not count."""
    fields: dict[str, str] = {}
    async for line in _lines(answer):
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            if "data" in fields:
                yield Told(fields["event"], fields["id"], json.loads(fields["data"]))
            fields = {}


async def _lines(answer: httpx.Response) -> AsyncIterator[str]:
    """Not httpx's own: that would also break lines at separators which JSON leaves unescaped."""
    rest = b""
    async for block in answer.aiter_raw():
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield line.decode()


async def follow(
    client: httpx.AsyncClient,
    path: str,
    reader: Reader,
    *,
    seconds: float = 20,
    up_to: int | None = None,
    body: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    """One connection, from where the reader is, until the stream ends, it has got so many messages, or time is up."""
    known = {"Last-Event-ID": reader.last_id} if reader.last_id else {}
    method, before = ("GET" if body is None else "POST"), len(reader.told)
    with suppress(TimeoutError):
        async with (
            asyncio.timeout(seconds),
            client.stream(method, path, json=body, headers={**known, **(headers or {})}) as answer,
        ):
            if answer.status_code != 200:
                await answer.aread()
                return answer
            async for each in messages(answer):
                reader.take(each)
                if up_to is not None and len(reader.told) - before >= up_to:
                    break
            return answer
    return httpx.Response(599)


@asynccontextmanager
async def serving(app: FastAPI, host: str, token: str) -> AsyncIterator[httpx.AsyncClient]:
    """The application behind a real server, and a client of it."""
    config = uvicorn.Config(app, host=host, port=0, log_config=None, access_log=False, ws="none", lifespan="off")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())
    while not server.started:  # noqa: ASYNC110 -- the server has no event for it
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}", headers=headers, timeout=30) as client:
            yield client
    finally:
        await close_feeds(app)
        server.should_exit = True
        await asyncio.wait_for(task, 10)
