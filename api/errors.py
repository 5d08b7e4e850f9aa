"""Errors as problem+json (RFC 9457): the one place where words of the product become HTTP statuses."""

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import orjson
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from domain.errors import BudgetExhausted, Conflict, NotAllowed, NotFound, Refused, ToyboxError, Unavailable
from domain.identity.access_keys import PERMISSION
from domain.values import ONE_LINE, SLUG

MEDIA_TYPE = "application/problem+json"
STATUS_OF: Final[Mapping[type[ToyboxError], int]] = {
    BudgetExhausted: 402,
    NotAllowed: 403,
    NotFound: 404,
    Conflict: 409,
    Refused: 422,
    Unavailable: 503,
}
STATUS_OF_CODE: Final[Mapping[str, int]] = {
    "not_authenticated": 401,
    "method_not_allowed": 405,
    "erased": 410,
    "version_conflict": 412,
    "body_too_large": 413,
    "unsupported_media_type": 415,
    "range_not_satisfiable": 416,
    "too_many_requests": 429,
}
"""Codes whose status says more than that of their category."""


_IN_WORDS: Final[Mapping[str, str]] = {
    ONE_LINE: "write one line of text, without control characters",
    PERMISSION: "write a permission such as projects.read, all of a context as budgets.*, or * for everything",
    SLUG: "write lower-case letters, digits and dashes, at most 63, and begin with a letter: release-notes",
}
"""What a pattern asks for: nobody reads those."""


class NotAuthenticated(ToyboxError):
    """The caller did not say who they are, or nobody knows them."""

    code = "not_authenticated"


class Invalid(Refused):
    """What was sent does not have the shape that was asked for; every field that is wrong is listed."""

    code = "invalid_request"

    def __init__(self, errors: Sequence[Mapping[str, str]]) -> None:
        said = "; ".join(f"{each['field']}: {each['message']}" if each["field"] else each["message"] for each in errors)
        super().__init__(said, errors=errors)


def invalid(error: ValidationError, *, inside: str = "body", tagged: bool = False) -> Invalid:
    """The error of pydantic, without the values that it quotes: they may be secret.

    The paths in a tagged union begin with the tag, which nobody has written.
    """
    found = error.errors(include_input=False, include_url=False, include_context=False)
    return Invalid([_field_error(each, inside, each["loc"][tagged:]) for each in found])


def _field_error(found: Mapping[str, Any], inside: str, path: Sequence[int | str]) -> dict[str, str]:
    field = ".".join(str(step) for step in path)
    return {"in": inside, "field": field, "message": _message(found), "code": str(found["type"])}


def _message(found: Mapping[str, Any]) -> str:
    message = str(found["msg"]).removeprefix("Value error, ")
    match found["type"]:
        case "extra_forbidden":
            return "this field is not known: leave it out"
        case "string_pattern_mismatch":
            return next((said for pattern, said in _IN_WORDS.items() if message.endswith(f"'{pattern}'")), message)
        case _:
            return message


def status_of(error: ToyboxError) -> int:
    """The HTTP status that this error is answered with."""
    if error.code in STATUS_OF_CODE:
        return STATUS_OF_CODE[error.code]
    return next((STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF), 500)


def problem(error: ToyboxError, *, correlation_id: object = None, status: int | None = None) -> Response:
    """The answer to a request that ended in this error."""
    status = status or status_of(error)
    body: dict[str, Any] = {
        "type": f"/problems/{error.code}",
        "title": error.code.replace("_", " ").capitalize(),
        "status": status,
        "detail": str(error),
        "code": error.code,
    }
    body |= {name: value for name, value in error.details.items() if value is not None and name not in body}
    if correlation_id is not None:
        body["correlation_id"] = correlation_id
    headers: dict[str, str] = {}
    if isinstance(error, Unavailable):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    if isinstance(error, NotAuthenticated):
        headers["WWW-Authenticate"] = f'{error.details.get("scheme") or "Bearer"} realm="toybox"'
    if isinstance(allow := error.details.get("allow"), str):
        headers["Allow"] = allow
    return Response(orjson.dumps(body, default=str), status, headers, MEDIA_TYPE)


def unexpected(correlation_id: object) -> Response:
    """The answer to a request that met a bug: how to find it in the logs, and nothing of the inside."""
    error = ToyboxError(
        "something went wrong here; the server's log says what, under this correlation id", code="internal_error"
    )
    return problem(error, correlation_id=correlation_id)


def correlation_of(request: Request) -> object:
    """The id under which the request is logged."""
    visit = request.scope.get("toybox")
    return getattr(visit, "correlation_id", None)


async def answer_refusal(request: Request, error: Exception) -> Response:
    """Every error of the product, wherever a route raised it."""
    assert isinstance(error, ToyboxError)  # noqa: S101 -- registered for these alone
    return problem(error, correlation_id=correlation_of(request))


async def answer_misspelled(request: Request, error: Exception) -> Response:
    """A path, a query or a header that FastAPI could not read."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 -- registered for these alone
    found = Invalid([_field_error(each, str(each["loc"][0]), each["loc"][1:]) for each in error.errors()])
    return problem(found, correlation_id=correlation_of(request))


async def answer_unrouted(request: Request, error: Exception) -> Response:
    """No route has this path, or none with this method."""
    assert isinstance(error, HTTPException)  # noqa: S101 -- registered for these alone
    path: str = request.scope["path"]
    match error.status_code:
        case 404:
            fix = "leave out the slash at its end, or see" if path[1:].endswith("/") else "see"
            found = ToyboxError(f"there is no {path}: {fix} /openapi.json, which lists every route", code="not_found")
        case 405:
            allowed = (error.headers or {}).get("Allow", "")
            found = ToyboxError(f"{path} answers {allowed} only", code="method_not_allowed", allow=allowed)
        case status:
            phrase = HTTPStatus(status).phrase
            found = ToyboxError(f"{phrase}: {error.detail}", code=phrase.lower().replace(" ", "_"))
    return problem(found, correlation_id=correlation_of(request), status=error.status_code)
