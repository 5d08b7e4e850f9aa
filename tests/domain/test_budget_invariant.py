"""Settled + held never passes a limit: a state machine drives a budget through time and catches planted bugs."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from eventsourcing.domain import decorated_funcs
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from pydantic import ValidationError

from domain import kernel
from domain.budgets import LIFETIME, Budget, Limit, Terms, Window
from domain.budgets.limits import Bucket
from domain.charges import Charge, Unit
from domain.errors import BudgetExhausted, Refused
from domain.ids import Scope, budget_id
from domain.kernel import Event, evolve, payload_bytes
from domain.log import StoredEvent
from domain.values import ZERO, derived_id
from faults.money.checker import Checker

BERLIN = ZoneInfo("Europe/Berlin")
BEGINNINGS = [
    datetime(2026, 3, 28, 10, tzinfo=UTC),  # the clocks go forward in the night: a day of 23 hours
    datetime(2026, 10, 24, 10, tzinfo=UTC),  # and back: a day of 25
    datetime(2026, 11, 30, 22, tzinfo=UTC),
]
SCOPE = Scope(kind="global")
STREAM = budget_id(SCOPE)
DAY = Window(kind="day", time_zone="Europe/Berlin")
ROLLING = Window(kind="rolling", hours=24)
AMOUNTS = st.decimals(min_value=0, max_value=3, places=12) | st.integers(0, 3).map(Decimal)
LIMITS = AMOUNTS.map(lambda each: 2 + each * 4)
TOKENS = st.integers(0, 300)
CHARGES = st.builds(Charge, usd=AMOUNTS, input_tokens=TOKENS, output_tokens=TOKENS)
SHARES = st.decimals(min_value=0, max_value=1, places=2)
STEPS = [timedelta(seconds=30), timedelta(minutes=59), timedelta(hours=5), timedelta(hours=23), timedelta(hours=49)]
THOROUGH = settings(
    max_examples=settings().max_examples,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
)
CAUGHT = settings(THOROUGH, max_examples=400, phases=[Phase.generate], report_multiple_bugs=False, print_blob=False)
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


def terms(unit: Unit, window: Window, now: datetime, thresholds: tuple[int, ...] = (50, 100)) -> Terms:
    """A hard limit from now on."""
    return Terms.of(unit, window, thresholds, hard=True, now=now)


@dataclass(slots=True)
class Made:
    """A hold in the simplest books: when it was made and what became of it."""

    at: datetime
    held: Charge
    spent: Charge | None = None
    expired: bool = False

    @property
    def charge(self) -> Charge:
        """What it counts as now."""
        return self.held if self.spent is None else self.spent


class Books(RuleBasedStateMachine):
    """A budget with limits in three units and three kinds of windows, beside a list of everything that was held."""

    @initialize(begin=st.sampled_from(BEGINNINGS), usd=LIMITS, daily=LIMITS, tokens=st.integers(500, 4_000))
    def opened(self, begin: datetime, usd: Decimal, daily: Decimal, tokens: int) -> None:
        self.now = begin
        self.made: dict[UUID, Made] = {}
        self.jobs = 0
        self.types: list[str] = []
        self.replayed: Budget | None = None
        self.checker = Checker()
        kernel.NOW.set(self.now)
        first = terms("usd", LIFETIME, begin)
        self.budget = Budget(id=STREAM, scope=SCOPE, project_id=None, limit=usd, **dict(first))
        self.budget.add_limit(daily, terms("usd", DAY, begin), begin)
        self.budget.add_limit(Decimal(tokens), terms("total_tokens", ROLLING, begin), begin)
        self.follow()

    # --- what must hold ---

    def follow(self) -> None:
        """Replay from the stored bytes; the invariant holds after every single event, for the checker as well."""
        for happened in self.budget.take_pending():
            event = stored(happened)
            self.types.append(event.type)
            self.replayed = evolve(self.replayed, event)
            for each in self.replayed.limits.values():
                assert each.settled + each.held <= each.limit + each.overdrawn
                assert min(each.settled, each.held) >= 0
            self.checker.read([event])
            assert self.checker.findings == []
        assert self.replayed == self.budget
        assert Budget.from_snapshot(STREAM, self.budget.version, self.budget.snapshot()) == self.budget
        for each in self.budget.limits.values():
            least, most = self.expected(each)
            assert least <= sum(each.used(self.now)) <= most
            if each.window != ROLLING:
                assert least == most

    def expected(self, limit: Limit) -> tuple[Decimal, Decimal]:
        """By the clock alone: what counts now, and for a rolling window what may still count."""

        def total(counts: Callable[[datetime], bool]) -> Decimal:
            return sum((each.charge.of(limit.unit) for each in self.made.values() if counts(each.at)), ZERO)

        if limit.window == LIFETIME:
            return total(lambda _: True), total(lambda _: True)
        if limit.window == DAY:
            today = self.now.astimezone(BERLIN).date()
            used = total(lambda at: at.astimezone(BERLIN).date() == today)
            return used, used
        day = timedelta(hours=24)
        return total(lambda at: at > self.now - day), total(lambda at: at > self.now - day - timedelta(hours=1))

    def open(self) -> list[UUID]:
        """Attempts that nobody has reported on."""
        return sorted(key for key, each in self.made.items() if each.spent is None)

    def late(self) -> list[UUID]:
        """Attempts whose holds expired and that may still report."""
        return sorted(key for key, each in self.made.items() if each.expired)

    # --- what can happen ---

    @rule(step=st.sampled_from(STEPS))
    def time_passes(self, step: timedelta) -> None:
        self.now += step
        kernel.NOW.set(self.now)

    @rule(charge=CHARGES)
    def reserve(self, charge: Charge) -> None:
        self._reserve(charge)

    @rule(charge=CHARGES)
    def shape(self, charge: Charge) -> None:
        """As many output tokens as fit, down to one."""
        outputs = range(charge.output_tokens, 0, -25)
        fits = (charge.model_copy(update={"output_tokens": each}) for each in outputs)
        if less := next((each for each in fits if self.budget.shortfall(each, self.now) is None), None):
            self._reserve(less)

    def _reserve(self, charge: Charge) -> None:
        attempt = derived_id("attempt", len(self.made))
        facts: dict[str, Any] = {"job_id": attempt, "expires_at": self.now + timedelta(hours=2), "now": self.now}
        lack = self.budget.shortfall(charge, self.now)
        if lack is None:
            self.budget.reserve(attempt, charge=charge, **facts)
            self.made[attempt] = Made(self.now, charge)
            with pytest.raises(Refused):
                self.budget.reserve(attempt, charge=Charge(usd=ZERO), **facts)
        else:
            assert lack.requested > lack.headroom
            assert lack.retry_at is None or lack.retry_at > self.now
            with pytest.raises(BudgetExhausted):
                self.budget.reserve(attempt, charge=charge, **facts)
        self.follow()

    @precondition(lambda self: self.open())
    @rule(data=st.data(), share=SHARES)
    def settle(self, data: st.DataObject, share: Decimal) -> None:
        made = self._pick(data, self.open())
        self._account(made, _part(self.made[made].held, share))
        self._account(made, self.made[made].charge, again=True)

    @precondition(lambda self: self.open() or self.late())
    @rule(data=st.data(), excess=st.sampled_from([Decimal("0.01"), Decimal(1)]), tokens=st.sampled_from([0, 50]))
    def overdraw(self, data: st.DataObject, excess: Decimal, tokens: int) -> None:
        made = self._pick(data, sorted({*self.open(), *self.late()}))
        held = self.made[made].held
        more = {"usd": held.usd + excess, "output_tokens": held.output_tokens + tokens}
        self._account(made, held.model_copy(update=more))

    @precondition(lambda self: self.open() or self.late())
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        attempt = self._pick(data, sorted({*self.open(), *self.late()}))
        for _ in range(2):
            self.budget.release(attempt)
        self.made[attempt].spent, self.made[attempt].expired = Charge(usd=ZERO), False
        self.follow()

    @precondition(lambda self: self.open())
    @rule(data=st.data(), wait=st.booleans())
    def expire(self, data: st.DataObject, *, wait: bool) -> None:
        attempt = self._pick(data, self.open())
        if wait:
            self.now = max(self.now, self.budget.holds[attempt].expires_at)
            kernel.NOW.set(self.now)
        if self.now < self.budget.holds[attempt].expires_at:
            with pytest.raises(Refused):
                self.budget.expire(attempt, self.now)
        else:
            self.budget.expire(attempt, self.now)
            self.made[attempt].spent, self.made[attempt].expired = self.made[attempt].held, True
        self.follow()

    @precondition(lambda self: self.late())
    @rule(data=st.data(), share=SHARES)
    def report_late(self, data: st.DataObject, share: Decimal) -> None:
        attempt = self._pick(data, self.late())
        self._account(attempt, _part(self.made[attempt].held, share))

    @precondition(lambda self: self.budget.parked)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Of a job that waits nothing is held; one in flight is `release`, or settles like any other."""
        job, held = self._pick(data, sorted(self.budget.parked)), dict(self.budget.holds)
        for _ in range(2):
            self.budget.unpark(job, self.now)
        assert job not in self.budget.parked
        assert self.budget.holds == held
        self.follow()

    def _pick(self, data: st.DataObject, among: list[UUID]) -> UUID:
        return data.draw(st.sampled_from(among))

    def _account(self, attempt: UUID, spent: Charge, *, again: bool = False) -> None:
        version = self.budget.version
        self.budget.account(attempt, spent.usd, spent.input_tokens, spent.output_tokens)
        assert (self.budget.version == version) is again, "the second report changes nothing"
        self.made[attempt].spent, self.made[attempt].expired = spent, False
        self.follow()

    @rule(data=st.data(), limit=AMOUNTS | LIMITS, times=st.sampled_from([1, 300]))
    def change_limit(self, data: st.DataObject, limit: Decimal, times: int) -> None:
        known = self.budget.limits[data.draw(st.sampled_from(sorted(self.budget.limits)))]
        wanted = limit if known.unit == "usd" else (limit * times).to_integral_value(ROUND_FLOOR)
        if wanted < sum(known.used(self.now)):
            with pytest.raises(Refused):
                self.budget.change_limit(wanted, self.now, known.name)
        else:
            self.budget.change_limit(wanted, self.now, known.name)
        self.follow()

    @rule()
    def roll(self) -> None:
        if any(each.ends_at and self.now >= each.ends_at for each in self.budget.limits.values()):
            self.budget.roll(self.now)
        else:
            with pytest.raises(Refused):
                self.budget.roll(self.now)
        self.follow()

    @rule(charge=CHARGES)
    def park(self, charge: Charge) -> None:
        if self.budget.shortfall(charge, self.now):
            self.jobs += 1
            self.budget.park(derived_id("job", self.jobs), charge, self.now)
        for job in self.budget.resumable(self.now):
            assert self.budget.shortfall(self.budget.parked[job], self.now) is None
            self.budget.unpark(job, self.now)
        self.follow()


def _part(held: Charge, share: Decimal) -> Charge:
    return Charge(
        usd=(held.usd * share).quantize(Decimal("1e-12"), ROUND_FLOOR),
        input_tokens=int(held.input_tokens * share),
        output_tokens=int(held.output_tokens * share),
    )


def test_settled_and_held_never_pass_a_limit_in_any_window() -> None:
    run_state_machine_as_test(Books, settings=THOROUGH)


def settles_without_freeing(self: Budget, attempt_id: UUID, amount: Decimal) -> None:
    hold = self.holds.pop(attempt_id)
    for each in self.limits.values():
        each.adjust(hold.number, amount if each.unit == "usd" else ZERO)


def settles_for_ever(self: Budget, attempt_id: UUID, amount: Decimal) -> None:
    hold = self.holds[attempt_id]
    for each in self.limits.values():
        each.settle(hold.number, hold.charge, Charge(usd=amount))


def expires_for_free(self: Budget, attempt_id: UUID) -> None:
    self.expired[attempt_id] = self._end_hold(attempt_id, Charge(usd=ZERO))


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("event", "applier"),
    [
        (Budget.Settled, settles_without_freeing),
        (Budget.Settled, settles_for_ever),
        (Budget.HoldExpired, expires_for_free),
    ],
)
def test_the_machine_catches_an_applier_that_miscounts(
    monkeypatch: pytest.MonkeyPatch, event: type[Event], applier: Callable[..., None]
) -> None:
    assert event in decorated_funcs
    monkeypatch.setitem(decorated_funcs, event, applier)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Books, settings=CAUGHT)


def forgets_what_is_held(self: Limit, now: datetime) -> Decimal:
    return self.limit - self.used(now)[0]


def never_rolls(self: Limit, now: datetime) -> None:
    return None


def counts_where_it_settles(self: Limit, number: int) -> Bucket:
    return self.buckets[-1]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("method", "bug"),
    [
        ("headroom", forgets_what_is_held),
        ("next_span", never_rolls),
        ("bucket", counts_where_it_settles),
    ],
)
def test_the_machine_catches_a_limit_that_forgets_holds_or_windows(
    monkeypatch: pytest.MonkeyPatch, method: str, bug: Callable[..., Any]
) -> None:
    monkeypatch.setattr(Limit, method, bug)
    with pytest.raises((AssertionError, Refused, ValidationError, pytest.fail.Exception)):
        run_state_machine_as_test(Books, settings=CAUGHT)
