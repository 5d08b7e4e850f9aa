"""A proxy in front of the server's socket that drops the connection around a COMMIT of its choosing.

It reads the protocol only as far as it must: message frames, which message carries the COMMIT, and its reply.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Literal

from psycopg.conninfo import conninfo_to_dict, make_conninfo

Cut = Literal["before", "after", "late"]
"""Before the COMMIT reaches the server; after its reply has left the server; or now, and it arrives later."""
CUTS: Final[tuple[Cut, ...]] = ("before", "after", "late")
LATE_SECONDS = 0.15
"""How long after the cut a late COMMIT arrives: the caller has long connected again and asked."""
SOCKET: Final = ".s.PGSQL.5432"
_CHUNK = 256 * 1024
_ENDS_IN_COMMIT = re.compile(rb"(?:^|;)\s*commit\s*;?\s*\0?$", re.IGNORECASE)


class Frames:
    """Splits a byte stream into messages: a type byte, then a length that counts itself; the first has no type."""

    def __init__(self, *, startup: bool) -> None:
        self._held = bytearray()
        self._startup = startup

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Every message that is complete by now."""
        self._held += chunk
        while True:
            at = 0 if self._startup else 1
            if len(self._held) < at + 4:
                return
            length = at + int.from_bytes(self._held[at : at + 4], "big")
            if len(self._held) < length:
                return
            frame = bytes(self._held[:length])
            del self._held[:length]
            self._startup = False
            yield frame


class Commits:
    """Recognises the message that makes the server commit, in both of the protocol's ways to say it."""

    def __init__(self) -> None:
        self._statements: set[bytes] = set()

    def is_commit(self, frame: bytes) -> bool:
        """Whether the server commits when it has read this message."""
        kind, body = frame[:1], frame[5:]
        if kind == b"Q":
            return _ENDS_IN_COMMIT.search(body) is not None
        if kind == b"P":  # Parse: name, text
            name, text = body.split(b"\0", 2)[:2]
            if _ENDS_IN_COMMIT.search(text):
                self._statements.add(name)
            else:
                self._statements.discard(name)
        return kind == b"B" and body.split(b"\0", 2)[1] in self._statements  # Bind: portal, statement


class CommitCutter:
    """Passes everything through, but for the commits that `choose` names."""

    def __init__(self, conninfo: str, choose: Callable[[], Cut | None], **place: str) -> None:
        self._server = conninfo_to_dict(conninfo)
        self._choose = choose
        self.conninfo = make_conninfo(conninfo, **place)
        self.cuts: Counter[Cut] = Counter()
        """Cuts by kind; one of them counts when the server's side of it was seen."""

    async def serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """One connection."""
        server, to_server = await self._connect()
        passing = Passing(client, to_client, server, to_server, self._choose, self.cuts)
        pumps = [asyncio.create_task(passing.upstream()), asyncio.create_task(passing.downstream())]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
            for ended in await asyncio.gather(*pumps, return_exceptions=True):
                if isinstance(ended, Exception) and not isinstance(ended, ConnectionError):
                    raise ended
        finally:
            for writer in (to_client, to_server):
                writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = str(self._server["host"]), int(self._server.get("port") or 5432)
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}", limit=_CHUNK)
        return await asyncio.open_connection(host, port, limit=_CHUNK)


class Passing:
    """What passes between one client and the server."""

    def __init__(
        self,
        client: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
        choose: Callable[[], Cut | None],
        cuts: Counter[Cut],
    ) -> None:
        self._client, self._to_client = client, to_client
        self._server, self._to_server = server, to_server
        self._choose, self._cuts = choose, cuts
        self._cut: Cut | None = None

    async def upstream(self) -> None:
        """Client to server; ends at a cut before the COMMIT."""
        frames, commits = Frames(startup=True), Commits()
        while chunk := await self._client.read(_CHUNK):
            passed = bytearray()
            for frame in frames.feed(chunk):
                if commits.is_commit(frame):
                    self._cut = self._choose()
                if self._cut == "before":
                    await self._send(passed)
                    self._cuts["before"] += 1
                    return
                if self._cut == "late" and self._to_client.transport.is_closing() is False:
                    await self._send(passed)
                    passed.clear()
                    self._to_client.transport.abort()
                    await asyncio.sleep(LATE_SECONDS)
                passed += frame
            await self._send(passed)
            if self._cut == "late":
                await asyncio.Event().wait()  # the reply ends this connection

    async def downstream(self) -> None:
        """Server to client; ends at the reply to a COMMIT that was to be cut."""
        frames = Frames(startup=False)
        while chunk := await self._server.read(_CHUNK):
            passed = bytearray()
            for frame in frames.feed(chunk):
                if self._cut and frame[:1] == b"C" and frame[5:] == b"COMMIT\0":
                    self._cuts[self._cut] += 1
                    self._to_client.transport.abort()
                    return
                passed += frame
            if self._cut != "late":
                self._to_client.write(passed)
                await self._to_client.drain()

    async def _send(self, passed: bytearray) -> None:
        self._to_server.write(bytes(passed))
        await self._to_server.drain()


@asynccontextmanager
async def cutting(conninfo: str, folder: Path, choose: Callable[[], Cut | None]) -> AsyncIterator[CommitCutter]:
    """A proxy that listens on a socket in `folder`."""
    cutter = CommitCutter(conninfo, choose, host=str(folder), port=SOCKET.rpartition(".")[2])
    async with await asyncio.start_unix_server(cutter.serve, folder / SOCKET, limit=_CHUNK):
        yield cutter


@asynccontextmanager
async def over_tcp(conninfo: str, address: str) -> AsyncIterator[str]:
    """The same server at a port of this machine, for what only TCP shows; nothing is cut. Answers how to connect."""
    cutter = CommitCutter(conninfo, lambda: None, host=address, port="0", sslmode="disable")
    async with await asyncio.start_server(cutter.serve, address, 0, limit=_CHUNK) as server:
        yield make_conninfo(cutter.conninfo, port=str(server.sockets[0].getsockname()[1]))
