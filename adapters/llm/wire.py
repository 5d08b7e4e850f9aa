"""The HTTP client that the vendors' SDKs send through: no redirects, no stray headers, proof of what was sent."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Self, TypeVar

import httpx2

from adapters.llm.failures import ADVICE, error_in, judge, retry_after
from adapters.llm.fields import Malformed, whole_characters
from adapters.llm.keys import is_sendable
from commands.models import FailureKind, ModelError, ModelRequest

if TYPE_CHECKING:
    from adapters.llm.usage import Counted
    from domain.pricing import Usage

ATTEMPT_HEADER = "X-Toybox-Attempt"

NO_USAGE = "the server sent no usage"
_CONNECT_SECONDS = 10.0
_HEADERS = frozenset(
    {
        "accept",
        "accept-encoding",
        "anthropic-version",
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "host",
        "traceparent",
        "transfer-encoding",
        "user-agent",
        ATTEMPT_HEADER.lower(),
    }
)
"""Headers that leave this machine: the SDKs add others from environment variables meant for other programs."""

_TELLING = 4
"""The longest beginning of a key that may stand in a message."""

_T = TypeVar("_T")


class Wire:
    """One provider's connections."""

    def __init__(self, provider: str, base_url: str, *, secret: str | None) -> None:
        self.provider = provider
        self.timeout = httpx2.Timeout(None, connect=_CONNECT_SECONDS)
        self._host = httpx2.URL(base_url).netloc.decode()
        if secret is not None and not is_sendable(secret):
            raise ValueError(f"the API key of {provider} holds a blank or a character that HTTP cannot carry")
        self._secret = secret
        self._under_way: dict[str, Attempt] = {}
        self.http = httpx2.AsyncClient(
            timeout=self.timeout,
            follow_redirects=False,  # a redirected POST would be a second request under one attempt id
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=100),
            event_hooks={"request": [self._before_sending]},
        )

    def attempt(self, request: ModelRequest) -> "Attempt":
        return Attempt(self, request)

    def begin(self, attempt: "Attempt") -> None:
        if attempt.id in self._under_way:
            raise attempt.failure("invalid_request", f"attempt {attempt.id} is already under way")
        self._under_way[attempt.id] = attempt

    def end(self, attempt: "Attempt") -> None:
        if self._under_way.get(attempt.id) is attempt:
            del self._under_way[attempt.id]

    def describe(self, kind: FailureKind, words: str) -> str:
        """One line for a person: who failed, how, and what to do; never a key."""
        advice = f"; {ADVICE[kind]}" if kind in ADVICE else ""
        line = f"{self.provider} ({self._host}): {words}{advice}"
        return self.clean(line)

    def clean(self, text: str) -> str:
        """The text without the key, also where a long message was cut off in the middle of it."""
        if not self._secret:
            return text
        text = text.replace(self._secret, "[key]")
        for length in range(len(self._secret) - 1, _TELLING, -1):
            text = text.replace(f"{self._secret[:length]}…", "[key]…")
        return text

    async def _before_sending(self, request: httpx2.Request) -> None:
        for name in [name for name in request.headers if name.lower() not in _HEADERS]:
            del request.headers[name]
        attempt = self._under_way[request.headers[ATTEMPT_HEADER]]
        request.extensions = {**request.extensions, "trace": attempt.trace}

    def __repr__(self) -> str:
        return f"<Wire {self.provider} {self._host}>"


class Attempt:
    """What is known of one request while it is under way. A context manager around its whole life."""

    def __init__(self, wire: Wire, request: ModelRequest) -> None:
        self._wire = wire
        self._deadline = request.deadline
        self._may_leave = request.may_leave
        self.id = str(request.attempt_id)
        self.sent = False
        self.pieces: list[str] = []
        self.usage: Usage | None = None
        self.raw_usage: Mapping[str, object] = {}
        self.usage_problem: str | None = NO_USAGE
        self.usage_remarks: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        self._wire.begin(self)
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._wire.end(self)
        if isinstance(error, ValueError | RecursionError):  # an answer that nothing can be made of, or no end of
            raise self._broken(error) from None

    @property
    def headers(self) -> dict[str, str]:
        return {ATTEMPT_HEADER: self.id}

    @property
    def text(self) -> str:
        return whole_characters("".join(self.pieces))

    def count(self, counting: Callable[[], "Counted"]) -> None:
        """Take the usage over, or why it cannot be one: what is missing or contradicts itself is unknown."""
        try:
            counted = counting()
        except Malformed as problem:
            self.usage, self.usage_problem, self.usage_remarks = None, str(problem), ()
        else:
            self.usage, self.usage_problem, self.usage_remarks = counted.usage, None, tuple(counted.remarks)

    async def trace(self, event: str, _: Mapping[str, object]) -> None:
        # Asked before either part: a process that was stopped in between must not complete a request of long ago, and
        # without its body none can be answered.
        if event.endswith((".send_request_headers.started", ".send_request_body.started")):
            self.sent = self._may_leave()
            if not self.sent:
                raise httpx2.ConnectError("given up before anything was sent")

    async def step(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """Await one piece of the call within what is left of the deadline; every failure becomes a ModelError."""
        try:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            async with asyncio.timeout(left):
                return await call()
        except asyncio.CancelledError as cancelled:
            raise cancelled from self.failure("cancelled", "the call was cancelled")
        except TimeoutError:
            raise self.failure("timeout", "no complete answer before the attempt's deadline") from None
        except (httpx2.RequestError, ValueError) as error:
            raise self._broken(error) from None
        except Exception as error:  # the two SDKs share no base class, only shapes; others pass through
            known = self._known(error)
            if known is None:
                raise
            raise known from None

    def failure(self, kind: FailureKind, words: str, *, may_cost: bool = True, wait: float | None = None) -> ModelError:
        return ModelError(
            kind,
            self._wire.describe(kind, words),
            sent=self.sent,
            may_cost=self.sent and may_cost,
            retry_after=wait,
            usage=self.usage,
            raw_usage=self.raw_usage,
            usage_problem=self.usage_problem,
            text_so_far=self.text,
        )

    def refused(self, body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> ModelError:
        """A failure that the provider put into words, in an answer of its own or inside a stream."""
        verdict = judge(status, body)
        where = f"HTTP {status}" if status >= 300 else "an error inside the answer"
        words = f"{where}: {verdict.words}" if verdict.words else where
        return self.failure(
            verdict.kind, words, may_cost=verdict.may_cost, wait=retry_after(headers) if headers is not None else None
        )

    def _known(self, error: Exception) -> ModelError | None:
        response = getattr(error, "response", None)
        if isinstance(response, httpx2.Response):
            if response.is_success and error_in(getattr(error, "body", None)) is None:
                return self.failure("malformed", "the answer does not follow the protocol")
            return self.refused(getattr(error, "body", None), response.status_code, response.headers)
        if isinstance(error.__cause__, httpx2.RequestError):
            return self._broken(error.__cause__)
        if isinstance(getattr(error, "request", None), httpx2.Request):
            return self.refused({"error": getattr(error, "body", None)})
        return None

    def _broken(self, error: httpx2.RequestError | ValueError | RecursionError) -> ModelError:
        reason = self._wire.clean(" ".join(str(error).split()))[:200] or type(error).__name__
        unsendable = isinstance(error, httpx2.LocalProtocolError | httpx2.UnsupportedProtocol)
        if unsendable or (isinstance(error, ValueError) and not self.sent):
            return self.failure("invalid_request", f"the request cannot be sent: {reason}")
        if isinstance(error, httpx2.DecodingError | ValueError | RecursionError):
            return self.failure("malformed", f"the answer cannot be read: {reason}")
        if not self.sent:
            return self.failure("unreachable", f"no connection: {reason}")
        return self.failure("cut_stream", f"the connection broke before the answer was complete: {reason}")
