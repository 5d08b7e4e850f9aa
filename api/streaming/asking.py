"""How somebody who asks a model wants the answer: later, after a wait, or as it comes; and what if they leave."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from api.authentication import token_in
from api.errors import Invalid
from api.feed import FeedResponse
from api.streaming.board import Board
from api.streaming.cursor import Cursor
from api.streaming.listening import JobListener, is_told
from api.visiting import services_of, visit_of
from commands.llm_jobs import CancelLlmJob
from domain.errors import Unavailable
from domain.identity.tokens import parse_token

READ = "llm_jobs.read"
LONGEST_WAIT: Final = 300
EVENT_STREAM: Final = "text/event-stream"
_WAIT = re.compile(r"\s*wait\s*=\s*\"?([^\";]*)\"?\s*(?:;.*)?", re.IGNORECASE)
Wait = Annotated[
    int | None,
    Query(ge=0, le=LONGEST_WAIT, description="Answer 200 with the job if it ends within so many seconds, else 202"),
]


class Manner(BaseModel):
    """How the answer is wanted."""

    model_config = ConfigDict(extra="forbid")
    stream: Annotated[
        bool | None, Field(description="As server-sent events; by default where only text/event-stream is accepted")
    ] = None
    on_disconnect: Annotated[
        Literal["finish", "cancel"], Field(description="What becomes of the job once nobody reads its stream")
    ] = "finish"
    disconnect_seconds: Annotated[
        int, Field(ge=2, le=3_600, description="How long nobody may read it before that counts as leaving")
    ] = 10


@dataclass(frozen=True, slots=True)
class Wish:
    """What one request asks for, checked."""

    request: Request
    manner: Manner
    streams: bool
    seconds: int | None
    """How long to wait; None for not at all."""
    applied: str | None
    """The preference that was taken, as it is told."""
    cursor: Cursor | None

    @classmethod
    def of(cls, request: Request, manner: Manner, wait: int | None) -> "Wish":
        """Invalid when the wishes exclude each other; NotAllowed for who may ask but not read."""
        accepted = request.headers.get("accept", "").lower()
        streams = EVENT_STREAM in accepted and "application/json" not in accepted
        streams = streams if manner.stream is None else manner.stream
        preferred = _preferred(request)
        seconds = preferred if wait is None else wait
        if streams and seconds is not None:
            raise _invalid("body", "stream", "a stream tells the end by itself: leave out the wait, or the stream")
        if manner.on_disconnect == "cancel" and not streams:
            raise _invalid("body", "on_disconnect", 'only a stream can be left: add "stream": true, or leave it out')
        principal = visit_of(request).principal
        if streams or seconds is not None:
            principal.must(READ)
        if manner.on_disconnect == "cancel":
            principal.must(CancelLlmJob.PERMISSION)
        applied = None if seconds is None or preferred is None else f"wait={seconds}"
        return cls(request, manner, streams, seconds, applied, _cursor(request) if streams else None)

    async def prepare(self, job_id: UUID) -> None:
        """Before the job is queued: from then on a process that dies takes no promise with it."""
        if self.manner.on_disconnect == "cancel":
            audience = services_of(self.request).audience
            if audience is None:
                raise Unavailable("nobody looks after readers here: leave on_disconnect out")
            await audience.expect(job_id, self.manner.disconnect_seconds)

    async def ended(self, job_id: UUID) -> int | None:
        """The position of the job's end, where it was to be waited for and came in time."""
        if self.seconds is None:
            return None
        visit_of(self.request).lasting = True
        return await _board(self.request).ended(job_id, self.seconds)

    @property
    def headers(self) -> dict[str, str]:
        """What is told of the wishes."""
        return {} if self.applied is None else {"Preference-Applied": self.applied}


async def streamed(
    request: Request, job_id: UUID, cursor: Cursor | None, headers: Mapping[str, str] | None = None
) -> Response:
    """The job's stream, from where this client was; 204 when it has everything, so that it does not come back."""
    board, services, visit = _board(request), services_of(request), visit_of(request)
    visit.lasting = True
    if cursor is None:
        await board.glance(job_id)
    elif await is_told(board, job_id, cursor):
        return Response(status_code=204, headers=headers)
    token = token_in(request.headers.raw) or ""
    told = parse_token(token)

    async def still_welcome() -> bool:
        holder = await services.authenticate(token)
        return holder is not None and holder.may(READ)

    listener = JobListener(board, job_id, cursor, key_id=told.key_id if told else None, still_welcome=still_welcome)
    return FeedResponse(listener, headers=headers)


async def rejoined(request: Request, job_id: UUID) -> Response:
    """The stream for whoever comes with the id of the last message, or from the beginning."""
    return await streamed(request, job_id, _cursor(request))


def _board(request: Request) -> Board:
    board: Board = request.app.state.board
    return board


def _cursor(request: Request) -> Cursor | None:
    return Cursor.of(request.headers.get("last-event-id", ""))


def _preferred(request: Request) -> int | None:
    """`Prefer: wait=10` (RFC 7240): more than we ever wait is taken as that; what is no number of seconds is told."""
    for line in request.headers.getlist("prefer"):
        for each in line.split(","):
            if (found := _WAIT.fullmatch(each)) is None:
                continue
            if not re.fullmatch(r"[0-9]{1,9}", said := found[1].strip()):
                raise _invalid("header", "Prefer", "give whole seconds: Prefer: wait=10")
            return min(int(said), LONGEST_WAIT)
    return None


def _invalid(inside: str, field: str, message: str) -> Invalid:
    return Invalid([{"in": inside, "field": field, "message": message, "code": "manner"}])
