"""Outcomes of attempts: each is recorded once, whoever reports it, and what it cost is counted in the same append."""

import math
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, Field, model_validator

from commands.handling import Command, handler
from commands.llm_jobs.addresses import Failing, OfJob, OneLine
from commands.llm_jobs.circuits import Evidence, health_rules, patience
from commands.work import UnitOfWork
from domain.accounting import Accounting, booking_day, day_of
from domain.budgets import Budget
from domain.costs import Cost, CostLine, Paid
from domain.ids import accounting_id, attempt_id, cost_id, health_settings_id
from domain.kernel import Aggregate
from domain.llm_jobs import Attempt, LlmJob, Reply, retry_delay
from domain.pricing import Usage
from domain.values import ZERO, Amount, Code, Text

Milliseconds = Annotated[int, Field(ge=0)]
LONGEST_PATIENCE = 86_400.0
NOT_COUNTED = "the provider did not count"


class OfAttempt(OfJob):
    """A command about one attempt; its number is the fence."""

    attempt: Annotated[int, Field(ge=1)]

    def streams(self) -> tuple[UUID, ...]:
        """What the job needs, and what the attempt cost."""
        return (*super().streams(), cost_id(attempt_id(self.job_id, self.attempt)))


class Billed(BaseModel):
    """What an attempt cost, as its provider counted. Without an amount nobody knows, and the bound will count."""

    usage: Usage | None = None
    lines: list[CostLine] = Field(default_factory=list[CostLine])
    amount: Amount | None = None
    problem: OneLine | None = None
    """Why there is no amount: what was not counted, or has no price."""
    priced_on: date | None = None
    """The day whose prices these are."""

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.usage is None and self.amount is not None:
            raise ValueError("an amount needs the usage that it is made of")
        if sum((line.amount for line in self.lines), ZERO) != (self.amount or ZERO):
            raise ValueError("the amount is the sum of its lines")
        return self


class ReportFirstToken(OfJob, Command, permission="llm_jobs.work"):
    """Say that a model has begun to answer."""

    attempt: Annotated[int, Field(ge=1)]
    first_token_ms: Milliseconds

    def streams(self) -> tuple[UUID, ...]:
        """The job: nobody pays for a first word."""
        return (self.job_id,)


class CompleteAttempt(OfAttempt, Billed, Command, permission="llm_jobs.work"):
    """Report the answer of a model. After a fence only what it cost is taken."""

    output: str | Text
    model: OneLine
    response_id: OneLine | None = None
    finish_reason: Code
    queue_ms: Milliseconds
    first_token_ms: Milliseconds | None = None
    total_ms: Milliseconds

    def sealed_under(self) -> UUID | None:
        """The project's key, or the job's own."""
        return (self.project_id or self.job_id) if isinstance(self.output, str) else None


class FailAttempt(OfAttempt, Failing, Billed, Command, permission="llm_jobs.work"):
    """Report that an attempt brought no answer. `sent` false is proof that it cannot be charged."""

    retryable: bool
    retry_after_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    sent: bool
    provider_key_id: UUID | None = None
    """The stored key that was used; None for one of the environment."""

    def streams(self) -> tuple[UUID, ...]:
        """How long a job bears with a target stands in the health settings."""
        return (*super().streams(), health_settings_id())

    @model_validator(mode="after")
    def _nothing_for_nothing(self) -> Self:
        if self.usage and not self.sent:
            raise ValueError("an attempt that was not sent has used nothing")
        return self


class LoseAttempt(OfAttempt, Command, permission="llm_jobs.work"):
    """Take a job from a worker whose lease has run out."""


@handler
def report_first_token(command: ReportFirstToken, work: UnitOfWork) -> None:
    """Of an attempt that was given up it is of no interest."""
    command.job(work).begin_answer(command.attempt, command.first_token_ms)


@handler
def complete_attempt(command: CompleteAttempt, work: UnitOfWork) -> None:
    """The first report of an attempt counts; from a fenced worker it counts as usage only."""
    job = command.job(work)
    attempt = job.awaited(command.attempt)
    if attempt is None:
        return
    books, evidence = Books.of(job, attempt, work), Evidence.of(attempt, work)
    cost = attempt.bound if command.amount is None else command.amount
    if job.is_current(attempt):
        reply = Reply(
            output=work.text(command.output),
            usage=command.usage,
            model=command.model,
            response_id=command.response_id,
            finish_reason=command.finish_reason,
            queue_ms=command.queue_ms,
            first_token_ms=command.first_token_ms,
            total_ms=command.total_ms,
        )
        job.complete(attempt, reply, cost)
    else:
        job.account_late(attempt, usage=command.usage, cost=cost)
    books.pay(command, cost, command.model)
    evidence.tell()


@handler
def fail_attempt(command: FailAttempt, work: UnitOfWork) -> None:
    """What was not sent is free; what was sent costs its usage, or, uncounted, all that was held."""
    job = command.job(work)
    attempt = job.awaited(command.attempt)
    if attempt is None:
        return
    books, evidence = Books.of(job, attempt, work), Evidence.of(attempt, work, command.kind)
    rules = health_rules(work)
    cost = (attempt.bound if command.amount is None else command.amount) if command.sent else ZERO
    delay = retry_delay(attempt, _milliseconds(command.retry_after_seconds))
    if job.is_current(attempt):
        job.fail(
            attempt,
            kind=command.kind,
            note=command.note(work),
            retry_at=work.now + delay if command.retryable else None,
            now=work.now,
            patience=patience(rules),
        )
    else:
        job.account_late(attempt, usage=command.usage, cost=cost)
    if command.sent:
        books.pay(command, cost, attempt.model)
    else:
        books.free()
    evidence.tell(key_id=command.provider_key_id, wait=delay)


def _milliseconds(seconds: float | None) -> int:
    return math.ceil(min(seconds or 0, LONGEST_PATIENCE) * 1000)


@handler
def lose_attempt(command: LoseAttempt, work: UnitOfWork) -> None:
    """The job goes on as its next attempt; the lost one's hold stays, because its request may still be answered."""
    job = command.job(work)
    evidence = Evidence.of(job.present(command.attempt), work, "lost")
    job.lose(command.attempt)
    evidence.tell()


@dataclass(frozen=True, slots=True)
class Books:
    """Everything that accounting for one attempt touches, loaded before anything is triggered."""

    job: LlmJob
    attempt: Attempt
    budgets: list[Budget]
    known: Cost | None
    accounting: Accounting | None
    work: UnitOfWork

    @classmethod
    def of(cls, job: LlmJob, attempt: Attempt, work: UnitOfWork) -> Self:
        """The budgets that hold for it, and the estimate that an expired hold may have left."""
        entry, holders = cost_id(attempt.attempt_id), [hold.budget_id for hold in attempt.holds]
        work.find_all(Aggregate, [*holders, entry])
        known = work.find(Cost, entry)
        accounting = work.find(Accounting, accounting_id()) if known else None
        return cls(job, attempt, work.get_all(Budget, holders), known, accounting, work)

    def pay(self, bill: Billed, amount: Decimal, model: str) -> None:
        """Settle every hold at what the attempt cost, and say line by line why."""
        estimated = bill.amount is None
        # Where a cost stands already, an estimate changes nothing of it; so budgets go on counting what it says.
        usage = None if estimated and self.known else bill.usage
        used = (usage.input_tokens, usage.output_tokens) if usage else (None, None)
        counted = [each.counted(self.attempt.attempt_id, *used) for each in self.budgets]
        for budget in self.budgets:
            budget.account(self.attempt.attempt_id, amount, *used)
        if self.known is None:
            self.work.add(
                Cost(
                    id=cost_id(self.attempt.attempt_id),
                    project_id=self.job.project_id,
                    phase=self.job.phase,
                    agent_id=self.job.agent_id,
                    key_id=self.job.key_id,
                    job_id=self.job.id,
                    attempt_id=self.attempt.attempt_id,
                    provider=self.attempt.provider,
                    model=model,
                    tier=bill.usage.tier if bill.usage else None,
                    usage=bill.usage,
                    lines=bill.lines,
                    amount=amount,
                    estimated=estimated,
                    problem=(bill.problem or NOT_COUNTED) if estimated else None,
                    priced_on=bill.priced_on,
                    paid_by=[Paid(**each) for each in counted if each],
                )
            )
        elif not estimated:
            self._correct(self.known, bill.usage, bill.lines, amount)

    def free(self) -> None:
        """Give every hold back: the attempt cost nothing."""
        for budget in self.budgets:
            budget.release(self.attempt.attempt_id)
        if self.known:
            self._correct(self.known, None, [], ZERO)

    def _correct(self, known: Cost, usage: Usage | None, lines: list[CostLine], amount: Decimal) -> None:
        booked_on = booking_day(self.accounting, known.recorded_on, day_of(self.work.now))
        known.correct(usage=usage, lines=lines, amount=amount, booked_on=booked_on)
