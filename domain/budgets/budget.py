"""The budget of a scope: its events, what it decides, how it follows."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from domain.budgets import events
from domain.budgets.ledger import Hold, Ledger, check_limit, check_whole
from domain.budgets.limits import Limit, Terms
from domain.charges import Charge, Unit, deltas_of
from domain.errors import BudgetExhausted, Conflict, Refused
from domain.ids import Scope
from domain.kernel import Aggregate, event
from domain.values import ZERO
from domain.windows import Span, Window

EXPIRED_KEPT = 500
"""Expired holds whose attempts may still report; an older one stays settled at its bound for good."""
LIMITS_MOST = 20


class Budget(Ledger, Aggregate):
    """What a scope may spend: in each window of each hard limit, settled + held never exceeds it.

    Unless a provider charges over a hold. A hold belongs to the windows that it was made in, whenever it settles.
    """

    TOPIC = "budget"
    FOLD = 4
    Opened = events.Opened
    Reopened = events.Reopened
    LimitAdded = events.LimitAdded
    LimitChanged = events.LimitChanged
    LimitRemoved = events.LimitRemoved
    WindowRolled = events.WindowRolled
    Reserved = events.Reserved
    Settled = events.Settled
    Released = events.Released
    HoldExpired = events.HoldExpired
    Adjusted = events.Adjusted
    Rebooked = events.Rebooked
    ThresholdCrossed = events.ThresholdCrossed
    JobParked = events.JobParked
    JobUnparked = events.JobUnparked
    Overdrawn = events.Overdrawn
    Closed = events.Closed

    # --- decisions ---

    @event(Opened)
    def __init__(  # noqa: PLR0913 -- as many facts as the event has
        self,
        id: UUID,  # noqa: ARG002 -- the library's name for it
        scope: Scope,
        project_id: UUID | None,
        limit: Decimal,
        thresholds: list[int],
        *,
        name: str,
        unit: Unit,
        window: Window,
        hard: bool,
        span: Span | None,
    ) -> None:
        self.scope, self.project_id = scope, project_id
        self.status, self.made = "open", 0
        terms = Terms(name=name, unit=unit, window=window, thresholds=thresholds, hard=hard, span=span)
        self.limits = {name: Limit.begin(terms, limit, 0)}
        self.holds, self.expired, self.parked = {}, {}, {}

    def reopen(self, limit: Decimal, terms: Terms, now: datetime) -> None:
        if self.is_open:
            raise Conflict(f"{self.scope.label} has a budget already: change its limit ({self.id})")
        known = self.limits.get(terms.name)
        check_limit(known, limit, now, hard=terms.hard)
        self.trigger_event(Budget.Reopened, limit=limit, **dict(terms))
        self._announce_thresholds()

    def add_limit(self, limit: Decimal, terms: Terms, now: datetime) -> None:
        self.must_be_open()
        if terms.name in self.limits:
            raise Conflict(
                f"{self.scope.label} has a budget already for {terms.unit}, {terms.window.label}: "
                f"change its limit ({self.id}, {terms.name})"
            )
        if len(self.limits) >= LIMITS_MOST:
            raise Refused(f"a budget has at most {LIMITS_MOST} limits: remove one first", code="too_many_limits")
        self.trigger_event(Budget.LimitAdded, limit=limit, **dict(terms))
        if self.parked and terms.hard and terms.span:  # nobody else says when those that wait may fit under it
            self.park(*next(reversed(self.parked.items())), now)

    def change_limit(self, limit: Decimal, now: datetime, name: str | None = None) -> None:
        self.must_be_open()
        known = self.named(name)
        check_whole(limit, known.unit)
        check_limit(known, limit, now, hard=known.hard)
        if limit == known.limit:
            return
        self._roll(now)
        self.trigger_event(
            Budget.LimitChanged, name=known.name, limit=limit, previous=known.limit, waiting=len(self.parked)
        )
        self._announce_thresholds()

    def remove_limit(self, name: str, now: datetime) -> None:
        self.must_be_open()
        self.named(name)
        if len(self.limits) == 1:
            raise Refused("this is the only limit of the budget: close the budget instead", code="only_limit")
        others = [each for each in self.limits.values() if each.name != name]
        self.trigger_event(
            Budget.LimitRemoved, name=name, waiting=len(self.parked), rolls_at=self.rolls_at(now, others)
        )

    def close(self) -> None:
        self.must_be_open()
        self.trigger_event(Budget.Closed, waiting=len(self.parked))

    def reserve(self, attempt_id: UUID, *, job_id: UUID, charge: Charge, expires_at: datetime, now: datetime) -> None:
        """Hold the most that an attempt can cost. Check `shortfall` of every budget before the first one reserves."""
        self.must_be_open()
        if attempt_id in self.holds or attempt_id in self.expired:
            raise Refused(f"attempt {attempt_id} has its hold already", code="not_due")
        if lack := self.shortfall(charge, now):
            raise BudgetExhausted(lack.sentence(), **lack.model_dump(mode="json"))
        self._roll(now)
        self.trigger_event(
            Budget.Reserved,
            attempt_id=attempt_id,
            number=self.made + 1,
            job_id=job_id,
            amount=charge.usd,
            input_tokens=charge.input_tokens,
            output_tokens=charge.output_tokens,
            expires_at=expires_at,
        )

    def account(
        self, attempt_id: UUID, amount: Decimal, input_tokens: int | None = None, output_tokens: int | None = None
    ) -> None:
        """Count what an attempt really cost, once: in place of its hold, or of the bound that its hold expired at.

        Tokens that nobody counted are as many as were held.
        """
        hold = self.holds.get(attempt_id) or self.expired.get(attempt_id)
        if hold is None:
            return
        spent = Charge(
            usd=amount,
            input_tokens=hold.input_tokens if input_tokens is None else input_tokens,
            output_tokens=hold.output_tokens if output_tokens is None else output_tokens,
        )
        self._announce_overdraft(attempt_id, hold, spent)
        if attempt_id in self.holds:
            self.trigger_event(
                Budget.Settled,
                attempt_id=attempt_id,
                number=hold.number,
                amount=amount,
                input_tokens=spent.input_tokens,
                output_tokens=spent.output_tokens,
                held=hold.amount,
                held_input_tokens=hold.input_tokens,
                held_output_tokens=hold.output_tokens,
                waiting=len(self.parked),
            )
        else:
            self._adjust(attempt_id, hold, spent)
        self._announce_thresholds()

    def rebook(
        self, attempt_id: UUID, number: int, delta: Decimal, input_delta: int = 0, output_delta: int = 0
    ) -> None:
        """Correct what a settled attempt counts as, in the windows that still count it."""
        if delta or input_delta or output_delta:
            facts = self._corrected(attempt_id, number, delta, input_delta, output_delta)
            self.trigger_event(Budget.Rebooked, **facts)
            self._announce_thresholds()

    def release(self, attempt_id: UUID) -> None:
        """Free an attempt's hold, because it certainly cost nothing; after its expiry, take back what was counted."""
        if hold := self.holds.get(attempt_id):
            self.trigger_event(Budget.Released, attempt_id=attempt_id, waiting=len(self.parked), **hold.facts())
        elif late := self.expired.get(attempt_id):
            self._adjust(attempt_id, late, Charge(usd=ZERO))

    def expire(self, attempt_id: UUID, now: datetime) -> None:
        """Count a hold whose time is over as spent in full."""
        hold = self.check_expired(attempt_id, now)
        self.trigger_event(Budget.HoldExpired, attempt_id=attempt_id, waiting=len(self.parked), **hold.facts())
        self._announce_thresholds()

    def roll(self, now: datetime) -> None:
        """Go on to the windows of this moment."""
        if not any(each.next_span(now) for each in self.limits.values()):
            raise Refused("no window of this budget is over", code="not_due")
        self._roll(now)

    def park(self, job_id: UUID, charge: Charge, now: datetime) -> None:
        self._roll(now)
        self.trigger_event(
            Budget.JobParked,
            job_id=job_id,
            requested=charge.usd,
            input_tokens=charge.input_tokens,
            output_tokens=charge.output_tokens,
            rolls_at=self.next_roll(now, self.limits.values()),
        )

    def unpark(self, job_id: UUID, now: datetime, *, more: bool = False) -> None:
        """Let a job go; where `more` fit, the others are to be looked at again at once."""
        if job_id in self.parked:
            others = len(self.parked) > 1
            rolls_at = self.next_roll(now, self.limits.values()) if others else None
            self.trigger_event(Budget.JobUnparked, job_id=job_id, rolls_at=now if more else rolls_at)

    def _adjust(self, attempt_id: UUID, hold: Hold, spent: Charge) -> None:
        tokens = (spent.input_tokens - hold.input_tokens, spent.output_tokens - hold.output_tokens)
        facts = self._corrected(attempt_id, hold.number, spent.usd - hold.amount, *tokens)
        self.trigger_event(Budget.Adjusted, **facts)

    def _corrected(self, attempt_id: UUID, number: int, delta: Decimal, read: int, written: int) -> dict[str, Any]:
        facts = {"attempt_id": attempt_id, "number": number, "waiting": len(self.parked)}
        return facts | {"delta": delta, "input_delta": read, "output_delta": written}

    def _roll(self, now: datetime) -> None:
        for each in list(self.limits.values()):
            if span := each.next_span(now):
                settled, held = each.used(now)
                self.trigger_event(
                    Budget.WindowRolled,
                    name=each.name,
                    span=span,
                    settled=each.settled - settled,
                    held=each.held - held,
                    waiting=len(self.parked),
                    rolls_at=self.rolls_at(now, self.limits.values()),
                )

    def _announce_overdraft(self, attempt_id: UUID, hold: Hold, spent: Charge) -> None:
        held = hold.charge
        # First, so that at no position of the log more is spent than the log explains.
        units: dict[Unit, None] = {each.unit: None for each in self.limits.values()}
        for unit in units:
            if spent.of(unit) > held.of(unit):
                self.trigger_event(
                    Budget.Overdrawn,
                    attempt_id=attempt_id,
                    number=hold.number,
                    unit=unit,
                    amount=spent.of(unit),
                    held=held.of(unit),
                )

    def _announce_thresholds(self) -> None:
        for each in self.limits.values():
            for percent in each.newly_reached():
                self.trigger_event(
                    Budget.ThresholdCrossed,
                    name=each.name,
                    unit=each.unit,
                    percent=percent,
                    limit=each.limit,
                    settled=each.settled,
                    held=each.held,
                )

    # --- appliers ---

    @event(Reopened)
    def _reopened(
        self,
        *,
        limit: Decimal,
        thresholds: list[int],
        name: str,
        unit: Unit,
        window: Window,
        hard: bool,
        span: Span | None,
    ) -> None:
        terms = Terms(name=name, unit=unit, window=window, thresholds=thresholds, hard=hard, span=span)
        known = self.limits.get(name) or Limit.begin(terms, limit, self.made)
        if span and known.ends_at and span.ends_at > known.ends_at:
            known.roll(span, self.made)
        known.hard = hard
        known.take(limit, thresholds)
        self.status, self.limits = "open", {name: known}

    @event(LimitAdded)
    def _limit_added(
        self,
        *,
        limit: Decimal,
        thresholds: list[int],
        name: str,
        unit: Unit,
        window: Window,
        hard: bool,
        span: Span | None,
    ) -> None:
        terms = Terms(name=name, unit=unit, window=window, thresholds=thresholds, hard=hard, span=span)
        self.limits[name] = Limit.begin(terms, limit, self.made)

    @event(LimitChanged)
    def _limit_changed(self, name: str, limit: Decimal) -> None:
        known = self.limits[name]
        known.take(limit, known.thresholds)

    @event(LimitRemoved)
    def _limit_removed(self, name: str) -> None:
        del self.limits[name]

    @event(WindowRolled)
    def _window_rolled(self, name: str, span: Span) -> None:
        self.limits[name].roll(span, self.made)

    @event(Reserved)
    def _reserved(
        self,
        *,
        attempt_id: UUID,
        number: int,
        job_id: UUID,
        amount: Decimal,
        input_tokens: int,
        output_tokens: int,
        expires_at: datetime,
    ) -> None:
        self.made = number
        hold = self.holds[attempt_id] = Hold.model_construct(
            job_id=job_id,
            amount=amount,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            expires_at=expires_at,
            number=number,
        )
        for each in self.limits.values():
            each.hold(hold.number, hold.charge)

    @event(Settled)
    def _settled(self, attempt_id: UUID, amount: Decimal, input_tokens: int, output_tokens: int) -> None:
        spent = Charge(usd=amount, input_tokens=input_tokens, output_tokens=output_tokens)
        self._end_hold(attempt_id, spent)

    @event(Released)
    def _released(self, attempt_id: UUID) -> None:
        self._end_hold(attempt_id, Charge(usd=ZERO))

    @event(HoldExpired)
    def _hold_expired(self, attempt_id: UUID) -> None:
        self.expired[attempt_id] = self._end_hold(attempt_id, None)
        if len(self.expired) > EXPIRED_KEPT:
            del self.expired[next(iter(self.expired))]

    def _end_hold(self, attempt_id: UUID, spent: Charge | None) -> Hold:
        hold = self.holds.pop(attempt_id)
        held = hold.charge
        for each in self.limits.values():
            each.settle(hold.number, held, held if spent is None else spent)
        return hold

    @event(Adjusted)
    def _adjusted(self, attempt_id: UUID, delta: Decimal, input_delta: int, output_delta: int) -> None:
        hold = self.expired.pop(attempt_id)
        deltas = deltas_of(delta, input_delta, output_delta)
        for each in self.limits.values():
            each.adjust(hold.number, deltas[each.unit])

    @event(Rebooked)
    def _rebooked(self, attempt_id: UUID, number: int, delta: Decimal, input_delta: int, output_delta: int) -> None:
        self.expired.pop(attempt_id, None)
        deltas = deltas_of(delta, input_delta, output_delta)
        for each in self.limits.values():
            each.rebook(number, deltas[each.unit])

    @event(ThresholdCrossed)
    def _threshold_crossed(self, name: str, percent: int) -> None:
        self.limits[name].crossed.append(percent)

    @event(JobParked)
    def _job_parked(self, job_id: UUID, requested: Decimal, input_tokens: int, output_tokens: int) -> None:
        self.parked[job_id] = Charge(usd=requested, input_tokens=input_tokens, output_tokens=output_tokens)

    @event(JobUnparked)
    def _job_unparked(self, job_id: UUID) -> None:
        del self.parked[job_id]

    @event(Overdrawn)
    def _overdrawn(self, number: int, unit: Unit, amount: Decimal, held: Decimal) -> None:
        for each in self.limits.values():
            if each.unit == unit:
                each.overdraw(number, amount - held)

    @event(Closed)
    def _closed(self) -> None:
        self.status = "closed"
