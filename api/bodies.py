"""Request bodies: strict JSON of a limited size, its shape taken from the command that it becomes."""

import re
from collections.abc import AsyncIterator, Collection
from functools import cache
from typing import Any, Generic, TypeVar

from fastapi import Depends
from pydantic import BaseModel, ConfigDict, RootModel, ValidationError, create_model
from starlette.requests import ClientDisconnect, Request

from api.errors import Invalid, invalid
from api.services import MEBIBYTE
from api.visiting import services_of
from commands.handling import Command
from domain.errors import Refused, Unavailable

_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""An escape that PostgreSQL's JSON functions cannot read; doubled backslashes before it are text."""
C = TypeVar("C", bound=Command)
M = TypeVar("M", bound=BaseModel)


class Given(Generic[C]):
    """The fields of a command as a body gave them; what the address says is added to make the command."""

    __slots__ = ("_fields", "_kind")

    def __init__(self, kind: type[C], fields: BaseModel) -> None:
        self._kind = kind
        self._fields = {name: getattr(fields, name) for name in fields.model_fields_set}

    def command(self, **known: object) -> C:
        """The command; Invalid when its fields do not fit together."""
        return checked(self._kind, **{**self._fields, **known})


def checked(kind: type[M], /, **fields: object) -> M:
    """A model made of these fields; Invalid when they do not fit together."""
    try:
        return kind(**fields)
    except ValidationError as error:
        raise invalid(error) from error


class JsonBody(Generic[M]):
    """A dependency that reads a body of this model."""

    def __init__(self, model: type[M], *, large: bool = False) -> None:
        self.model = model
        self._large = large
        self.optional = not any(field.is_required() for field in model.model_fields.values())
        """Whether the body may be left out, because everything in it may."""

    async def __call__(self, request: Request) -> M:
        limits = services_of(request).limits
        raw = await whole_body(request, limits.blueprint_bytes if self._large else limits.body_bytes)
        if not raw and self.optional:
            raw = b"{}"
        else:
            _check_media_type(request)
        return parsed(self.model, raw)


class CommandBody(JsonBody[BaseModel], Generic[C]):
    """A dependency that reads a command's fields, but for those that the address or the server knows."""

    def __init__(self, kind: type[C], without: Collection[str]) -> None:
        super().__init__(fields_of(kind, frozenset(without)))
        self._kind = kind

    async def __call__(self, request: Request) -> Any:
        return Given(self._kind, await super().__call__(request))


def body_of(kind: type[C], *without: str) -> Any:
    """A dependency that reads a command's fields, but for those named: the address tells them."""
    return Depends(CommandBody(kind, without))


def json_of(model: type[BaseModel], *, large: bool = False) -> Any:
    """A dependency that reads a body with a model of its own."""
    return Depends(JsonBody(model, large=large))


@cache
def fields_of(kind: type[Command], without: frozenset[str]) -> type[BaseModel]:
    """A command's fields as a model, with the same rules: what a command gains, its route offers."""
    fields: dict[str, Any] = {
        name: (field.annotation, field) for name, field in kind.model_fields.items() if name not in without
    }
    config = ConfigDict(extra="forbid", title=kind.__name__)
    return create_model(kind.__name__, __config__=config, __doc__=kind.__doc__, **fields)


def parsed(model: type[M], raw: bytes) -> M:
    """The body as this model: no unknown fields, no wrong types, no text that the log could not hold."""
    if _NUL.search(raw):
        raise Invalid([{"in": "body", "field": "", "message": "text must not contain U+0000", "code": "nul"}])
    try:
        return model.model_validate_json(raw, strict=True)
    except ValidationError as error:
        raise invalid(error, tagged=issubclass(model, RootModel)) from error


async def whole_body(request: Request, limit: int) -> bytes:
    """All of a body that may have this many bytes.

    Reads the messages itself: the loop registers every asynchronous generator, a tenth of a command's time for two.
    """
    _check_declared(request, limit)
    pieces: list[bytes] = []
    size, more = 0, True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise _cut_off()
        piece = message.get("body", b"")
        size += len(piece)
        if size > limit:
            raise _too_large(limit)
        pieces.append(piece)
        more = message.get("more_body", False)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _check_declared(request: Request, limit: int) -> None:
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)


async def limited(request: Request, limit: int) -> AsyncIterator[bytes]:
    """A body piece by piece; refused as soon as it is known to be too large."""
    _check_declared(request, limit)
    size = 0
    try:
        async for piece in request.stream():
            size += len(piece)
            if size > limit:
                raise _too_large(limit)
            if piece:
                yield piece
    except ClientDisconnect as gone:
        raise _cut_off() from gone


def _cut_off() -> Unavailable:
    return Unavailable("the connection was lost before the body was here; send it again")


def _too_large(limit: int) -> Refused:
    told = f"{limit // MEBIBYTE} MiB" if limit >= MEBIBYTE else f"{limit} bytes"
    return Refused(f"this body is too large: at most {told} are taken here", code="body_too_large", limit=limit)


def _check_media_type(request: Request) -> None:
    said = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if said != "application/json" and not said.endswith("+json"):
        raise Refused("send JSON, and say so: Content-Type: application/json", code="unsupported_media_type")
