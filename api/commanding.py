"""Routes that change something: who asks, under which idempotency key, having looked at which version."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path
from starlette.requests import Request
from starlette.responses import Response

from api.answers import Done, done
from api.bodies import Given, body_of
from api.errors import Invalid
from api.permissions import may
from api.services import Services
from api.visiting import Visit, services_of, visit_of
from commands.handling import Caller, Command
from commands.sequencer import Answer
from domain.errors import Refused
from domain.values import derived_id

_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_TAG = re.compile(r'(?:W/)?"([0-9]{1,18})"')


@dataclass(slots=True)
class Desk:
    """Where one request's command is handed in. Ids of new things come from its id, so that a repeat makes no other."""

    services: Services
    visit: Visit
    caller: Caller
    looked_at: int | None
    """The version in If-Match."""

    def new_id(self, kind: str) -> UUID:
        """The id of what this request makes."""
        return derived_id(kind, self.caller.command_id())

    async def send(
        self,
        command: Command,
        *,
        about: UUID | None = None,
        status: int = 200,
        location: str | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> Response:
        """Carry out the command and answer; `about` is the aggregate that If-Match speaks of."""
        answer = await self.carry_out(command, about=about)
        return self.done(answer, about=about, status=status, location=location, more=more)

    def done(
        self,
        answer: Answer,
        *,
        about: UUID | None,
        status: int = 200,
        location: str | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> Response:
        """Answer a command that was carried out."""
        return done(answer, subject=about, key=self.caller.key, status=status, location=location, more=more)

    async def carry_out(self, command: Command, *, about: UUID | None = None) -> Answer:
        """Carry out the command."""
        expected: dict[UUID, int] = {}
        if self.looked_at is not None:
            if about is None:
                msg = "If-Match means nothing here: nothing is changed that has a version yet; leave it out"
                raise Refused(msg, code="if_match_unexpected")
            expected = {about: self.looked_at}
        return await self.services.commands.send(command, self.caller, expected=expected)


async def desk(request: Request) -> Desk:
    """Read the headers that every command has in common."""
    services, visit = services_of(request), visit_of(request)
    headers = request.headers
    key = headers.get("idempotency-key")
    if key is None:
        key = services.random(16).hex()
    elif not _KEY.fullmatch(key):
        message = "give 1 to 200 visible ASCII characters without spaces, for instance a uuid"
        raise Invalid([{"in": "header", "field": "Idempotency-Key", "message": message, "code": "invalid_key"}])
    caller = Caller(visit.principal, "http", key, correlation_id=visit.correlation_id, trace_id=visit.trace_id)
    return Desk(services, visit, caller, _version(headers.get("if-match")))


def _version(tag: str | None) -> int | None:
    if tag is None or tag.strip() == "*":
        return None
    found = _TAG.fullmatch(tag.strip())
    if found is None:
        message = 'give the ETag that you were answered, one only: If-Match: "7"'
        raise Invalid([{"in": "header", "field": "If-Match", "message": message, "code": "invalid_etag"}])
    return int(found[1])


Commanding = Annotated[Desk, Depends(desk)]


def offer(
    router: APIRouter,
    method: Literal["POST", "PUT", "PATCH", "DELETE"],
    path: str,
    kind: type[Command],
    *,
    name: str,
    about: str,
) -> None:
    """A route that is nothing but its command: the id in the path is its aggregate, the body its other fields."""

    async def change(
        stream_id: Annotated[UUID, Path(alias=about)],
        commanding: Commanding,
        given: Annotated[Given[Command], body_of(kind, about)],
    ) -> Response:
        return await commanding.send(given.command(**{about: stream_id}), about=stream_id)

    router.add_api_route(
        path,
        change,
        methods=[method],
        name=name,
        summary=name.replace("_", " ").capitalize(),
        description=kind.__doc__,
        dependencies=[may(kind)],
        response_model=Done,
    )
