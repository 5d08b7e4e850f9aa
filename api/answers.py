"""Answers: JSON with the position it is true for, and what every answered command tells."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

import orjson
from pydantic import BaseModel, Field
from starlette.responses import Response

from commands.sequencer import Answer

JSON = "application/json"


class Done(BaseModel):
    """What a command did."""

    id: Annotated[UUID | None, Field(description="The thing that the command was about, or made")]
    position: Annotated[int, Field(description="Read with ?min_position= this to see its effect")]
    versions: Annotated[dict[UUID, int], Field(description="The version of everything that it changed")]
    repeated: Annotated[bool, Field(description="Whether this Idempotency-Key was answered before")]


def etag(version: int) -> str:
    """The version of an aggregate as an entity tag."""
    return f'"{version}"'


def done(
    answer: Answer,
    *,
    subject: UUID | None,
    key: str,
    status: int = 200,
    location: str | None = None,
    more: Mapping[str, Any] | None = None,
) -> Response:
    """The answer to a command."""
    about = subject or answer.subject
    body: dict[str, Any] = {
        "id": about,
        "position": answer.position,
        "versions": {str(stream): version for stream, version in answer.versions.items()},
        "repeated": answer.repeated,
        **(more or {}),
    }
    headers = {"Toybox-Position": str(answer.position), "Idempotency-Key": key}
    if about and about in answer.versions:
        headers["ETag"] = etag(answer.versions[about])
    if location:
        headers["Location"] = location
    return Response(orjson.dumps(body), status, headers, JSON)


def shown(
    body: bytes | object, *, headers: Mapping[str, str] | None = None, status: int = 200, media_type: str = JSON
) -> Response:
    """The answer to a query."""
    raw = body if isinstance(body, bytes) else orjson.dumps(body, default=plain)
    return Response(raw, status, headers, media_type)


def plain(value: object) -> object:
    """What orjson does not know: models by their own rules, the rest as text."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return str(value)
