"""What may be asked of costs that stand: price anew what their attempts used, as another card says."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from commands.handling import Command, handler
from commands.work import UnitOfWork
from domain.accounting import Accounting, booking_day, day_of
from domain.budgets import Budget
from domain.costs import Cost, CostLine
from domain.ids import accounting_id
from domain.pricing import Usage
from domain.values import ZERO, Code, Name

MOST = 200
"""Costs that one command prices anew: what one append may carry without others waiting for it."""


class Rating(BaseModel):
    """The lines of one cost as they should be."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    cost_id: UUID
    lines: Annotated[list[CostLine], Field(min_length=1)]


class RerateCosts(Command, permission="prices.rerate"):
    """Give costs the price that holds for what they used. What has it already stays: a repeat does nothing."""

    card: Name
    reason: Code
    costs: Annotated[list[Rating], Field(min_length=1, max_length=MOST)]

    def streams(self) -> tuple[UUID, ...]:
        """The costs, and what is closed."""
        return (accounting_id(), *(each.cost_id for each in self.costs))


@handler
def rerate_costs(command: RerateCosts, work: UnitOfWork) -> None:
    """A difference counts on the cost's own day, or today where that day's month is closed; budgets follow.

    A cost that has changed since its lines were made is passed over: whoever asks again finds it.
    """
    accounting, today = work.find(Accounting, accounting_id()), day_of(work.now)
    found = work.find_all(Cost, [each.cost_id for each in command.costs])
    due = [
        (cost, each.lines)
        for each in command.costs
        if (cost := found[each.cost_id]) and fits(cost.usage, each.lines) and not cost.is_rated(each.lines)
    ]
    paying = {paid.budget_id for cost, _ in due for paid in cost.paid_by}
    budgets = {each.id: each for each in work.get_all(Budget, paying)}
    for cost, lines in due:
        delta = sum((line.amount for line in lines), ZERO) - cost.amount
        booked_on = booking_day(accounting, cost.recorded_on, today)
        cost.re_rate(card=command.card, lines=lines, booked_on=booked_on, reason=command.reason, by=work.actor)
        for paid in cost.paid_by:
            budgets[paid.budget_id].rebook(cost.attempt_id, paid.number, delta)


def fits(usage: Usage | None, lines: Sequence[CostLine]) -> bool:
    """Whether these lines are made of exactly this usage."""
    if usage is None:
        return False
    used = [(each.model, one.bucket, one.quantity) for each in usage.passes for one in each.quantities]
    return used == [(line.model, line.bucket, line.quantity) for line in lines]
