"""The books of a budget: its limits, its holds, who waits; what fits and what does not."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from domain.budgets.limits import Limit
from domain.charges import Charge, Shortfall, Tokens, Unit, told
from domain.errors import NotFound, Refused
from domain.ids import Scope, budget_id
from domain.values import Amount, Instant, Value, money_text


class Hold(Value):
    """What is set aside for one attempt until its outcome is known or its time is over."""

    job_id: UUID
    amount: Amount
    input_tokens: Tokens
    output_tokens: Tokens
    expires_at: Instant
    number: int
    """The how manieth of this budget: by it each limit knows the window that the hold was made in."""

    @property
    def charge(self) -> Charge:
        """All that is held."""
        return Charge(usd=self.amount, input_tokens=self.input_tokens, output_tokens=self.output_tokens)

    def facts(self) -> dict[str, Any]:
        """What an event says of it when it ends."""
        return {"number": self.number, "amount": self.amount} | {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
        }


class Ledger:
    """The state of a budget, and all that can be asked of it without changing it."""

    project_id: UUID | None
    scope: Scope
    status: Literal["open", "closed"]
    limits: dict[str, Limit]
    made: int
    holds: dict[UUID, Hold]
    expired: dict[UUID, Hold]
    parked: dict[UUID, Charge]

    @property
    def is_open(self) -> bool:
        """Whether it limits its scope."""
        return self.status == "open"

    @property
    def first(self) -> Limit:
        """The oldest limit: where there is but one, the budget itself."""
        return next(iter(self.limits.values()))

    @property
    def limit(self) -> Decimal:
        """How high the first limit is."""
        return self.first.limit

    @property
    def thresholds(self) -> list[int]:
        """Percentages of the first limit that somebody wants to hear of."""
        return self.first.thresholds

    @property
    def crossed(self) -> list[int]:
        """Those that were told."""
        return self.first.crossed

    @property
    def settled(self) -> Decimal:
        """Spent for good under the first limit."""
        return self.first.settled

    @property
    def held(self) -> Decimal:
        """Set aside under the first limit."""
        return self.first.held

    @property
    def overdrawn(self) -> Decimal:
        """Charged over holds under the first limit."""
        return self.first.overdrawn

    @property
    def headroom(self) -> Decimal:
        """What may still be held under the first limit."""
        return self.limit - self.settled - self.held

    def shortfall(self, charge: Charge, now: datetime) -> Shortfall | None:
        """The limit that has no room for this; of several the one whose window ends last. A closed budget has room."""
        found: Shortfall | None = None
        for each in self.limits.values() if self.is_open else ():
            requested = charge.of(each.unit)
            if not each.hard or requested <= each.headroom(now):
                continue
            settled, held = each.used(now)
            lack = Shortfall(
                budget_id=budget_id(self.scope),
                scope=self.scope.label,
                name=each.name,
                unit=each.unit,
                window=each.window.label,
                limit=each.limit,
                settled=settled,
                held=held,
                requested=requested,
                retry_at=each.next_roll(now) if requested <= each.limit else None,
            )
            if found is None or lack.retry_at is None or (found.retry_at and lack.retry_at > found.retry_at):
                found = lack
            if found.retry_at is None:
                break
        return found

    def named(self, name: str | None) -> Limit:
        """One limit; without a name the only one."""
        if name is None and len(self.limits) > 1:
            raise Refused(f"say which limit: {', '.join(self.limits)}", code="which_limit", names=list(self.limits))
        known = self.first if name is None else self.limits.get(name)
        if known is None:
            raise NotFound(f"this budget has no limit {name}; it has {', '.join(self.limits)}")
        return known

    def check_expired(self, attempt_id: UUID, now: datetime) -> Hold:
        """The open hold of an attempt, when its time is over."""
        hold = self.holds.get(attempt_id)
        if hold is None or now < hold.expires_at:
            raise Refused(f"no hold of attempt {attempt_id} is overdue", code="not_due")
        return hold

    def resumable(self, now: datetime, idle: Collection[UUID] = ()) -> Sequence[UUID]:
        """Jobs that wait here and would fit now, the longest waiting first, all of them together.

        The `idle` ones will not be admitted for now: they take no room away from those behind them.
        """
        limits = [each for each in self.limits.values() if each.hard] if self.is_open else []
        left = [each.headroom(now) for each in limits]
        found = list[UUID]()
        for job_id, requested in self.parked.items():
            wanted = [requested.of(each.unit) for each in limits]
            if all(want <= room for want, room in zip(wanted, left, strict=True)):
                found.append(job_id)
                if job_id not in idle:
                    left = [room - want for want, room in zip(wanted, left, strict=True)]
        return found

    def rolls_at(self, now: datetime, limits: Iterable[Limit]) -> datetime | None:
        """When those that wait are to be looked at again."""
        return self.next_roll(now, limits) if self.parked else None

    def next_roll(self, now: datetime, limits: Iterable[Limit]) -> datetime | None:
        """When the first window of these ends."""
        return min((at for each in limits if each.hard and (at := each.next_roll(now))), default=None)

    def must_be_open(self) -> None:
        """Refuse where nothing is limited."""
        if not self.is_open:
            raise Refused(f"the budget of {self.scope.label} is closed: open it again first", code="budget_closed")


def check_whole(limit: Decimal, unit: Unit) -> None:
    """A limit in tokens is a whole number."""
    if unit != "usd" and limit != limit.to_integral_value():
        raise Refused(f"a limit in {unit.replace('_', ' ')} is a whole number", code="invalid_limit")


def check_limit(known: Limit | None, limit: Decimal, now: datetime, *, hard: bool) -> None:
    """Refuse a hard limit below what is settled and held."""
    if known is None or not hard:
        return
    settled, held = known.used(now)
    smallest = settled + held
    if limit < smallest:
        raise Refused(
            f"{told(settled, known.unit)} are spent and {told(held, known.unit)} are held: "
            f"the smallest limit possible now is {told(smallest, known.unit)}",
            code="limit_below_spent",
            smallest=money_text(smallest),
        )
