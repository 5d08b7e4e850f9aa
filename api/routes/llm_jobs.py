"""Routes for LLM jobs: the queue, one job with its attempts, asking a model directly, cancelling."""

from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from api.answers import Done
from api.bodies import checked, json_of
from api.commanding import Commanding, offer
from api.looking import Look, Looking, missing
from api.paging import Cursor, Limit, Listed
from api.permissions import may
from api.routing import router_of
from api.storing import kept_text
from commands.llm_jobs import CancelLlmJob, ChatMessage, QueueLlmJob
from domain.errors import NotFound
from domain.llm_jobs import JobStatus
from domain.values import Fallbacks, Fraction, Instant, ModelName, Slug, Text
from projections.costs import Costs
from projections.llm_jobs import AttemptView, JobFilter, JobView, LlmJobs, attempts_of, job, jobs

router = router_of("llm_jobs", "/api/llm-jobs")
Word = Annotated[str | None, Query(max_length=200)]


class ChatJob(BaseModel):
    """A conversation for a model to go on with."""

    model_config = ConfigDict(extra="forbid")
    project_id: UUID | None = None
    provider: Slug
    model: ModelName
    fallbacks: Annotated[Fallbacks, Field(description="Where else it may be sent, in order")] = []
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


@router.post("", status_code=202, dependencies=[may(QueueLlmJob)], response_model=Done)
async def queue_chat(commanding: Commanding, given: Annotated[ChatJob, json_of(ChatJob)]) -> Response:
    """Ask a model directly. The answer is in the job, once it is completed: follow `llm_job.*` or look at it."""
    job_id = commanding.new_id("llm_job")
    text = orjson.dumps([each.model_dump() for each in given.messages]).decode()
    subject, is_own = given.project_id or job_id, given.project_id is None
    kept = await kept_text(commanding.services.objects, subject, text, makes_key=is_own)
    known: dict[str, Any] = {**dict(given), "messages": kept if isinstance(kept, Text) else given.messages}
    answer = await commanding.carry_out(checked(QueueLlmJob, job_id=job_id, **known))
    return commanding.done(answer, about=job_id, status=202, location=f"/api/llm-jobs/{job_id}")


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
