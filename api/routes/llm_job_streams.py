"""Routes for answers as they come: join a job's stream at any time, come back to it, or have it told once more."""

from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from api.permissions import may
from api.routing import router_of
from api.streaming.asking import EVENT_STREAM, READ, rejoined

router = router_of("llm_jobs", "/api/llm-jobs")
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": "Server-sent events", "content": {EVENT_STREAM: {}}},
    204: {"description": "`Last-Event-ID` is the last there is: there is nothing to come back for"},
}


@router.get("/{job_id}/stream", dependencies=[may(READ)], response_class=Response, responses=_STREAM)
async def follow_llm_job(job_id: UUID, request: Request) -> Response:
    """A job as it goes on, from its beginning or after the message whose id is sent as `Last-Event-ID`.

    `delta` messages are the answer; put together they are exactly the stored text. `restarted` says that another
    attempt answers: what came before it is void. The others are the job's events, from `queued` to `completed`,
    `failed` or `cancelled`, after which the stream ends. Any server can go on where another one left off. A `heartbeat`
    comes every 15 seconds; a client that is too slow gets `cut` with `resume_after`, and `closed` says why the server
    ends it.
    """
    return await rejoined(request, job_id)
