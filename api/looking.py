"""Routes that ask something: how fresh the answer must be, what it is true for, and as of when."""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import Depends, Query
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from api.answers import etag, shown
from api.errors import Invalid
from api.paging import marked
from api.services import Services
from api.unsealing import unseal
from api.visiting import Visit, services_of, visit_of
from domain.errors import NotFound, Refused, Unavailable
from domain.values import Instant, instant_text
from projections.documents import Document
from projections.folding import fold_document
from projections.paging import Page
from projections.projector import Connection, Projection, incomplete_since, reading

V = TypeVar("V", bound=BaseModel)
PATIENCE_MS = 2_000
_DATED = re.compile(r"[0-9]{4}-")
_INSTANT = TypeAdapter[datetime](Instant)
MinPosition = Annotated[
    int | None, Query(ge=0, le=2**53, description="Wait until this position is shown: that of your own command")
]
TimeoutMs = Annotated[int, Query(ge=0, le=30_000, description="How long to wait for min_position, in milliseconds")]
Since = Annotated[
    str | None, Query(alias="as_of", max_length=64, description="A position, or an instant: 2026-11-21T10:00:00Z")
]


@dataclass(frozen=True, slots=True)
class Truth:
    """What an answer is true for. `lag` counts events up to the log's head."""

    position: int
    lag: int = 0
    incomplete_since: int | None = None
    """The first position that is missing, where an event could not be folded."""

    @property
    def headers(self) -> dict[str, str]:
        """The same as headers."""
        told = {"Toybox-Position": str(self.position), "Toybox-Lag": str(self.lag)}
        if self.incomplete_since is not None:
            told["Toybox-Incomplete-Since"] = str(self.incomplete_since)
        return told

    @property
    def fields(self) -> dict[str, int | None]:
        """The same as fields of a list."""
        return {"position": self.position, "lag": self.lag, "incomplete_since": self.incomplete_since}


@dataclass(frozen=True, slots=True)
class Seen:
    """Read models at one moment."""

    connection: Connection
    position: int
    head: int
    names: tuple[str, ...]

    async def truth(self, key: UUID | None = None) -> Truth:
        """What an answer about this key is true for: a project, else a stream; None for an answer about all of them."""
        gaps = [await incomplete_since(self.connection, name, key) for name in self.names]
        return Truth(
            self.position,
            max(0, self.head - self.position),
            min((gap for gap in gaps if gap is not None), default=None),
        )


@dataclass(frozen=True, slots=True)
class Look:
    """One request's view of the read side."""

    services: Services
    visit: Visit
    min_position: int | None
    timeout: float

    @asynccontextmanager
    async def at(self, *projections: type[Projection]) -> AsyncGenerator[Seen]:
        """These projections at one moment, not older than was asked for."""
        names = tuple(each.name for each in projections)
        if self.min_position is not None:
            await self.services.read_models.wait_for(names, self.min_position, self.timeout)
        head = await self.services.reader.head()
        async with reading(self.services.connections, *projections) as found:
            yield Seen(found.connection, found.position, head, names)

    async def show(
        self,
        view: BaseModel,
        truth: Truth,
        *,
        version: int | None = None,
        complete: Callable[[dict[str, Any]], Awaitable[None]] | None = None,
    ) -> Response:
        """One thing, readable, with its version as ETag; `complete` adds to its body what lies elsewhere."""
        body = view.model_dump(mode="json")
        await unseal(self.services.keyring, [(type(view), body)])
        if complete:
            await complete(body)
        headers = truth.headers
        if version is not None:
            headers["ETag"] = etag(version)
        return shown(body, headers=headers)

    async def show_page(self, page: Page[Any], truth: Truth, *, more: Mapping[str, Any] | None = None) -> Response:
        """A page of a list, readable."""
        views: list[BaseModel] = [getattr(each, "view", each) for each in page.items]
        bodies = [view.model_dump(mode="json") for view in views]
        await unseal(self.services.keyring, [(type(view), body) for view, body in zip(views, bodies, strict=True)])
        cursor = await marked(self.services.keyring, page.next)
        return shown({"items": bodies, "next": cursor, **truth.fields, **(more or {})}, headers=truth.headers)

    async def head(self) -> int:
        """The log's head, for what is read straight from it: nothing there can be behind."""
        head = await self.services.reader.head()
        if self.min_position is not None and self.min_position > head:
            msg = f"position {self.min_position} is not there yet: the log's head is {head}; ask without min_position"
            raise Unavailable(msg, code="behind", position=self.min_position)
        return head

    async def show_as_of(
        self, what: str, document: type[Document[V]], key: UUID, project_id: UUID | None, when: str
    ) -> Response:
        """A document as it was at a position or an instant, folded from the log; NotFound before its beginning."""
        position = await self.position_of(when)
        view = await fold_document(document(), self.services.reader, key, project_id, up_to=position)
        if view is None:
            raise NotFound(f"there was no {what} {key} yet at position {position}")
        return await self.show(view, Truth(position))

    async def position_of(self, when: str, *, field: str = "as_of") -> int:
        """The position that `as_of` means. Refused when it is not there yet: the answer could still change."""
        head = await self.head()
        if when.isascii() and when.isdigit():
            position = int(when)
            if position > head:
                raise Refused(
                    f"the log's head is {head}: ask for a position up to there", code="as_of_later", head=head
                )
            return position
        said = when.replace(" ", "+") if "T" in when else when  # an unescaped plus sign arrives as a blank
        try:
            if not _DATED.match(said):  # a bare number would be taken for seconds since 1970
                raise _no_moment(field)
            moment = _INSTANT.validate_python(said)
        except ValidationError as error:
            raise _no_moment(field) from error
        now = self.services.now()
        if moment > now:
            raise Refused(
                f"{instant_text(moment)} is in the future: it is {instant_text(now)}", code="as_of_later", head=head
            )
        return await self.services.reader.position_at(moment)


async def look(request: Request, min_position: MinPosition = None, timeout_ms: TimeoutMs = PATIENCE_MS) -> Look:
    """Read what every query has in common."""
    return Look(services_of(request), visit_of(request), min_position, timeout_ms / 1000)


Looking = Annotated[Look, Depends(look)]


def _no_moment(field: str) -> Invalid:
    message = "give a position, or an instant with its zone: 2026-11-21T10:00:00Z"
    return Invalid([{"in": "query", "field": field, "message": message, "code": "as_of"}])


def missing(what: str, key: object, truth: Truth) -> NotFound:
    """What is told of something that is not, or not yet, in the read models."""
    msg = f"there is no {what} {key} at position {truth.position}"
    return NotFound(f"{msg}; if you just made it, ask with ?min_position=" if truth.lag else msg)
