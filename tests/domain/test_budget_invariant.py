"""Settled + held never passes the limit: a state machine drives a budget, checks every event, and catches bugs."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from eventsourcing.domain import decorated_funcs
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from domain import kernel
from domain.budgets import Budget
from domain.errors import BudgetExhausted, Conflict, Refused
from domain.ids import Scope, budget_id
from domain.kernel import Event, evolve, payload_bytes
from domain.log import StoredEvent
from domain.values import derived_id

BEGIN = datetime(2026, 11, 21, 10, tzinfo=UTC)
SCOPE = Scope(kind="global")
STREAM = budget_id(SCOPE)
AMOUNTS = st.decimals(min_value=0, max_value=3, places=12) | st.integers(0, 3).map(Decimal)
THOROUGH = settings(
    max_examples=settings().max_examples * 5 // 2,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
)

CAUGHT = settings(THOROUGH, phases=[Phase.generate], report_multiple_bugs=False, print_blob=False)
"""For planted bugs: that one example fails is enough, it need not be small."""


def stored(happened: Event) -> StoredEvent:
    """An event as the log would hold it."""
    return StoredEvent(
        position=happened.originator_version,
        stream_id=happened.originator_id,
        version=happened.originator_version,
        type=happened.TYPE,
        schema_version=happened.VERSION,
        project_id=None,
        data=payload_bytes(happened),
        actor="test",
        command_id=STREAM,
        correlation_id=STREAM,
        causation_id=None,
        trace_id=None,
        recorded_at=happened.timestamp,
    )


class Books(RuleBasedStateMachine):
    """A budget beside the simplest books that can be kept of it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = BEGIN
        self.count = 0
        self.open: dict[UUID, Decimal] = {}
        self.expired: dict[UUID, Decimal] = {}
        self.spent: dict[UUID, Decimal] = {}
        self.replayed: Budget | None = None

    @initialize(limit=AMOUNTS)
    def opened(self, limit: Decimal) -> None:
        kernel.NOW.set(self.now)
        self.budget = Budget(id=STREAM, scope=SCOPE, project_id=None, limit=limit, thresholds=[50, 80, 100])
        self.follow()

    def follow(self) -> None:
        """Replay from the stored bytes; the invariant holds after every single event."""
        for happened in self.budget.take_pending():
            self.replayed = evolve(self.replayed, stored(happened))
            assert self.replayed.settled + self.replayed.held <= self.replayed.limit + self.replayed.overdrawn
            assert self.replayed.held == sum(hold.amount for hold in self.replayed.holds.values())
            assert self.replayed.settled >= 0
        assert self.replayed == self.budget
        assert Budget.from_snapshot(STREAM, self.budget.version, self.budget.snapshot()) == self.budget
        assert self.budget.held == sum(self.open.values())
        assert self.budget.settled == sum(self.spent.values())
        if self.budget.settled > 0:
            reached = {each for each in (50, 80, 100) if self.budget.settled * 100 >= each * self.budget.limit}
            assert reached <= set(self.budget.crossed)

    @rule(amount=AMOUNTS, seconds=st.integers(1, 100))
    def reserve(self, amount: Decimal, seconds: int) -> None:
        self.count += 1
        attempt = derived_id("attempt", self.count)
        room = self.budget.limit - sum(self.open.values()) - sum(self.spent.values())
        expiry = self.now + timedelta(seconds=seconds)
        if amount <= room:
            self.budget.reserve(attempt, job_id=attempt, amount=amount, expires_at=expiry)
            self.open[attempt] = amount
        else:
            with pytest.raises(BudgetExhausted):
                self.budget.reserve(attempt, job_id=attempt, amount=amount, expires_at=expiry)
        self.follow()

    @precondition(lambda self: self.open)
    @rule(data=st.data(), share=st.decimals(min_value=0, max_value=1, places=2))
    def settle(self, data: st.DataObject, share: Decimal) -> None:
        attempt = data.draw(st.sampled_from(sorted(self.open)))
        amount = (self.open.pop(attempt) * share).quantize(Decimal("1e-12"), "ROUND_FLOOR")
        self.spent[attempt] = amount
        for _ in range(2):  # the second report changes nothing
            self.budget.account(attempt, amount)
        self.follow()

    @precondition(lambda self: self.open or self.expired)
    @rule(data=st.data(), excess=st.sampled_from([Decimal("0.01"), Decimal(1)]))
    def overdraw(self, data: st.DataObject, excess: Decimal) -> None:
        attempt = data.draw(st.sampled_from(sorted(self.open | self.expired)))
        amount = (self.open | self.expired)[attempt] + excess
        self.open.pop(attempt, None)
        self.expired.pop(attempt, None)
        self.spent[attempt] = amount
        self.budget.account(attempt, amount)
        self.follow()

    @precondition(lambda self: self.open or self.expired)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        attempt = data.draw(st.sampled_from(sorted(self.open | self.expired)))
        self.open.pop(attempt, None)
        self.expired.pop(attempt, None)
        self.spent.pop(attempt, None)
        for _ in range(2):
            self.budget.release(attempt)
        self.follow()

    @precondition(lambda self: self.open)
    @rule(data=st.data(), seconds=st.integers(0, 100))
    def expire(self, data: st.DataObject, seconds: int) -> None:
        attempt = data.draw(st.sampled_from(sorted(self.open)))
        self.now += timedelta(seconds=seconds)
        if self.now < self.budget.holds[attempt].expires_at:
            with pytest.raises(Refused):
                self.budget.expire(attempt, self.now)
        else:
            self.budget.expire(attempt, self.now)
            self.spent[attempt] = self.expired[attempt] = self.open.pop(attempt)
        self.follow()

    @precondition(lambda self: self.expired)
    @rule(data=st.data(), share=st.decimals(min_value=0, max_value=1, places=2))
    def report_late(self, data: st.DataObject, share: Decimal) -> None:
        attempt = data.draw(st.sampled_from(sorted(self.expired)))
        amount = (self.expired.pop(attempt) * share).quantize(Decimal("1e-12"), "ROUND_FLOOR")
        self.spent[attempt] = amount
        self.budget.account(attempt, amount)
        self.follow()

    @rule(limit=AMOUNTS)
    def change_limit(self, limit: Decimal) -> None:
        if limit < sum(self.open.values()) + sum(self.spent.values()):
            with pytest.raises(Refused):
                self.budget.change_limit(limit)
        else:
            self.budget.change_limit(limit)
        self.follow()


def test_settled_and_held_never_pass_the_limit() -> None:
    run_state_machine_as_test(Books, settings=THOROUGH)


def _settles_without_freeing(self: Budget, amount: Decimal) -> None:
    self.settled += amount


def _expires_for_free(self: Budget, attempt_id: UUID) -> None:
    hold = self.expired[attempt_id] = self.holds.pop(attempt_id)
    self.held -= hold.amount


def _forgets_what_it_holds(self: Budget, attempt_id: UUID, amount: Decimal) -> None:
    del self.holds[attempt_id]
    self.settled += amount


@pytest.mark.parametrize(
    ("event", "applier"),
    [
        (Budget.Settled, _settles_without_freeing),
        (Budget.HoldExpired, _expires_for_free),
        (Budget.Settled, _forgets_what_it_holds),
    ],
)
def test_the_machine_catches_an_applier_that_miscounts(
    monkeypatch: pytest.MonkeyPatch, event: type[Event], applier: Callable[..., None]
) -> None:
    assert event in decorated_funcs
    monkeypatch.setitem(decorated_funcs, event, applier)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Books, settings=CAUGHT)


def test_the_machine_catches_a_decision_that_forgets_what_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Budget, "headroom", property(lambda self: self.limit - self.settled))
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        run_state_machine_as_test(Books, settings=CAUGHT)


@pytest.fixture
def budget() -> Iterator[Budget]:
    """A budget of one dollar."""
    token = kernel.NOW.set(BEGIN)
    yield Budget(id=STREAM, scope=SCOPE, project_id=None, limit=Decimal(1), thresholds=[])
    kernel.NOW.reset(token)


def _reserve(budget: Budget, **over: Any) -> None:
    budget.reserve(STREAM, **({"job_id": STREAM, "amount": Decimal(1), "expires_at": BEGIN} | over))


def test_an_attempt_has_one_hold(budget: Budget) -> None:
    _reserve(budget)
    with pytest.raises(Refused, match="has its hold already"):
        _reserve(budget, amount=Decimal(0))


def test_what_does_not_fit_is_refused_with_the_numbers(budget: Budget) -> None:
    with pytest.raises(BudgetExhausted, match=r"1\.5 USD do not fit, 1 USD are left"):
        _reserve(budget, amount=Decimal("1.5"))


def test_what_a_budget_does_not_know_changes_nothing(budget: Budget) -> None:
    budget.account(STREAM, Decimal(1))
    budget.release(STREAM)
    budget.unpark(STREAM)
    assert budget.version == 1


def test_a_closed_budget_holds_nothing_and_an_open_one_is_not_opened_again(budget: Budget) -> None:
    with pytest.raises(Conflict):
        budget.reopen(Decimal(2), [])
    budget.close()
    with pytest.raises(Refused, match="closed"):
        _reserve(budget)
