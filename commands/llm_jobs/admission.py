"""Admission: every budget that pays holds the worst case and the attempt starts, or nothing is held and it waits."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import ROUND_FLOOR, Decimal
from typing import Annotated
from uuid import UUID

from pydantic import Field

from commands.handling import Command, handler
from commands.llm_jobs.addresses import Failing, OfJob
from commands.llm_jobs.circuits import Passage
from commands.llm_jobs.waking import Woken
from commands.work import UnitOfWork
from domain.agents import Agent
from domain.budgets import Budget, CostRules, CostSettings, rules_of
from domain.charges import Charge, Shortfall, Tokens
from domain.errors import Refused
from domain.ids import attempt_id, budget_ids, cost_settings_id, provider_health_id
from domain.kernel import Aggregate
from domain.llm_jobs import Attempt, HeldAmount, LlmJob
from domain.pricing import RateId
from domain.projects import Project
from domain.values import MONEY_DIGITS, ZERO, Amount, ModelName, Name, Slug, Target, Text

SMALLEST = Decimal(1).scaleb(-MONEY_DIGITS)
Seconds = Annotated[int, Field(ge=1, le=7 * 86_400)]


class AdmitLlmJob(OfJob, Command, permission="llm_jobs.work"):
    """Let a worker send a job's next attempt, once every budget that pays can hold what it may cost."""

    attempt: Annotated[int, Field(ge=1)]
    worker: Name
    provider: Slug
    model: ModelName
    bound: Amount
    input_bound: Tokens
    output_bound: Tokens
    output_price: Amount | None = None
    """USD that one output token less takes off the bound; None from a worker that cannot ask for less."""
    rate_id: RateId
    request: str | Text
    hold_seconds: Seconds
    lease_seconds: Seconds

    def streams(self) -> tuple[UUID, ...]:
        """Whatever the job needs, and what its provider and its model may spend."""
        paying = budget_ids(None, None, None, provider=self.provider, model=self.model)
        return (*super().streams(), *paying, cost_settings_id(), provider_health_id(self.provider))

    def charge(self, output: int) -> Charge:
        """The most that the attempt can cost when it asks for so many output tokens."""
        usd = self.bound
        if self.output_price and output != self.output_bound:
            less = self.output_price * (self.output_bound - output)
            usd = max(usd - less.quantize(SMALLEST, ROUND_FLOOR), ZERO)
        return Charge(usd=usd, input_tokens=self.input_bound, output_tokens=output)

    def sealed_under(self) -> UUID | None:
        """The project's key, or the job's own."""
        return (self.project_id or self.job_id) if isinstance(self.request, str) else None


class DenyLlmJob(Failing, Command, permission="llm_jobs.work"):
    """Give a job up before its next attempt is let out, or one target of it: no price, no provider or no prompt."""

    attempt: Annotated[int, Field(ge=1)]
    target: Target | None = None
    """Where it was to be sent; None: where its turn is."""


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
    passage = Passage.of(job, Target(provider=command.provider, model=command.model), work)
    rules = rules_of(work.find(CostSettings, cost_settings_id()))
    budgets = _paying(job, command, work)
    output = command.output_bound
    charge = command.charge(output)
    lack = _lack(budgets, charge, work)
    if lack:
        least = _least(command, job, rules)
        if short := _lack(budgets, command.charge(least), work):
            _turn_away(short, least, command, job, rules, work)
            return
        output = _shaped(least, command, job, budgets, work)
        charge = command.charge(output)
    request = work.text(command.request)
    expires_at = work.now + timedelta(seconds=command.hold_seconds)
    attempt = Attempt(
        number=command.attempt,
        attempt_id=attempt_id(job.id, command.attempt),
        provider=command.provider,
        model=command.model,
        bound=charge.usd,
        rate_id=command.rate_id,
        holds=[HeldAmount(budget_id=each.id, amount=charge.usd) for each in budgets],
        probe=passage.is_probe,
    )
    passage.take(attempt, expires_at)
    if lack:
        job.shape(command.attempt, output, lack)
    job.admit(
        attempt,
        request=request,
        worker=command.worker,
        lease_seconds=command.lease_seconds,
        hold_expires_at=expires_at,
        max_output_tokens=output if lack else None,
    )
    for each in budgets:
        each.reserve(attempt.attempt_id, job_id=job.id, charge=charge, expires_at=expires_at, now=work.now)


@handler
def deny_llm_job(command: DenyLlmJob, work: UnitOfWork) -> None:
    """Nothing is held and nothing is tried again: somebody has to change something first."""
    job = command.job(work)
    job.check_admissible(command.attempt, work.now)
    behind = Woken.behind(job, work)
    if command.target and command.target not in job.route.order:
        raise Refused("the job goes there no more", code="not_due")
    job.deny(command.attempt, kind=command.kind, note=command.note(work), target=command.target)
    for each in behind:
        each.resume()


def _lack(budgets: Sequence[Budget], charge: Charge, work: UnitOfWork) -> Shortfall | None:
    """Of the first budget that has no room."""
    return next((lack for each in budgets if (lack := each.shortfall(charge, work.now))), None)


def _least(command: AdmitLlmJob, job: LlmJob, rules: CostRules) -> int:
    """The fewest output tokens that the attempt may be cut down to: all of them, where it may not be."""
    least = job.min_output_tokens
    if least is None or not rules.shape or command.output_price is None:
        return command.output_bound
    return min(least, command.output_bound)


def _shaped(least: int, command: AdmitLlmJob, job: LlmJob, budgets: Sequence[Budget], work: UnitOfWork) -> int:
    """The most output tokens that every budget has room for; there is room for the least."""
    fits, too_many = least, min(command.output_bound, job.max_output_tokens + 1)
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if _lack(budgets, command.charge(middle), work):
            too_many = middle
        else:
            fits = middle
    return fits


def _turn_away(
    lack: Shortfall, least: int, command: AdmitLlmJob, job: LlmJob, rules: CostRules, work: UnitOfWork
) -> None:
    """Let the job wait, or give it up, as the settings say; whoever waits behind it goes on."""
    budget = work.get(Budget, lack.budget_id)
    target = Target(provider=command.provider, model=command.model)
    then = job.route.after(target) if budget.scope.kind in ("provider", "model") else None
    parks = then is None and (rules.impossible if lack.is_hopeless else rules.exhausted) == "park"
    behind = Woken.behind(job, work, but=budget if parks else None)
    if then:  # its own budget is a reason to go elsewhere, not to wait
        job.reroute(command.attempt, target, then, kind="budget_exceeded")
    elif parks:
        job.park(lack)
        budget.park(job.id, command.charge(least), work.now)
    else:
        job.deny(command.attempt, kind="budget_exceeded", note=None, lack=lack)
    for each in behind:
        each.resume()


def _paying(job: LlmJob, command: AdmitLlmJob, work: UnitOfWork) -> list[Budget]:
    """The open budgets that pay for a job, the widest first, when its project and its agent still want it."""
    ids = budget_ids(
        job.project_id,
        job.phase,
        job.agent_id,
        provider=command.provider,
        model=command.model,
        key_id=job.key_id,
    )
    above: list[UUID] = [each for each in (job.project_id, job.agent_id) if each]
    work.find_all(Aggregate, [*above, *ids])
    if job.project_id:
        work.get(Project, job.project_id).check_runs()
    if job.agent_id and work.get(Agent, job.agent_id).job_id != job.id:
        raise Refused("its agent no longer waits for this job", code="not_due")
    found = work.find_all(Budget, ids)
    return [budget for each in ids if (budget := found[each]) and budget.is_open]
