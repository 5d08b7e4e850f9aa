"""What is known of a request from its arrival on: who asks, and under which correlation and trace it is logged."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from starlette.requests import Request
from starlette.types import Scope

from api.services import Services
from commands.handling import Principal
from domain.values import derived_id

_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_NO_TRACE = b"0" * 32
NOBODY = Principal("nobody", frozenset())


@dataclass(slots=True)
class Visit:
    """One request."""

    correlation_id: UUID
    trace_id: str | None
    principal: Principal = NOBODY
    quota: str | None = None
    """What is left of the caller's quota, as the header says it."""
    lasting: bool = False
    """Whether the answer takes as long as its client or a job likes: no measure of how fast we are."""

    @classmethod
    def of(cls, scope: Scope, random: Callable[[int], bytes]) -> "Visit":
        """From the headers; a correlation id that is no uuid is turned into one, the same for the same text."""
        correlation_id: UUID | None = None
        trace_id: str | None = None
        for name, value in scope["headers"]:
            if name == b"x-correlation-id":
                correlation_id = _uuid(value.decode("latin-1"))
            elif name == b"traceparent" and (found := _TRACEPARENT.fullmatch(value)) and found[1] != _NO_TRACE:
                trace_id = found[1].decode()
        return cls(correlation_id or UUID(bytes=random(16), version=4), trace_id)


def _uuid(text: str) -> UUID | None:
    if not text.strip():
        return None
    try:
        return UUID(text)
    except ValueError:
        return derived_id("correlation", text)


def visit_of(request: Request) -> Visit:
    """The visit that the edge of the application began."""
    return cast("Visit", request.scope["toybox"])


def services_of(request: Request) -> Services:
    """The services that the application was made with."""
    state: Any = request.app.state
    return cast("Services", state.services)
