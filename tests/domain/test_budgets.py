"""What a budget refuses, and what it takes no notice of."""

from collections.abc import Iterator
from decimal import Decimal

import pytest

from domain import kernel
from domain.budgets import LIFETIME, Budget
from domain.charges import Charge
from domain.errors import BudgetExhausted, Conflict, NotFound, Refused
from tests.domain.test_budget_invariant import BEGINNINGS, DAY, SCOPE, STREAM, terms

NOW = BEGINNINGS[0]


@pytest.fixture
def budget() -> Iterator[Budget]:
    """A budget of one dollar."""
    token = kernel.NOW.set(NOW)
    yield Budget(id=STREAM, scope=SCOPE, project_id=None, limit=Decimal(1), **dict(terms("usd", LIFETIME, NOW, ())))
    kernel.NOW.reset(token)


def _reserve(budget: Budget, usd: Decimal = Decimal(1)) -> None:
    budget.reserve(STREAM, job_id=STREAM, charge=Charge(usd=usd), expires_at=NOW, now=NOW)


def test_an_attempt_has_one_hold(budget: Budget) -> None:
    _reserve(budget)
    with pytest.raises(Refused, match="has its hold already"):
        _reserve(budget, Decimal(0))


def test_what_does_not_fit_is_refused_with_the_numbers(budget: Budget) -> None:
    with pytest.raises(BudgetExhausted, match=r"1\.5 USD do not fit, 1 USD are left") as refused:
        _reserve(budget, Decimal("1.5"))
    told = refused.value.details
    assert (told["scope"], told["limit"], told["settled"], told["held"]) == ("global", "1", "0", "0")
    assert (told["requested"], told["retry_at"]) == ("1.5", None)


def test_what_a_budget_does_not_know_changes_nothing(budget: Budget) -> None:
    budget.account(STREAM, Decimal(1))
    budget.release(STREAM)
    budget.unpark(STREAM, NOW)
    assert budget.version == 1


def test_a_closed_budget_holds_nothing_and_an_open_one_is_not_opened_again(budget: Budget) -> None:
    with pytest.raises(Conflict):
        budget.reopen(Decimal(2), terms("usd", LIFETIME, NOW), NOW)
    budget.close()
    with pytest.raises(Refused, match="closed"):
        _reserve(budget)


def test_a_limit_is_named_where_there_are_several(budget: Budget) -> None:
    budget.add_limit(Decimal(1), terms("usd", DAY, NOW), NOW)
    with pytest.raises(Refused, match="say which limit: usd-lifetime, usd-day-europe-berlin"):
        budget.change_limit(Decimal(2), NOW)
    with pytest.raises(NotFound, match="no limit usd-week"):
        budget.change_limit(Decimal(2), NOW, "usd-week")
    budget.remove_limit("usd-lifetime", NOW)
    with pytest.raises(Refused, match="the only limit"):
        budget.remove_limit("usd-day-europe-berlin", NOW)
