"""Posts to receivers: the address judged and pinned, no redirects, a deadline, little of the answer read."""

import asyncio
import ssl
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import cast

import httpcore2

from adapters.webhooks.addresses import Addresses, Network, host_and_port
from domain.errors import Refused
from domain.posting import SAID, Posted

CONNECT_SECONDS = 5.0
WHOLE_SECONDS = 15.0
"""What a receiver has for its answer: it should take the event down and work later."""
READ_BYTES, READ_SECONDS = 2048, 2.0
CONNECTIONS = 64
_REDIRECTS = range(300, 400)


class _Closing(httpcore2.AsyncNetworkStream):
    """A connection that is closed also when the deadline comes in the middle of its handshake."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 -- as the library has it
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 -- the same
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 -- the same
    ) -> httpcore2.AsyncNetworkStream:
        try:
            return await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except asyncio.CancelledError:
            await self._stream.aclose()
            raise

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


class _Pinned(httpcore2.AsyncNetworkBackend):
    """Connects to an address that was judged, never to a name: a name could mean another one a moment later."""

    def __init__(self, addresses: Addresses, *, clear: bool) -> None:
        self._addresses = addresses
        self._clear = clear
        self._network = cast("httpcore2.AsyncNetworkBackend", httpcore2.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 -- as the library has it
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        found = await self._addresses.resolve(host, port, clear=self._clear)
        for number, address in enumerate(found, 1):
            try:
                return _Closing(
                    await self._network.connect_tcp(str(address), port, timeout, local_address, socket_options)
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if number == len(found):
                    raise
        raise httpcore2.ConnectError("no address")

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)


class HttpPoster:
    """Connections to receivers, kept open for a while."""

    def __init__(
        self,
        allowed: Sequence[Network] = (),
        *,
        now: Callable[[], datetime],
        version: str = "0",
        whole_seconds: float = WHOLE_SECONDS,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._addresses = Addresses(allowed)
        self._now = now
        self._agent = f"toybox-webhooks/{version}".encode()
        self._whole_seconds = whole_seconds
        self._tls = tls
        self._pools: dict[bool, httpcore2.AsyncConnectionPool] = {}

    async def check(self, url: str) -> None:
        """By the same judgement that every request meets."""
        host, port, clear = host_and_port(url)
        await self._addresses.resolve(host, port, clear=clear)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Posted:
        """One request; whatever goes wrong is told in our own words, never with the address's path."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._whole_seconds):
                posted = await self._post(url, body, headers)
        except Refused as refusal:
            posted = Posted(None, str(refusal))
        except (TimeoutError, httpcore2.TimeoutException):
            posted = Posted(None, f"no answer within {self._whole_seconds:g} seconds: answer first, then work")
        except httpcore2.ConnectError as error:
            posted = Posted(None, f"no connection: {_reason(error)}")
        except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
            posted = Posted(None, f"the connection broke before an answer came: {_reason(error)}")
        except (OSError, ssl.SSLError, httpcore2.UnsupportedProtocol) as error:
            posted = Posted(None, f"it cannot be reached: {_reason(error)}")
        taken = round((time.monotonic() - started) * 1000)
        return Posted(posted.status, posted.problem, posted.said, posted.retry_after, taken)

    async def aclose(self) -> None:
        """Close what is open."""
        pools, self._pools = list(self._pools.values()), {}
        for each in pools:
            await each.aclose()

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Posted:
        clear = host_and_port(url)[2]
        sent = [
            (b"Host", url.split("/")[2].partition("?")[0].encode()),
            (b"User-Agent", self._agent),
            (b"Accept", b"*/*"),
            (b"Accept-Encoding", b"identity"),
            (b"Content-Length", b"%d" % len(body)),
            *((name.encode(), value.encode()) for name, value in headers.items()),
        ]
        waits = {"connect": CONNECT_SECONDS, "read": None, "write": None, "pool": None}
        pool = self._pool(clear=clear)
        async with pool.stream("POST", url, headers=sent, content=body, extensions={"timeout": waits}) as answer:
            said = await _beginning(answer)
            return Posted(
                answer.status,
                _problem(answer.status),
                said,
                _retry_after(_header(answer, b"retry-after"), self._now()),
            )

    def _pool(self, *, clear: bool) -> httpcore2.AsyncConnectionPool:
        if clear not in self._pools:
            self._pools[clear] = httpcore2.AsyncConnectionPool(
                ssl_context=self._tls or ssl.create_default_context(),
                max_connections=CONNECTIONS,
                max_keepalive_connections=CONNECTIONS,
                keepalive_expiry=30.0,
                network_backend=_Pinned(self._addresses, clear=clear),
            )
        return self._pools[clear]


def _problem(status: int) -> str | None:
    if 200 <= status < 300:
        return None
    if status in _REDIRECTS:
        return f"answered {status}: redirects are not followed; give the webhook the address that it leads to"
    return f"answered {status}"


async def _beginning(answer: httpcore2.Response) -> str:
    """The first characters of an answer that can be shown anywhere; the rest is not read."""
    read = b""
    # It has answered: words that come late, or break off, change nothing about that.
    with suppress(TimeoutError, httpcore2.NetworkError, httpcore2.ProtocolError):
        async with asyncio.timeout(READ_SECONDS):
            async for piece in answer.aiter_stream():
                read += piece
                if len(read) >= READ_BYTES:
                    break
    words = read[:READ_BYTES].decode(errors="replace")
    shown = "".join(each if each.isprintable() else " " for each in words)
    return " ".join(shown.split())[:SAID]


def _header(answer: httpcore2.Response, wanted: bytes) -> bytes | None:
    return next((value for name, value in answer.headers if name.lower() == wanted), None)


def _retry_after(value: bytes | None, now: datetime) -> float | None:
    """Seconds, from a number or a date; None for anything else."""
    if value is None:
        return None
    text = value.decode("latin-1").strip()
    if text.isdecimal() and text.isascii():
        return float(min(int(text[:9]), 10**8))
    try:
        until = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - now).total_seconds())


def _reason(error: BaseException) -> str:
    said = " ".join(str(error).split())[:120]
    return said or type(error).__name__
