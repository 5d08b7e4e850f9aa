"""Answers "how full will this limit be when its window ends?" from the spending of its last hours."""

from datetime import datetime, timedelta
from decimal import ROUND_CEILING, Decimal

from domain.charges import Unit
from domain.values import ZERO, Instant, Money
from projections.budgets import BudgetState, LimitState
from projections.views import View

HOURS = 6
"""Hours of spending, the present one included, that tell the rate."""
_CENTS = Decimal("1e-6")
_HOUR = timedelta(hours=1)


class Forecast(View):
    """One limit, if spending goes on as in the last hours."""

    name: str
    unit: Unit
    limit: Money
    settled: Money
    held: Money
    per_hour: Money
    ends_at: Instant | None
    """When its window ends; None where it never does."""
    at_end: Money | None
    """Settled and held by then, unlimited."""
    full_at: Instant | None
    """When the limit is reached; None where it is not, before the window ends."""


def forecast(view: BudgetState, now: datetime) -> list[Forecast]:
    """Every limit of a budget, in the window of this moment."""
    return [_forecast(each, view.opened_at, now) for each in view.limits]


def _forecast(limit: LimitState, opened_at: datetime, now: datetime) -> Forecast:
    books = limit.books()
    settled, held = books.used(now)
    ends_at = books.next_roll(now)
    since = max(now - HOURS * _HOUR, opened_at)
    spent = sum((each.amount for each in limit.hours if each.begins_at + _HOUR > since), ZERO)
    elapsed = max(now - since, _HOUR)
    rate = (spent * 3600 / Decimal(int(elapsed.total_seconds()))).quantize(_CENTS, ROUND_CEILING)
    left = Decimal(int((ends_at - now).total_seconds())) / 3600 if ends_at else None
    room = limit.limit - settled - held
    full_at = None
    if room <= 0:
        full_at = now
    elif rate > 0 and (room / rate) * 3600 < Decimal(10**9):
        full_at = now + timedelta(seconds=int(room / rate * 3600))
    if full_at and ends_at and full_at >= ends_at:
        full_at = None
    return Forecast(
        name=limit.name,
        unit=limit.unit,
        limit=limit.limit,
        settled=settled,
        held=held,
        per_hour=rate,
        ends_at=ends_at,
        at_end=None if left is None else (settled + held + rate * left).quantize(_CENTS, ROUND_CEILING),
        full_at=full_at,
    )
