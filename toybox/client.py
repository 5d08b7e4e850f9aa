"""HTTP from this program to a running server: JSON in, JSON out, problems as the product's own errors."""

import json
import re
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self, cast

import httpx

from adapters.clock import new_id
from domain.errors import BudgetExhausted, Conflict, NotAllowed, NotFound, Refused, ToyboxError, Unavailable

ATTEMPTS = 4
"""How often a request is sent that the server is too busy for; it carries the same idempotency key each time."""
LONGEST_PAUSE = 3.0
PAGE = 100
NOTHING_LEFT = 204
FEED_SILENCE = 60.0
"""Seconds without even a heartbeat after which a feed counts as lost."""

Json = dict[str, Any]
_KEY = re.compile(r"[!-~]+")
"""What a header can hold; whatever else is wrong with a key, the server knows."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request was answered with: the body, and the position that it is true for."""

    body: Any
    position: int | None
    etag: str | None


@dataclass(frozen=True, slots=True)
class Download:
    """Lines that come as they are read, each without its line break, and the positions they lie between."""

    after: int
    up_to: int
    lines: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """One server-sent event."""

    id: str
    name: str
    data: Json


class Client:
    """A connection to one server with one access key."""

    def __init__(self, url: str, key: str, *, local: bool = True) -> None:
        self.url = url.rstrip("/")
        _check_address(self.url)
        if not _KEY.fullmatch(key):
            raise Refused("this is no access key: set TOYBOX_KEY to one, tbx_…", code="key_malformed")
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {key}", "Accept": "application/json"},
            timeout=httpx.Timeout(60.0, connect=5.0),
            trust_env=not local,  # a proxy has no business between two processes of one machine
        )
        self._written = 0
        """The last position that this client's own commands reached: what it reads is never older."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    # --- requests ---

    def get(self, path: str, **params: object) -> Any:
        """The body of a query; parameters that are None are left out."""
        return self.ask("GET", path, params=params).body

    def post(self, path: str, body: Mapping[str, object] | None = None, **params: object) -> Any:
        """Send a command; sent again with the same key when the server was too busy."""
        return self.ask("POST", path, body={} if body is None else body, params=params).body

    def patch(self, path: str, body: Mapping[str, object]) -> Any:
        """Change something."""
        return self.ask("PATCH", path, body=body).body

    def delete(self, path: str) -> Any:
        """End something."""
        return self.ask("DELETE", path).body

    def content(self, path: str, **params: object) -> bytes:
        """The bytes of an asset."""
        return self._send("GET", path, None, params, {"Accept": "*/*"}).content

    def text(self, path: str) -> str:
        """A page that is not JSON."""
        return self._send("GET", path, None, {}, {"Accept": "text/plain"}).text

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, object] | None = None,
        params: Mapping[str, object] | None = None,
        if_match: str | None = None,
    ) -> Answer:
        """One request with all that is known of its answer; `if_match` is the ETag of what was looked at before."""
        headers = {} if method == "GET" else {"Idempotency-Key": str(new_id())}
        if if_match:
            headers["If-Match"] = if_match
        wanted = {name: value for name, value in (params or {}).items() if value is not None}
        if method == "GET" and self._written:
            wanted["min_position"] = max(self._written, int(str(wanted.get("min_position", 0))))
        response = self._send(method, path, body, wanted, headers)
        position = response.headers.get("Toybox-Position")
        answer = Answer(
            body=response.json() if response.content else None,
            position=int(position) if position and position.isdigit() else None,
            etag=response.headers.get("ETag"),
        )
        if method != "GET":
            self._written = max(self._written, answer.position or 0)
        return answer

    def pages(self, path: str, *, limit: int | None = None, **params: object) -> Iterator[Json]:
        """All items of a list, page after page, up to a limit."""
        cursor: str | None = None
        left = limit
        while left is None or left > 0:
            page = self.get(path, limit=PAGE if left is None else min(PAGE, left), cursor=cursor, **params)
            items = cast("list[Json]", page["items"])
            yield from items
            cursor = page.get("next")
            left = None if left is None else left - len(items)
            if not cursor or not items:
                return

    def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None,
        params: Mapping[str, object],
        headers: Mapping[str, str],
    ) -> httpx.Response:
        wanted = {name: _parameter(value) for name, value in params.items() if value is not None}
        for attempt in range(1, ATTEMPTS + 1):
            with self._reachable():
                response = self._http.request(method, path, params=wanted, json=body, headers=dict(headers))
            if response.is_success:
                return response
            error = error_of(response)
            if not isinstance(error, Unavailable) or attempt == ATTEMPTS or error.retry_after > LONGEST_PAUSE:
                raise error
            time.sleep(error.retry_after)
        raise AssertionError  # the loop returns or raises

    @contextmanager
    def _reachable(self) -> Generator[None]:
        try:
            yield
        except httpx.TimeoutException as error:
            raise Unavailable(
                f"{self.url} takes too long to answer: look at it with toybox doctor", code="no_answer"
            ) from error
        except httpx.TransportError as error:
            raise Unavailable(
                f"{self.url} does not answer ({error or type(error).__name__}): start it with toybox up, or correct "
                f"TOYBOX_URL",
                code="no_answer",
            ) from error
        except httpx.InvalidURL as error:
            raise Refused(f"{self.url} is no address: write TOYBOX_URL=http://host:port", code="invalid_url") from error

    @contextmanager
    def download(self, path: str, **params: object) -> Generator[Download]:
        """A slice of the log, a line for each event; Unavailable where it breaks off."""
        wanted = {name: _parameter(value) for name, value in params.items() if value is not None}
        headers = {"Accept": "application/x-ndjson"}
        with self._reachable(), self._http.stream("GET", path, params=wanted, headers=headers) as response:
            if not response.is_success:
                response.read()
                raise error_of(response)
            after, up_to = int(response.headers["Toybox-After"]), int(response.headers["Toybox-Position"])
            yield Download(after, up_to, _whole_lines(response.iter_bytes()))

    # --- the feed ---

    @contextmanager
    def feed(self, *, after: int | None = None, **params: object) -> Generator[Iterator[FeedEvent]]:
        """Events as they happen, from the position after `after`; ends when the connection does."""
        wanted = {name: _parameter(value) for name, value in params.items() if value is not None}
        headers = {"Accept": "text/event-stream"} | ({} if after is None else {"Last-Event-ID": str(after)})
        timeout = httpx.Timeout(FEED_SILENCE, connect=5.0)
        with (
            self._reachable(),
            self._http.stream("GET", "/api/events", params=wanted, headers=headers, timeout=timeout) as response,
        ):
            if not response.is_success:
                response.read()
                raise error_of(response)
            yield _events(response.iter_lines())

    @contextmanager
    def stream(self, path: str, *, last_id: str | None = None) -> Generator[Iterator[FeedEvent] | None]:
        """Messages of one job; None where there is nothing left to tell. Ends when the connection does."""
        headers = {"Accept": "text/event-stream"} | ({} if last_id is None else {"Last-Event-ID": last_id})
        timeout = httpx.Timeout(FEED_SILENCE, connect=5.0)
        with self._reachable(), self._http.stream("GET", path, headers=headers, timeout=timeout) as response:
            if not response.is_success:
                response.read()
                raise error_of(response)
            lines = (each.decode() for each in _whole_lines(response.iter_bytes()))
            yield None if response.status_code == NOTHING_LEFT else _events(lines)


def _check_address(url: str) -> None:
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL:
        address = httpx.URL("")
    if address.scheme not in ("http", "https") or not address.host:
        raise Refused(f"{url} is no address: write TOYBOX_URL=http://host:port", code="invalid_url")


def _parameter(value: object) -> str | list[str]:
    match value:
        case bool():
            return "true" if value else "false"
        case list() | tuple():
            return [str(each) for each in cast("list[object]", value)]
        case _:
            return str(value)


def _whole_lines(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Not httpx's own: that would also break lines at separators which JSON leaves unescaped."""
    rest = b""
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        yield from lines


def _events(lines: Iterator[str]) -> Iterator[FeedEvent]:
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            fields[name] = f"{fields[name]}\n{value}" if name == "data" and "data" in fields else value
        elif fields:
            if "data" in fields or "event" in fields:
                yield FeedEvent(fields.get("id", ""), fields.get("event", "message"), _data(fields.get("data", "")))
            fields = {}


def _data(text: str) -> Json:
    try:
        data: Any = json.loads(text)
    except ValueError:
        return {}
    return cast("Json", data) if isinstance(data, dict) else {}


KINDS: Mapping[int, type[ToyboxError]] = {
    401: NotAllowed,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    412: Conflict,
    429: Unavailable,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def error_of(response: httpx.Response) -> ToyboxError:
    """The product's own error for an answer that is none: what the problem says, under its code."""
    problem = _problem(response)
    said = str(problem.get("detail") or problem.get("title") or f"the server answered {response.status_code}")
    code = str(problem.get("code") or "")
    details = {name: value for name, value in problem.items() if name not in _OWN}
    if response.status_code >= 500 and response.status_code not in KINDS:
        return Unavailable(
            f"{said}: the server's log says more", code=code or "server_error", retry_after=LONGEST_PAUSE * 2
        )
    kind = KINDS.get(response.status_code, Refused)
    if code == BudgetExhausted.code:
        kind = BudgetExhausted
    if kind is Unavailable:
        return Unavailable(said, code=code or None, retry_after=_retry_after(response), **details)
    return kind(said, code=code or None, **details)


_OWN = frozenset({"type", "title", "status", "detail", "code", "instance"})


def _problem(response: httpx.Response) -> Json:
    try:
        body: Any = response.json()
    except ValueError:
        return {}
    return cast("Json", body) if isinstance(body, dict) else {}


def _retry_after(response: httpx.Response) -> float:
    try:
        return max(0.05, float(response.headers.get("Retry-After", "1")))
    except ValueError:
        return 1.0
