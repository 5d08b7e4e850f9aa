"""Books what facts add to the sums, and takes it back: the one place where money and counts get into reports."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final, Protocol, Self
from uuid import UUID

from domain.pricing import BUCKETS, INPUT, OUTPUT
from domain.pricing.usage import CACHE_READS
from domain.values import ZERO
from projections.costs.sums import MOVE, MOVE_USES
from projections.projector import Connection
from projections.rows import as_json

Place = tuple[datetime, UUID | None, str | None, UUID | None, str, str, UUID | None, str | None]
"""Where something is booked: its quarter of an hour, then the values of all dimensions."""
_WRITES: Final = frozenset(each for each in BUCKETS if "_cache_write_" in each)
BESIDES: Final = frozenset(BUCKETS) - {"input", "input_cache_read", "output", *_WRITES}
"""Buckets that no column of the sums shows: they are counted each by itself."""


@dataclass(slots=True)
class Counted:
    """Usage as JSON, added up over its passes."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    besides: dict[str, int] = field(default_factory=dict[str, int])

    @classmethod
    def of(cls, usage: Mapping[str, Any]) -> Self:
        """What `domain.pricing.Usage` says, without making one."""
        counted = cls()
        for each in usage["passes"]:
            for found in each["quantities"]:
                bucket: str = found["bucket"]
                quantity: int = found["quantity"]
                if bucket in INPUT:
                    counted.input_tokens += quantity
                elif bucket in OUTPUT:
                    counted.output_tokens += quantity
                if bucket in CACHE_READS:
                    counted.cached_tokens += quantity
                if bucket in _WRITES:
                    counted.cache_write_tokens += quantity
                elif bucket in BESIDES:
                    counted.besides[bucket] = counted.besides.get(bucket, 0) + quantity
        return counted


class Bookable(Protocol):
    """A fact, as far as sums are about it."""

    recorded_at: datetime
    project_id: UUID | None
    phase: str | None
    agent_id: UUID | None
    provider: str
    model: str
    key_id: UUID | None
    tier: str | None
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None
    usage: dict[str, Any] | None
    amount: Decimal
    estimated: bool


@dataclass(slots=True)
class At:
    """A place: a quarter of an hour, and one choice of all dimensions."""

    begins: datetime
    project_id: UUID | None
    phase: str | None
    agent_id: UUID | None
    provider: str
    model: str
    key_id: UUID | None
    tier: str | None


@dataclass(slots=True)
class Change(At):
    """What sums change by there."""

    attempts: int = 0
    estimated: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    amount: Decimal = ZERO
    estimated_amount: Decimal = ZERO


@dataclass(slots=True)
class UseChange(At):
    """The same for something that is counted besides tokens of text."""

    bucket: str
    quantity: int = 0


class Booking:
    """What a batch changes, added up before it is written."""

    def __init__(self) -> None:
        self._changes: dict[Place, Change] = {}
        self._uses: dict[tuple[Place, str], UseChange] = {}

    def change(self, before: Bookable, after: Bookable, booked_on: date) -> None:
        """Put a fact in another's place; on a later day than its own where its month is closed, as a reversal there."""
        at = None if booked_on == before.recorded_at.astimezone(UTC).date() else _midnight(booked_on)
        self.add(before, -1, at)
        self.add(after, 1, at)

    def add(self, fact: Bookable, sign: int = 1, at: datetime | None = None) -> None:
        """Count a fact where it was recorded, or at that time; with -1 take it back, which leaves a sum of nothing."""
        place = _place(fact, at or fact.recorded_at)
        change = self._change(place)
        change.attempts += sign
        change.amount += sign * fact.amount
        if fact.estimated:
            change.estimated += sign
            change.estimated_amount += sign * fact.amount
        change.input_tokens += sign * (fact.input_tokens or 0)
        change.output_tokens += sign * (fact.output_tokens or 0)
        change.cached_tokens += sign * (fact.cached_tokens or 0)
        change.reasoning_tokens += sign * (fact.reasoning_tokens or 0)
        if fact.usage:
            counted = Counted.of(fact.usage)
            change.cache_write_tokens += sign * counted.cache_write_tokens
            for bucket, quantity in counted.besides.items():
                use = self._uses.setdefault((place, bucket), UseChange(*place, bucket))
                use.quantity += sign * quantity

    async def post(self, connection: Connection) -> None:
        """Move the sums."""
        if self._changes:
            await connection.execute(MOVE, [as_json(list(self._changes.values()))])
        if self._uses:
            await connection.execute(MOVE_USES, [as_json(list(self._uses.values()))])

    def _change(self, place: Place) -> Change:
        found = self._changes.get(place)
        if found is None:
            found = self._changes[place] = Change(*place)
        return found


def quarter(moment: datetime) -> datetime:
    """The beginning of the quarter of an hour that it lies in: where each day of any time zone begins, too."""
    utc = moment.astimezone(UTC)
    return utc.replace(minute=utc.minute - utc.minute % 15, second=0, microsecond=0)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _place(fact: Bookable, at: datetime) -> Place:
    return (
        quarter(at),
        fact.project_id,
        fact.phase,
        fact.agent_id,
        fact.provider,
        fact.model,
        fact.key_id,
        fact.tier,
    )
