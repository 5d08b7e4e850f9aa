"""Second thoughts about what was paid: with them, too, no limit is passed unexplained, and a bug in them is caught."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from domain.budgets import Limit
from domain.charges import Charge
from tests.domain.test_budget_invariant import CAUGHT, CHARGES, THOROUGH, Books


class SecondThoughts(Books):
    """The budget's machine, in which prices and counts of settled attempts may turn out wrong at any time."""

    def ended(self) -> list[UUID]:
        """Attempts that count as something."""
        return sorted(key for key, each in self.made.items() if each.spent is not None)

    @precondition(lambda self: self.ended())
    @rule(data=st.data(), charge=CHARGES)
    def rebook(self, data: st.DataObject, charge: Charge) -> None:
        attempt = self._pick(data, self.ended())
        made, number = self.made[attempt], list(self.made).index(attempt) + 1
        was = made.charge
        tokens = (charge.input_tokens - was.input_tokens, charge.output_tokens - was.output_tokens)
        self.budget.rebook(attempt, number, charge.usd - was.usd, *tokens)
        if charge != was:
            made.spent, made.expired = charge, False
        self.follow()


def test_no_limit_is_passed_unexplained_when_costs_change_afterwards() -> None:
    run_state_machine_as_test(SecondThoughts, settings=THOROUGH)


def _explains_nothing(self: Limit, number: int, delta: Decimal) -> None:
    if bucket := self.bucket(number):
        bucket.settled += delta


def _counts_today(self: Limit, number: int, delta: Decimal) -> None:
    self.buckets[-1].settled += delta
    self.buckets[-1].overdrawn += max(Decimal(0), delta)


def _counts_twice(self: Limit, number: int, delta: Decimal) -> None:
    if bucket := self.bucket(number):
        bucket.settled += delta * 2
        bucket.overdrawn += max(Decimal(0), delta * 2)


@pytest.mark.thorough
@pytest.mark.parametrize("bug", [_explains_nothing, _counts_today, _counts_twice])
def test_the_machine_catches_a_rebooking_that_miscounts(
    monkeypatch: pytest.MonkeyPatch, bug: Callable[..., Any]
) -> None:
    monkeypatch.setattr(Limit, "rebook", bug)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(SecondThoughts, settings=CAUGHT)
