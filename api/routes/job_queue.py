"""Routes for the queue of LLM jobs: how it stands, its dead letters, putting them back.

Found before those of `llm_jobs`, which would take `queue` for the id of a job: routes are asked in the order of names.
"""

from typing import Annotated
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from api.answers import Done
from api.bodies import checked, json_of
from api.commanding import Commanding
from api.looking import Looking
from api.paging import Cursor, Limit, Listed
from api.permissions import may
from api.routing import router_of
from commands.llm_jobs import RequeueDeadLetters
from commands.llm_jobs.dead_letters import MOST_AT_ONCE, Attempts, Seconds
from domain.errors import NotFound
from domain.values import Code, ModelName, Slug
from projections.llm_jobs import JobFilter, JobView, LlmJobs, QueueView, jobs, oldest_dead, queue

router = router_of("llm_jobs", "/api/llm-jobs")
Word = Annotated[str | None, Query(max_length=200)]


class Again(BaseModel):
    """How a dead letter is tried again."""

    model_config = ConfigDict(extra="forbid")
    attempts: Attempts | None = None
    """How many more it may have; left out, as many as it had at first."""
    seconds: Seconds | None = None
    """By when it must start, from now on; left out, a deadline that is over no longer holds."""


class ManyAgain(Again):
    """Which dead letters are tried again, the oldest first: those that every given field fits."""

    project_id: UUID | None = None
    provider: Slug | None = None
    model: ModelName | None = None
    failure: Code | None = None
    limit: Annotated[int, Field(ge=1, le=MOST_AT_ONCE)] = 100


class Requeued(Done):
    """Which jobs are in the queue again."""

    job_ids: list[UUID]


@router.get("/queue", dependencies=[may("llm_jobs.read")], response_model=QueueView)
async def get_queue(looking: Looking) -> Response:
    """Who waits and for how long, by project, provider and priority; calls under way, and how many may be."""
    async with looking.at(LlmJobs) as seen:
        found = await queue(seen.connection)
        truth = await seen.truth()
    return await looking.show(found, truth)


@router.get("/dead-letters", dependencies=[may("llm_jobs.read")], response_model=Listed[JobView])
async def list_dead_letters(
    looking: Looking,
    project_id: UUID | None = None,
    provider: Word = None,
    model: Word = None,
    failure: Word = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """Jobs that failed for good and that nobody goes on with, the newest first.

    An agent's jobs are never among them: an agent makes a new job for each try.
    """
    wanted = JobFilter(project_id=project_id, provider=provider, model=model, failure=failure, dead=True)
    async with looking.at(LlmJobs) as seen:
        page = await jobs(seen.connection, wanted, cursor=cursor, limit=limit)
        truth = await seen.truth(project_id)
    return await looking.show_page(page, truth)


@router.post("/requeue", dependencies=[may(RequeueDeadLetters)], response_model=Requeued)
async def requeue_dead_letters(
    looking: Looking, commanding: Commanding, given: Annotated[ManyAgain, json_of(ManyAgain)]
) -> Response:
    """Put many dead letters back into the queue: all that are found, or, where one of them is refused, none."""
    wanted = JobFilter(
        project_id=given.project_id, provider=given.provider, model=given.model, failure=given.failure, dead=True
    )
    async with looking.at(LlmJobs) as seen:
        found = await oldest_dead(seen.connection, wanted, given.limit)
    if not found:
        raise NotFound("no dead letter fits: list them with GET /api/llm-jobs/dead-letters")
    command = checked(RequeueDeadLetters, job_ids=tuple(found), attempts=given.attempts, seconds=given.seconds)
    answer = await commanding.carry_out(command)
    return commanding.done(answer, about=None, more={"job_ids": [str(each) for each in answer.versions]})


@router.post("/{job_id}/requeue", dependencies=[may(RequeueDeadLetters)], response_model=Done)
async def requeue_dead_letter(
    job_id: UUID, commanding: Commanding, given: Annotated[Again, json_of(Again)]
) -> Response:
    """Put one dead letter back into the queue."""
    command = checked(RequeueDeadLetters, job_ids=(job_id,), attempts=given.attempts, seconds=given.seconds)
    return await commanding.send(command, about=job_id)
