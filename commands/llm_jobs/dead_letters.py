"""Dead letters: jobs that failed for good and that nobody goes on with, put back into the queue one by one or many."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated
from uuid import UUID

from pydantic import Field

from commands.handling import Command, handler
from commands.llm_jobs.waking import Woken
from commands.work import UnitOfWork
from domain.budgets import Budget
from domain.llm_jobs import LlmJob
from domain.projects import Project

Attempts = Annotated[int, Field(ge=1, le=10)]
Seconds = Annotated[int, Field(ge=1, le=30 * 86_400)]
MOST_AT_ONCE = 200


class RequeueDeadLetters(Command, permission="llm_jobs.requeue"):
    """Try jobs again that had failed for good; their attempts are numbered on. All of them, or none."""

    job_ids: Annotated[tuple[UUID, ...], Field(min_length=1, max_length=MOST_AT_ONCE)]
    attempts: Attempts | None = None
    """How many more each may have; None for as many as it had at first."""
    seconds: Seconds | None = None
    """By when it must start, from now on; None keeps a deadline that is still to come, and drops one that is over."""

    def streams(self) -> tuple[UUID, ...]:
        """The jobs."""
        return self.job_ids


class ExpireLlmJob(Command, permission="llm_jobs.schedule"):
    """Give up a job that did not start by its deadline."""

    job_id: UUID


@handler
def requeue_dead_letters(command: RequeueDeadLetters, work: UnitOfWork) -> None:
    """An agent's job is never one: the agent itself is retried, and makes a new job."""
    jobs = work.get_all(LlmJob, dict.fromkeys(command.job_ids))
    _check_projects(jobs, work)
    for job in jobs:
        job.check_dead(job.id)
    deadline = None if command.seconds is None else work.now + timedelta(seconds=command.seconds)
    for job in jobs:
        job.revive(command.attempts, deadline, work.now)


def _check_projects(jobs: Sequence[LlmJob], work: UnitOfWork) -> None:
    for project in work.get_all(Project, dict.fromkeys(job.project_id for job in jobs if job.project_id)):
        project.check_open("ask a model")


@handler
def expire_llm_job(command: ExpireLlmJob, work: UnitOfWork) -> None:
    """What waits is given up, and whoever waits behind it goes on; a call under way may end."""
    job = work.get(LlmJob, command.job_id)
    job.check_overdue(work.now)
    budget = work.get(Budget, job.parked_on) if job.parked_on else None
    behind = Woken.behind(job, work)
    job.expire()
    if budget:
        budget.unpark(job.id, work.now)
    for each in behind:
        each.resume()
