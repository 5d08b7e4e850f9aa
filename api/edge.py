"""The application's outermost layer: lets nobody in without a key, names, counts, measures and logs every request."""

import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.authentication import password_in, token_in
from api.errors import Invalid, NotAuthenticated, problem, unexpected
from api.limiting import RateLimits
from api.metrics import Metrics
from api.services import Authenticate
from api.visiting import Visit
from commands.handling import Principal
from domain.errors import ToyboxError

OPEN: Final = frozenset({"/health", "/ready"})
"""What answers without a key."""
LOOKED_AT: Final = frozenset({"/docs", "/openapi.json"})
"""What people open in a browser: the browser asks for the key, as a password. Nothing here changes anything."""
LASTING: Final = frozenset({"/api/events", "/api/events/export", "/api/cost/export"})
"""What is open for as long as its client likes: no measure of how fast we are."""
log = structlog.get_logger("toybox.http")


class Edge:
    """Pure ASGI, one layer for all of it: every layer costs every request."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        authenticate: Authenticate,
        limits: RateLimits | None,
        metrics: Metrics,
        random: Callable[[int], bytes],
    ) -> None:
        self._app = app
        self._authenticate = authenticate
        self._limits = limits
        self._metrics = metrics
        self._random = random

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        visit = scope["toybox"] = Visit.of(scope, self._random)
        policy = None if self._limits is None else self._limits.policy
        outgoing = Outgoing(send, visit, policy, bodiless=scope["method"] == "HEAD")
        try:
            if scope["path"] not in OPEN:
                await self._let_in(scope, visit)
            if b"%00" in scope["query_string"] or "\0" in scope["path"]:
                raise Invalid([{"in": "query", "field": "", "message": "text must not contain U+0000", "code": "nul"}])
            await self._app(scope, receive, outgoing)
        except ToyboxError as error:
            await problem(error, correlation_id=visit.correlation_id)(scope, receive, outgoing)
        except Exception:
            log.exception("a request failed", path=scope["path"], correlation_id=str(visit.correlation_id))
            if outgoing.status:
                raise  # half of the answer is gone already: only the server can cut the connection
            await unexpected(visit.correlation_id)(scope, receive, outgoing)
        finally:
            self._tell(scope, visit, outgoing.status, time.perf_counter() - began)

    async def _let_in(self, scope: Scope, visit: Visit) -> None:
        try:
            visit.principal = await self._principal(scope)
        except NotAuthenticated:
            client = scope.get("client")
            self._count(f"address {client and client[0]}", visit)
            raise
        self._count(visit.principal.actor, visit)

    def _count(self, caller: str, visit: Visit) -> None:
        if self._limits is not None:
            visit.quota = self._limits.count(caller)
            self._limits.check(caller)

    async def _principal(self, scope: Scope) -> Principal:
        in_browser = scope["path"] in LOOKED_AT
        token = token_in(scope["headers"]) or (password_in(scope["headers"]) if in_browser else None)
        scheme = "Basic" if in_browser else "Bearer"
        if not token:
            msg = "this needs an access key: send it as `Authorization: Bearer tbx_…` (toybox keys create)"
            raise NotAuthenticated(msg, scheme=scheme)
        principal = await self._authenticate(token)
        if principal is None:
            msg = "this access key is not known, has expired or was revoked: get a new one (toybox keys create)"
            raise NotAuthenticated(msg, scheme=scheme)
        return principal

    def _tell(self, scope: Scope, visit: Visit, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        if route not in LASTING and not visit.lasting:
            self._metrics.request(scope["method"], route, status, seconds)
        # What was carried out is in the event log, with its actor and this correlation: a second record of it would
        # cost a fifth of the time of a request.
        tell = log.debug if status < 400 else log.info if status < 500 else log.warning
        tell(
            "request",
            method=scope["method"],
            path=scope["path"],
            route=route,
            status=status,
            milliseconds=round(seconds * 1000, 1),
            actor=visit.principal.actor,
            correlation_id=str(visit.correlation_id),
            trace_id=visit.trace_id,
        )


class Outgoing:
    """Passes an answer on, remembers its status, names its correlation and what is left of the quota."""

    __slots__ = ("_bodiless", "_policy", "_send", "_visit", "status")

    def __init__(
        self, send: Callable[[Message], Awaitable[None]], visit: Visit, policy: str | None, *, bodiless: bool
    ) -> None:
        self._send = send
        self._visit = visit
        self._policy = policy
        self._bodiless = bodiless
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["x-correlation-id"] = str(self._visit.correlation_id)
            headers["x-content-type-options"] = "nosniff"
            headers.setdefault("cache-control", "no-store")
            if self._policy and self._visit.quota:
                headers["ratelimit-policy"] = self._policy
                headers["ratelimit"] = self._visit.quota
        elif self._bodiless:
            message = {**message, "body": b""}
        await self._send(message)
