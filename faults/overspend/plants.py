"""Bugs of money that the campaign must find, or its clean runs prove nothing."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from eventsourcing.domain import decorated_funcs

from commands.handling import HANDLERS, Command, handler
from commands.llm_jobs import AdmitLlmJob, LoseAttempt
from commands.llm_jobs.admission import admit_llm_job
from commands.llm_jobs.attempts import lose_attempt
from commands.models import ModelRequest
from commands.work import UnitOfWork
from domain.budgets import Budget
from domain.charges import Charge
from domain.ids import attempt_id
from domain.llm_jobs import LlmJob
from domain.pricing import Quote
from domain.values import ZERO
from streams.dispatcher import AttemptRun, Dispatcher


class HoldLate(Command, permission="faults.hold"):
    """What an admission that held nothing should have held; nobody asks any more whether there is room."""

    job_id: UUID
    attempt: int
    input_bound: int
    output_bound: int


@handler
def hold_late(command: HoldLate, work: UnitOfWork) -> None:
    """Reserve, whatever the limits say."""
    job = work.get(LlmJob, command.job_id)
    attempt = job.unaccounted.get(command.attempt)
    if attempt is None:
        return
    budgets = work.get_all(Budget, [each.budget_id for each in attempt.holds])
    for budget in budgets:
        if attempt.attempt_id not in budget.holds:
            budget.trigger_event(
                Budget.Reserved,
                attempt_id=attempt_id(job.id, command.attempt),
                number=budget.made + 1,
                job_id=job.id,
                amount=attempt.bound,
                input_tokens=command.input_bound,
                output_tokens=command.output_bound,
                expires_at=work.now + timedelta(seconds=2),
            )


def _admit_without_holding(command: AdmitLlmJob, work: UnitOfWork) -> None:
    reserve = Budget.reserve
    Budget.reserve = lambda *_, **__: None  # type: ignore[method-assign] -- the planted bug
    try:
        admit_llm_job(command, work)
    finally:
        Budget.reserve = reserve  # type: ignore[method-assign] -- and its end


class _Late(AttemptRun):
    """Sends first, and holds when it knows the outcome."""

    async def _record(self, outcome: Command, key: str = "outcome") -> bool:
        late = HoldLate(
            job_id=self.job.id, attempt=self.attempt, input_bound=300, output_bound=self.job.max_output_tokens
        )
        await self._send(late, f"late|{self.job.id}|{self.attempt}")
        return await super()._record(outcome, key)


class LateDispatcher(Dispatcher):
    """See `_Late`."""

    ATTEMPT = _Late


class _Free(AttemptRun):
    """Believes that every call is free until its bill comes."""

    async def _admission(self, request: ModelRequest, bound: Decimal, least: Decimal, quote: Quote) -> AdmitLlmJob:
        return await super()._admission(request, bound * 0, least * 0, quote)


class FreeDispatcher(Dispatcher):
    """See `_Free`."""

    ATTEMPT = _Free


def _settle_twice() -> None:
    """A settlement is told again where the same outcome is reported again, which every fifth is."""
    account = Budget.account

    def again(self: Budget, attempt: UUID, amount: Decimal, *tokens: int | None) -> None:
        version = self.version
        account(self, attempt, amount, *tokens)
        if self.version > version and attempt.int % 5 == 0:
            facts: dict[str, Any] = dict.fromkeys(("held_input_tokens", "held_output_tokens", "waiting"), 0)
            facts |= {"input_tokens": tokens[0] or 0, "output_tokens": tokens[1] or 0} if tokens else {}
            self.trigger_event(Budget.Settled, attempt_id=attempt, number=self.made, amount=amount, held=ZERO, **facts)

    def settled(
        self: Budget, attempt_id: UUID, number: int, amount: Decimal, input_tokens: int, output_tokens: int
    ) -> None:
        spent = Charge(usd=amount, input_tokens=input_tokens, output_tokens=output_tokens)
        if attempt_id in self.holds:
            self._end_hold(attempt_id, spent)
        else:
            for each in self.limits.values():
                each.adjust(number, spent.of(each.unit))

    Budget.account = again  # type: ignore[method-assign] -- the planted bug
    decorated_funcs[Budget.Settled] = settled


def _hold_late() -> None:
    HANDLERS[AdmitLlmJob] = _admit_without_holding


def _lose_and_release(command: LoseAttempt, work: UnitOfWork) -> None:
    job = work.get(LlmJob, command.job_id)
    attempt = job.unaccounted.get(command.attempt)
    budgets = work.get_all(Budget, [each.budget_id for each in attempt.holds]) if attempt else []
    lose_attempt(command, work)
    for budget in budgets:
        budget.release(attempt_id(job.id, command.attempt))


def _free_what_is_lost() -> None:
    """Believes that a call whose worker died has cost nothing."""
    HANDLERS[LoseAttempt] = _lose_and_release


def _nothing() -> None:
    return


PLANTS: Mapping[str, tuple[Callable[[], None], type[Dispatcher]]] = {
    "": (_nothing, Dispatcher),
    "settles-twice": (_settle_twice, Dispatcher),
    "holds-late": (_hold_late, LateDispatcher),
    "holds-nothing": (_nothing, FreeDispatcher),
    "frees-what-is-lost": (_free_what_is_lost, Dispatcher),
}
"""By name: what is changed in every process, and the dispatcher; the first has no bug."""
EXPOSED_BY: Mapping[str, str] = {
    "settles-twice": "ended twice",
    "holds-late": "not one append",
    "holds-nothing": "overdrawn",
}
"""The finding that each must lead to; what frees the lost is caught where workers die on purpose (`money_steps`)."""
