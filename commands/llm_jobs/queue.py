"""The queue: jobs with their own messages come in, retries and parked jobs come back, what nobody wants goes out."""

from typing import Annotated, Literal
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, Field

from commands.handling import Command, handler
from commands.llm_jobs.addresses import OneLine
from commands.llm_jobs.waking import Woken
from commands.work import UnitOfWork
from domain.budgets import Budget
from domain.errors import Refused
from domain.llm_jobs import LlmJob, distinct
from domain.projects import Project
from domain.values import Code, Fallbacks, Fraction, FreeText, Instant, ModelName, Slug, Target, Text


class ChatMessage(BaseModel):
    """One turn of the conversation that a job continues."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    role: Literal["system", "user", "assistant"]
    content: FreeText


class QueueLlmJob(Command, permission="llm_jobs.queue"):
    """Ask a model directly; an agent's jobs are queued when it starts."""

    job_id: UUID
    project_id: UUID | None = None
    provider: Slug
    model: ModelName
    messages: Annotated[list[ChatMessage], Field(min_length=1)] | Text
    max_output_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 1024
    min_output_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Where budgets are short the job may be cut down to this; None where it needs all that it asks for."""
    temperature: Annotated[Fraction, Field(ge=0, le=2)] | None = None
    priority: Annotated[int, Field(ge=0, le=9)] = 5
    timeout_seconds: Annotated[int, Field(ge=1, le=86_400)] = 600
    max_attempts: Annotated[int, Field(ge=1, le=10)] = 3
    not_before: Instant | None = None
    deadline: Instant | None = None
    """When it may not start any more: it then fails, with what it has spent until then."""
    fallbacks: Fallbacks = Field(default_factory=list[Target])
    """Where else it may be sent, in this order, when the first provider cannot answer."""

    def sealed_under(self) -> UUID | None:
        """The project's key, or the job's own."""
        return self.project_id or self.job_id

    def makes_key(self) -> bool:
        """The job's own; a project has had its key since it was created."""
        return self.project_id is None


class RequeueLlmJob(Command, permission="llm_jobs.schedule"):
    """Put a job whose retry is due back into the queue."""

    job_id: UUID


class CancelLlmJob(Command, permission="llm_jobs.cancel"):
    """Say that nobody wants the answer any more; a call in flight is aborted, and what it cost still counts."""

    job_id: UUID
    reason: Code = "requested"


class ResumeParkedJobs(Command, permission="llm_jobs.schedule"):
    """Put jobs that a budget has room for back into the queue."""

    budget_id: UUID


class DeliverLlmResult(Command, permission="llm_jobs.deliver"):
    """Note that whoever asked has the outcome."""

    job_id: UUID
    to: OneLine


@handler
def queue_llm_job(command: QueueLlmJob, work: UnitOfWork) -> None:
    """A job with its own messages; one of a project waits until that project runs."""
    stream = work.check_new(LlmJob, command.job_id)
    if command.min_output_tokens and command.min_output_tokens > command.max_output_tokens:
        raise Refused("a job cannot need more output tokens than it asks for", code="invalid_minimum")
    _check_deadline(command, work)
    if command.project_id:
        work.get(Project, command.project_id).check_open("ask a model")
    work.add(
        LlmJob(
            stream,
            project_id=command.project_id,
            phase=None,
            agent_id=None,
            run=1,
            attempt=1,
            provider=command.provider,
            model=command.model,
            max_output_tokens=command.max_output_tokens,
            min_output_tokens=command.min_output_tokens,
            temperature=command.temperature,
            priority=command.priority,
            timeout_seconds=command.timeout_seconds,
            max_attempts=command.max_attempts,
            messages=work.text(_messages(command)),
            not_before=command.not_before,
            key_id=work.key_id,
            deadline=command.deadline,
            fallbacks=distinct(Target(provider=command.provider, model=command.model), command.fallbacks),
        )
    )


def _check_deadline(command: QueueLlmJob, work: UnitOfWork) -> None:
    if command.deadline is None:
        return
    if command.deadline <= work.now:
        raise Refused("the job's deadline is over already: give a later one", code="invalid_deadline")
    if command.not_before and command.not_before >= command.deadline:
        raise Refused("the job may not start before its deadline: give a later deadline", code="invalid_deadline")


def _messages(command: QueueLlmJob) -> str | Text:
    if isinstance(command.messages, Text):
        return command.messages
    return orjson.dumps([message.model_dump() for message in command.messages]).decode()


@handler
def requeue_llm_job(command: RequeueLlmJob, work: UnitOfWork) -> None:
    """The next attempt may be admitted."""
    work.get(LlmJob, command.job_id).requeue(work.now)


@handler
def cancel_llm_job(command: CancelLlmJob, work: UnitOfWork) -> None:
    """The state changes at once; money held for a call in flight waits for that call's usage, or for its expiry."""
    job = work.get(LlmJob, command.job_id)
    budget = work.get(Budget, job.parked_on) if job.parked_on else None
    behind = Woken.behind(job, work)
    job.cancel(command.reason)
    if budget:
        budget.unpark(job.id, work.now)
    for each in behind:
        each.resume()


@handler
def resume_parked_jobs(command: ResumeParkedJobs, work: UnitOfWork) -> None:
    """The longest waiting first, as many as fit together; admission then decides for each anew."""
    budget = work.find(Budget, command.budget_id)
    woken = Woken.of(budget, work) if budget else None
    if woken is None or not woken.jobs:
        raise Refused("no job that waits for this budget fits yet", code="not_due")
    woken.resume()


@handler
def deliver_llm_result(command: DeliverLlmResult, work: UnitOfWork) -> None:
    """Delivered once; saying so again changes nothing."""
    work.get(LlmJob, command.job_id).deliver(command.to)
