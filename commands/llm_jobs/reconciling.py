"""Late usage: what an attempt used, told by an operator or a vendor's export after it was settled at its bound."""

from commands.handling import Command, handler
from commands.llm_jobs.attempts import Billed, Books, OfAttempt
from commands.work import UnitOfWork
from domain.accounting import Accounting, booking_day, day_of
from domain.budgets import Budget
from domain.costs import Cost
from domain.errors import Refused
from domain.ids import accounting_id, attempt_id, cost_id
from domain.pricing import Usage
from domain.values import Amount, money_text


class ReportUsage(OfAttempt, Billed, Command, permission="costs.reconcile"):
    """Say what an attempt used whose provider did not, or not in time: it replaces the estimate, once."""


@handler
def report_usage(command: ReportUsage, work: UnitOfWork) -> None:
    """An attempt under way is left to its worker; what its provider counted is never overwritten."""
    job = command.job(work)
    attempt = job.awaited(command.attempt)
    if command.usage is None or command.amount is None:
        raise Refused("late usage needs its counts and their price", code="usage_needed")
    known = work.find(Cost, cost_id(attempt_id(job.id, command.attempt)))
    if attempt is None:
        _replace(known, command, command.usage, command.amount, work)
        return
    if job.is_current(attempt):
        raise Refused(
            f"attempt {attempt.number} is under way: its worker will say what it used", code="attempt_running"
        )
    books = Books.of(job, attempt, work)
    forgotten = [each for each in books.budgets if each.counted(attempt.attempt_id) is None]
    job.account_late(attempt, usage=command.usage, cost=command.amount)
    before = known.amount if known else command.amount
    books.pay(command, command.amount, command.usage.passes[0].model)
    if known:
        for budget in forgotten:
            _rebook(budget, known, command.usage, command.amount - before)


def _replace(known: Cost | None, command: ReportUsage, usage: Usage, amount: Amount, work: UnitOfWork) -> None:
    if known is None:
        raise Refused("this attempt cost nothing: it was never sent, or nothing came of it", code="no_cost")
    if not known.estimated:
        if known.usage == usage and known.lines == command.lines:
            return
        raise Refused(
            f"attempt {command.attempt} is settled at {money_text(known.amount)} USD by what was counted: only an "
            "estimate takes late usage. Where its price is wrong: toybox prices rerate",
            code="usage_known",
        )
    accounting = work.find(Accounting, accounting_id())
    budgets = work.find_all(Budget, [paid.budget_id for paid in known.paid_by])
    delta = amount - known.amount
    booked_on = booking_day(accounting, known.recorded_on, day_of(work.now))
    known.correct(usage=usage, lines=command.lines, amount=amount, booked_on=booked_on)
    for budget in filter(None, budgets.values()):
        _rebook(budget, known, usage, delta)


def _rebook(budget: Budget, known: Cost, usage: Usage, delta: Amount) -> None:
    for paid in known.paid_by:
        if paid.budget_id == budget.id:
            read, written = usage.input_tokens - paid.input_tokens, usage.output_tokens - paid.output_tokens
            budget.rebook(known.attempt_id, paid.number, delta, read, written)
