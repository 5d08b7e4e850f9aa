"""Routes for LLM jobs: the queue, one job with its attempts, asking a model directly, cancelling."""

from contextlib import suppress
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from api.answers import Done
from api.bodies import checked, json_of
from api.commanding import Commanding, offer
from api.looking import PATIENCE_MS, Look, Looking, missing
from api.paging import Cursor, Limit, Listed
from api.permissions import may
from api.routing import router_of
from api.storing import kept_text
from api.streaming.asking import EVENT_STREAM, Manner, Wait, Wish, streamed
from commands.llm_jobs import CancelLlmJob, ChatMessage, QueueLlmJob
from domain.errors import NotFound, Unavailable
from domain.llm_jobs import JobStatus
from domain.values import Fallbacks, Fraction, Instant, ModelName, Slug, Text
from projections.costs import Costs
from projections.llm_jobs import AttemptView, JobFilter, JobView, LlmJobs, attempts_of, job, jobs

router = router_of("llm_jobs", "/api/llm-jobs")
Word = Annotated[str | None, Query(max_length=200)]


class ChatJob(Manner):
    """A conversation for a model to go on with."""

    project_id: UUID | None = None
    provider: Slug
    model: ModelName
    fallbacks: Annotated[Fallbacks, Field(description="Where else it may be sent, in order", default_factory=list)]
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=1_000)]
    max_output_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 1_024
    temperature: Annotated[Fraction, Field(ge=0, le=2)] | None = None
    priority: Annotated[int, Field(ge=0, le=9)] = 5
    timeout_seconds: Annotated[int, Field(ge=1, le=86_400)] = 600
    max_attempts: Annotated[int, Field(ge=1, le=10)] = 3
    not_before: Instant | None = None
    deadline: Instant | None = None
    """When it may not start any more: it then fails."""


class JobDetail(JobView):
    """A job with its attempts, the first one first."""

    attempts: list[AttemptView]


_ASKED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "It has ended while you waited; or its stream",
        "model": JobDetail,
        "content": {EVENT_STREAM: {}},
    }
}


@router.get("", dependencies=[may("llm_jobs.read")], response_model=Listed[JobView])
async def list_llm_jobs(
    looking: Looking,
    project_id: UUID | None = None,
    agent_id: UUID | None = None,
    status: Annotated[list[JobStatus] | None, Query(description="Any of these")] = None,
    provider: Word = None,
    model: Word = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """The newest first."""
    async with looking.at(LlmJobs) as seen:
        wanted = JobFilter(project_id, agent_id, status, provider, model)
        page = await jobs(seen.connection, wanted, cursor=cursor, limit=limit)
        truth = await seen.truth(project_id)
    return await looking.show_page(page, truth)


@router.post("", status_code=202, dependencies=[may(QueueLlmJob)], response_model=Done, responses=_ASKED)
async def queue_chat(
    request: Request, commanding: Commanding, given: Annotated[ChatJob, json_of(ChatJob)], wait: Wait = None
) -> Response:
    """Ask a model directly. Without more, look at the job for the answer, or follow `/api/llm-jobs/{id}/stream`.

    With `?wait=` or `Prefer: wait=` the job is answered (200) once it has ended, else its place (202). With `"stream":
    true`, or where only `text/event-stream` is accepted, its stream is answered; the job goes on when you leave, unless
    `on_disconnect` says `cancel`. Waiting and streaming take `llm_jobs.read` as well.
    """
    wish = Wish.of(request, given, wait)
    job_id = commanding.new_id("llm_job")
    place = f"/api/llm-jobs/{job_id}"
    await wish.prepare(job_id)
    text = orjson.dumps([each.model_dump() for each in given.messages]).decode()
    subject, is_own = given.project_id or job_id, given.project_id is None
    kept = await kept_text(commanding.services.objects, subject, text, makes_key=is_own)
    asked = {name: value for name, value in given if name not in Manner.model_fields}
    known: dict[str, Any] = {**asked, "messages": kept if isinstance(kept, Text) else given.messages}
    answer = await commanding.carry_out(checked(QueueLlmJob, job_id=job_id, **known))
    told = {"Location": place, "Idempotency-Key": commanding.caller.key, **wish.headers}
    if wish.streams:
        return await streamed(request, job_id, wish.cursor, told)
    if position := await wish.ended(job_id):
        with suppress(Unavailable):  # the read model is late: then its place is the answer
            shown = await get_llm_job(job_id, Look(commanding.services, commanding.visit, position, PATIENCE_MS / 1000))
            shown.headers.update(told)
            return shown
    queued = commanding.done(answer, about=job_id, status=202, location=place)
    queued.headers.update(wish.headers)
    return queued


@router.get("/{job_id}", dependencies=[may("llm_jobs.read")], response_model=JobDetail)
async def get_llm_job(job_id: UUID, looking: Looking) -> Response:
    """One job: its attempts, what it cost, what the model answered."""
    async with looking.at(LlmJobs, Costs) as seen:
        found = await job(seen.connection, job_id)
        attempts = await attempts_of(seen.connection, job_id)
        truth = await seen.truth(found.project_id or job_id if found else job_id)
    if found is None:
        raise missing("job", job_id, truth)
    detail = JobDetail(**dict(found), attempts=attempts)
    return await looking.show(detail, truth, version=found.version, complete=_with_output(looking, found))


def _with_output(looking: Look, found: JobView) -> Any:
    async def complete(body: dict[str, Any]) -> None:
        """Long answers lie in the object store."""
        output = body["output"]
        if not output or output["text"] is not None or output["size"] > looking.services.limits.shown_bytes:
            return
        try:
            content = await looking.services.objects.read(found.project_id or found.job_id, output["digest"])
        except NotFound as gone:
            body["erased"] = gone.code == "erased"
        else:
            output["text"] = content.decode(errors="replace")

    return complete


offer(router, "POST", "/{job_id}/cancel", CancelLlmJob, name="cancel_llm_job", about="job_id")
