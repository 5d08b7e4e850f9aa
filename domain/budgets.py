"""Budgets: what a scope may spend; money is held before a request is sent and settled by what it really cost."""

from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from domain.errors import BudgetExhausted, Conflict, Refused
from domain.ids import Scope
from domain.kernel import Aggregate, Created, event
from domain.values import ZERO, Amount, Instant, Money, Value, money_text

EXPIRED_KEPT = 500
"""Expired holds whose attempts may still report; an older one stays settled at its bound for good."""
Percent = Annotated[int, Field(ge=1, le=100)]


class Hold(Value):
    """Money set aside for one attempt until its outcome is known or its time is over."""

    job_id: UUID
    amount: Amount
    expires_at: Instant


class Budget(Aggregate):
    """Money that a scope may spend: settled + held never exceeds the limit, unless a provider charges over a hold."""

    TOPIC = "budget"
    FOLD = 1
    project_id: UUID | None
    scope: Scope
    limit: Money
    thresholds: list[int]
    crossed: list[int]
    status: Literal["open", "closed"]
    settled: Money
    held: Money
    overdrawn: Money
    holds: dict[UUID, Hold]
    expired: dict[UUID, Hold]
    parked: dict[UUID, Money]

    class Opened(Created, type="budget.opened"):
        """A scope was given money to spend."""

        scope: Scope
        project_id: UUID | None
        limit: Amount
        thresholds: list[Percent]

    class Reopened(Aggregate.Event, type="budget.reopened"):
        """A closed budget limits its scope again; what it paid before still counts."""

        limit: Amount
        thresholds: list[Percent]

    class LimitChanged(Aggregate.Event, type="budget.limit_changed"):
        """The scope may spend more, or less, than before."""

        limit: Amount
        previous: Amount
        waiting: int

    class Reserved(Aggregate.Event, type="budget.reserved"):
        """The most that an attempt can cost was set aside before it was sent."""

        attempt_id: UUID
        job_id: UUID
        amount: Amount
        expires_at: Instant

    class Settled(Aggregate.Event, type="budget.settled"):
        """What an attempt really cost replaced what was held for it."""

        attempt_id: UUID
        amount: Amount
        held: Amount
        waiting: int

    class Released(Aggregate.Event, type="budget.released"):
        """An attempt certainly cost nothing, so its hold is free again."""

        attempt_id: UUID
        amount: Amount
        waiting: int

    class HoldExpired(Aggregate.Event, type="budget.hold_expired"):
        """Nobody said what an attempt cost in time, so all that was held for it counts as spent."""

        attempt_id: UUID
        amount: Amount
        waiting: int

    class Adjusted(Aggregate.Event, type="budget.adjusted"):
        """The real cost of an attempt arrived after its hold had expired and corrected what was spent."""

        attempt_id: UUID
        delta: Money
        waiting: int

    class ThresholdCrossed(Aggregate.Event, type="budget.threshold_crossed"):
        """Spending reached a percentage of the limit that somebody wants to hear of."""

        percent: Percent
        limit: Amount
        settled: Amount
        held: Amount

    class JobParked(Aggregate.Event, type="budget.job_parked"):
        """A job waits, because what it may cost does not fit under the limit."""

        job_id: UUID
        requested: Amount

    class JobUnparked(Aggregate.Event, type="budget.job_unparked"):
        """A job no longer waits for this budget."""

        job_id: UUID

    class Overdrawn(Aggregate.Event, type="budget.overdrawn"):
        """A provider charges more than the most that was held: the bound or the rate is wrong."""

        attempt_id: UUID
        amount: Amount
        held: Amount

    class Closed(Aggregate.Event, type="budget.closed"):
        """The scope is no longer limited by this budget; holds that are open still settle."""

        waiting: int

    # --- decisions ---

    @event(Opened)
    def __init__(
        self,
        id: UUID,  # noqa: ARG002 -- the library's name for it
        scope: Scope,
        project_id: UUID | None,
        limit: Decimal,
        thresholds: list[int],
    ) -> None:
        self.scope, self.project_id, self.limit, self.thresholds = scope, project_id, limit, thresholds
        self.status = "open"
        self.settled = self.held = self.overdrawn = ZERO
        self.crossed, self.holds, self.expired, self.parked = [], {}, {}, {}

    @property
    def is_open(self) -> bool:
        """Whether it limits its scope."""
        return self.status == "open"

    @property
    def headroom(self) -> Decimal:
        """What may still be held; less than nothing after an overdraft."""
        return self.limit - self.settled - self.held

    def fits(self, amount: Decimal) -> bool:
        """Whether this much may be held now. A closed budget lets everything pass."""
        return not self.is_open or amount <= self.headroom

    def reopen(self, limit: Decimal, thresholds: list[int]) -> None:
        if self.is_open:
            raise Conflict(f"{self.scope.label} has a budget already: change its limit ({self.id})")
        self._check_limit(limit)
        self.trigger_event(Budget.Reopened, limit=limit, thresholds=thresholds)
        self._announce_thresholds()

    def change_limit(self, limit: Decimal) -> None:
        self._must_be_open()
        self._check_limit(limit)
        if limit == self.limit:
            return
        self.trigger_event(Budget.LimitChanged, limit=limit, previous=self.limit, waiting=len(self.parked))
        self._announce_thresholds()

    def close(self) -> None:
        self._must_be_open()
        self.trigger_event(Budget.Closed, waiting=len(self.parked))

    def reserve(self, attempt_id: UUID, *, job_id: UUID, amount: Decimal, expires_at: datetime) -> None:
        """Hold the most that an attempt can cost. Check `fits` of every budget before the first one reserves."""
        self._must_be_open()
        if attempt_id in self.holds or attempt_id in self.expired:
            raise Refused(f"attempt {attempt_id} has its hold already", code="not_due")
        if not self.fits(amount):
            raise BudgetExhausted(
                f"{self.scope.label}: {money_text(amount)} USD do not fit, {money_text(self.headroom)} USD are left; "
                "raise the limit (toybox budgets)",
                budget_id=str(self.id),
            )
        self.trigger_event(Budget.Reserved, attempt_id=attempt_id, job_id=job_id, amount=amount, expires_at=expires_at)

    def account(self, attempt_id: UUID, amount: Decimal) -> None:
        """Count what an attempt really cost, once: in place of its hold, or of the bound that its hold expired at."""
        hold = self.holds.get(attempt_id) or self.expired.get(attempt_id)
        if hold is None:
            return
        if amount > hold.amount:
            # First, so that at no position of the log more is spent than the log explains.
            self.trigger_event(Budget.Overdrawn, attempt_id=attempt_id, amount=amount, held=hold.amount)
        if attempt_id in self.holds:
            self.trigger_event(
                Budget.Settled, attempt_id=attempt_id, amount=amount, held=hold.amount, waiting=len(self.parked)
            )
        else:
            self._adjust(attempt_id, amount - hold.amount)
        self._announce_thresholds()

    def release(self, attempt_id: UUID) -> None:
        """Free an attempt's hold, because it certainly cost nothing; after its expiry, take back what was counted."""
        if hold := self.holds.get(attempt_id):
            self.trigger_event(Budget.Released, attempt_id=attempt_id, amount=hold.amount, waiting=len(self.parked))
        elif late := self.expired.get(attempt_id):
            self._adjust(attempt_id, -late.amount)

    def expire(self, attempt_id: UUID, now: datetime) -> None:
        """Count a hold whose time is over as spent in full."""
        hold = self.check_expired(attempt_id, now)
        self.trigger_event(Budget.HoldExpired, attempt_id=attempt_id, amount=hold.amount, waiting=len(self.parked))
        self._announce_thresholds()

    def check_expired(self, attempt_id: UUID, now: datetime) -> Hold:
        """The open hold of an attempt, when its time is over."""
        hold = self.holds.get(attempt_id)
        if hold is None or now < hold.expires_at:
            raise Refused(f"no hold of attempt {attempt_id} is overdue", code="not_due")
        return hold

    def park(self, job_id: UUID, requested: Decimal) -> None:
        self.trigger_event(Budget.JobParked, job_id=job_id, requested=requested)

    def unpark(self, job_id: UUID) -> None:
        if job_id in self.parked:
            self.trigger_event(Budget.JobUnparked, job_id=job_id)

    def resumable(self, idle: Collection[UUID] = ()) -> Sequence[UUID]:
        """Jobs that wait here and would fit now, the longest waiting first, all of them together.

        The `idle` ones will not be admitted for now: they take no room away from those behind them.
        """
        left, found = self.headroom, list[UUID]()
        for job_id, requested in self.parked.items():
            if not self.is_open or requested <= left:
                found.append(job_id)
                left -= 0 if job_id in idle else requested
        return found

    def _adjust(self, attempt_id: UUID, delta: Decimal) -> None:
        self.trigger_event(Budget.Adjusted, attempt_id=attempt_id, delta=delta, waiting=len(self.parked))

    def _must_be_open(self) -> None:
        if not self.is_open:
            raise Refused(f"the budget of {self.scope.label} is closed: open it again first", code="budget_closed")

    def _check_limit(self, limit: Decimal) -> None:
        smallest = self.settled + self.held
        if limit < smallest:
            raise Refused(
                f"{money_text(self.settled)} USD are spent and {money_text(self.held)} USD are held: "
                f"the smallest limit possible now is {money_text(smallest)} USD",
                code="limit_below_spent",
                smallest=money_text(smallest),
            )

    def _announce_thresholds(self) -> None:
        for percent in self.thresholds:
            if percent not in self.crossed and self._reached(percent):
                self.trigger_event(
                    Budget.ThresholdCrossed, percent=percent, limit=self.limit, settled=self.settled, held=self.held
                )

    def _reached(self, percent: int) -> bool:
        return self.settled > 0 and self.settled * 100 >= self.limit * percent

    # --- appliers ---

    @event(Reopened)
    def _reopened(self, limit: Decimal, thresholds: list[int]) -> None:
        self.status, self.thresholds = "open", thresholds
        self._take_limit(limit)

    @event(LimitChanged)
    def _limit_changed(self, limit: Decimal) -> None:
        self._take_limit(limit)

    def _take_limit(self, limit: Decimal) -> None:
        self.limit, self.overdrawn = limit, ZERO
        self.crossed = [percent for percent in self.crossed if percent in self.thresholds and self._reached(percent)]

    @event(Reserved)
    def _reserved(self, attempt_id: UUID, job_id: UUID, amount: Decimal, expires_at: datetime) -> None:
        self.holds[attempt_id] = Hold(job_id=job_id, amount=amount, expires_at=expires_at)
        self.held += amount

    @event(Settled)
    def _settled(self, attempt_id: UUID, amount: Decimal) -> None:
        self.held -= self.holds.pop(attempt_id).amount
        self.settled += amount

    @event(Released)
    def _released(self, attempt_id: UUID) -> None:
        self.held -= self.holds.pop(attempt_id).amount

    @event(HoldExpired)
    def _hold_expired(self, attempt_id: UUID, amount: Decimal) -> None:
        hold = self.holds.pop(attempt_id)
        self.held -= hold.amount
        self.settled += amount
        self.expired[attempt_id] = hold
        if len(self.expired) > EXPIRED_KEPT:
            del self.expired[next(iter(self.expired))]

    @event(Adjusted)
    def _adjusted(self, attempt_id: UUID, delta: Decimal) -> None:
        del self.expired[attempt_id]
        self.settled += delta

    @event(ThresholdCrossed)
    def _threshold_crossed(self, percent: int) -> None:
        self.crossed.append(percent)

    @event(JobParked)
    def _job_parked(self, job_id: UUID, requested: Decimal) -> None:
        self.parked[job_id] = requested

    @event(JobUnparked)
    def _job_unparked(self, job_id: UUID) -> None:
        del self.parked[job_id]

    @event(Overdrawn)
    def _overdrawn(self, amount: Decimal, held: Decimal) -> None:
        self.overdrawn += amount - held

    @event(Closed)
    def _closed(self) -> None:
        self.status = "closed"
