"""Admission: every budget that pays holds the worst case and the attempt starts, or nothing is held and it waits."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from pydantic import Field

from commands.handling import Command, handler
from commands.llm_jobs.addresses import Failing, OfJob
from commands.llm_jobs.waking import Woken
from commands.work import UnitOfWork
from domain.agents import Agent
from domain.budgets import Budget
from domain.errors import Refused
from domain.ids import attempt_id, budget_id, scopes_of
from domain.kernel import Aggregate
from domain.llm_jobs import Attempt, HeldAmount, LlmJob
from domain.pricing import RateId
from domain.projects import Project
from domain.values import Amount, ModelName, Name, Slug, Text

Seconds = Annotated[int, Field(ge=1, le=7 * 86_400)]


class AdmitLlmJob(OfJob, Command, permission="llm_jobs.work"):
    """Let a worker send a job's next attempt, once every budget that pays can hold what it may cost."""

    attempt: Annotated[int, Field(ge=1)]
    worker: Name
    provider: Slug
    model: ModelName
    bound: Amount
    rate_id: RateId
    request: str | Text
    hold_seconds: Seconds
    lease_seconds: Seconds

    def sealed_under(self) -> UUID | None:
        """The project's key, or the job's own."""
        return (self.project_id or self.job_id) if isinstance(self.request, str) else None


class DenyLlmJob(Failing, Command, permission="llm_jobs.work"):
    """Give a job up before its next attempt is let out: it has no price, no provider or no prompt."""

    attempt: Annotated[int, Field(ge=1)]


@handler
def admit_llm_job(command: AdmitLlmJob, work: UnitOfWork) -> None:
    """One decision over the job, its project, its agent and all budgets: parking is an answer, not a refusal."""
    job = command.job(work)
    job.check_admissible(command.attempt, work.now)
    if command.hold_seconds <= job.timeout_seconds:
        raise Refused(
            f"a hold of {command.hold_seconds} s would expire before the attempt's deadline of {job.timeout_seconds} s:"
            " hold for longer",
            code="hold_too_short",
        )
    budgets = _paying(job, work)
    request = work.text(command.request)
    if full := next((each for each in budgets if not each.fits(command.bound)), None):
        job.park(
            full.id,
            scope=full.scope.label,
            limit=full.limit,
            settled=full.settled,
            held=full.held,
            requested=command.bound,
        )
        full.park(job.id, command.bound)
        return
    expires_at = work.now + timedelta(seconds=command.hold_seconds)
    attempt = Attempt(
        number=command.attempt,
        attempt_id=attempt_id(job.id, command.attempt),
        provider=command.provider,
        model=command.model,
        bound=command.bound,
        rate_id=command.rate_id,
        holds=[HeldAmount(budget_id=each.id, amount=command.bound) for each in budgets],
    )
    job.admit(
        attempt,
        request=request,
        worker=command.worker,
        lease_seconds=command.lease_seconds,
        hold_expires_at=expires_at,
    )
    for each in budgets:
        each.reserve(attempt.attempt_id, job_id=job.id, amount=command.bound, expires_at=expires_at)


@handler
def deny_llm_job(command: DenyLlmJob, work: UnitOfWork) -> None:
    """Nothing is held and nothing is tried again: somebody has to change something first."""
    job = command.job(work)
    job.check_admissible(command.attempt, work.now)
    behind = Woken.behind(job, work)
    job.deny(command.attempt, kind=command.kind, note=command.note(work))
    for each in behind:
        each.resume()


def _paying(job: LlmJob, work: UnitOfWork) -> list[Budget]:
    """The open budgets that pay for a job, the widest first, when its project and its agent still want it."""
    ids = [budget_id(scope) for scope in scopes_of(job.project_id, job.phase, job.agent_id)]
    above: list[UUID] = [each for each in (job.project_id, job.agent_id) if each]
    work.find_all(Aggregate, [*above, *ids])
    if job.project_id:
        work.get(Project, job.project_id).check_runs()
    if job.agent_id and work.get(Agent, job.agent_id).job_id != job.id:
        raise Refused("its agent no longer waits for this job", code="not_due")
    found = work.find_all(Budget, ids)
    return [budget for each in ids if (budget := found[each]) and budget.is_open]
