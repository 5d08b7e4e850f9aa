"""One limit of a budget: so much of a unit in a window, and what of that is settled and held."""

import re
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Self

from pydantic import BaseModel, Field

from domain.charges import Charge, Unit
from domain.values import ZERO, Instant, Money, Slug, Value
from domain.windows import Span, Window

Percent = Annotated[int, Field(ge=1, le=100)]
_NOT_SLUG = re.compile(r"[^a-z0-9]+")


def name_of(unit: Unit, window: Window) -> str:
    """What a limit is called: `usd-lifetime`, `total-tokens-day-europe-berlin`; a budget has one of each."""
    # Zones may differ by their sign alone: Etc/GMT+5 and Etc/GMT-5.
    return _NOT_SLUG.sub("-", f"{unit} {window.label}".lower().replace("+", "-plus-")).strip("-")[:63]


class Terms(Value):
    """What a limit is, apart from how high."""

    name: Slug
    unit: Unit
    window: Window
    thresholds: list[Percent]
    hard: bool
    span: Span | None

    @classmethod
    def of(cls, unit: Unit, window: Window, thresholds: Sequence[int], *, hard: bool, now: datetime) -> Self:
        """The terms of a limit that begins now."""
        return cls(
            name=name_of(unit, window),
            unit=unit,
            window=window,
            thresholds=sorted(set(thresholds)),
            hard=hard,
            span=window.span(now),
        )


class Bucket(BaseModel):
    """A part of a window: what was held in it, and what of that is settled. Not frozen: it changes with every hold."""

    after: int
    """Holds count here that were made later than this one."""
    begins_at: Instant | None
    settled: Money = ZERO
    held: Money = ZERO
    overdrawn: Money = ZERO


class Limit(BaseModel):
    """How full it is. Whatever is held counts in the part of the window that it was made in, however late it settles.

    Like a bucket it changes in place, and only in appliers.
    """

    name: str
    unit: Unit
    window: Window
    limit: Money
    thresholds: list[int]
    crossed: list[int]
    hard: bool
    ends_at: Instant | None
    buckets: list[Bucket]

    @classmethod
    def begin(cls, terms: Terms, limit: Decimal, after: int) -> Self:
        """An empty one."""
        span = terms.span
        return cls.model_construct(
            name=terms.name,
            unit=terms.unit,
            window=terms.window,
            limit=limit,
            thresholds=terms.thresholds,
            crossed=[],
            hard=terms.hard,
            ends_at=span.ends_at if span else None,
            buckets=[Bucket.model_construct(after=after, begins_at=span.begins_at if span else None)],
        )

    @property
    def settled(self) -> Decimal:
        """Spent for good in this window."""
        return sum((each.settled for each in self.buckets), ZERO)

    @property
    def held(self) -> Decimal:
        """Set aside in this window for attempts in flight."""
        return sum((each.held for each in self.buckets), ZERO)

    @property
    def overdrawn(self) -> Decimal:
        """What providers charged over their holds."""
        return sum((each.overdrawn for each in self.buckets), ZERO)

    def next_span(self, now: datetime) -> Span | None:
        """The window to roll to; None while the present one lasts, so that a clock set back changes nothing."""
        return self.window.span(now) if self.ends_at is not None and now >= self.ends_at else None

    def used(self, now: datetime) -> tuple[Decimal, Decimal]:
        """Settled and held as they are when the window that is due has rolled."""
        span = self.next_span(now)
        if span is None:
            return self.settled, self.held
        left = self._kept(span)
        return sum((each.settled for each in left), ZERO), sum((each.held for each in left), ZERO)

    def headroom(self, now: datetime) -> Decimal:
        """What may still be held; less than nothing after an overdraft."""
        settled, held = self.used(now)
        return self.limit - settled - held

    def next_roll(self, now: datetime) -> datetime | None:
        """When the window of that moment ends."""
        span = self.next_span(now)
        return span.ends_at if span else self.ends_at

    def reached(self, percent: int) -> bool:
        """Whether so much of it is spent."""
        settled = self.settled
        return settled > 0 and settled * 100 >= self.limit * percent

    def newly_reached(self) -> list[int]:
        """Percentages to tell of."""
        return [each for each in self.thresholds if each not in self.crossed and self.reached(each)]

    # --- for appliers ---

    def bucket(self, number: int) -> Bucket | None:
        """Where the hold of this number counts; None where its window is over, or before the limit began."""
        return next((each for each in reversed(self.buckets) if number > each.after), None)

    def hold(self, number: int, charge: Charge) -> None:
        """Set aside."""
        if bucket := self.bucket(number):
            bucket.held += charge.of(self.unit)

    def settle(self, number: int, held: Charge, spent: Charge) -> None:
        """In place of a hold, what it came to."""
        if bucket := self.bucket(number):
            bucket.held -= held.of(self.unit)
            bucket.settled += spent.of(self.unit)

    def adjust(self, number: int, delta: Decimal) -> None:
        """Correct what an expired hold was settled at."""
        if bucket := self.bucket(number):
            bucket.settled += delta

    def rebook(self, number: int, delta: Decimal) -> None:
        """Correct what an attempt was settled at; what the limit has no room for explains itself."""
        if bucket := self.bucket(number):
            bucket.settled += delta
            bucket.overdrawn += max(Decimal(0), self.settled + self.held - self.limit - self.overdrawn)

    def overdraw(self, number: int, excess: Decimal) -> None:
        """Explain what is spent beyond a hold."""
        if bucket := self.bucket(number):
            bucket.overdrawn += excess

    def take(self, limit: Decimal, thresholds: list[int]) -> None:
        """Another amount: nothing is overdrawn under it, and thresholds that are no longer reached may be again."""
        self.limit, self.thresholds = limit, thresholds
        for bucket in self.buckets:
            bucket.overdrawn = ZERO
        self._forget_crossed()

    def roll(self, span: Span, after: int) -> None:
        """Into the next window, or part of one."""
        self.buckets = [*self._kept(span), Bucket.model_construct(after=after, begins_at=span.begins_at)]
        self.ends_at = span.ends_at
        self._forget_crossed()

    def _kept(self, span: Span) -> list[Bucket]:
        return [each for each in self.buckets if each.begins_at is None or each.begins_at >= span.starts_at]

    def _forget_crossed(self) -> None:
        self.crossed = [each for each in self.crossed if each in self.thresholds and self.reached(each)]
