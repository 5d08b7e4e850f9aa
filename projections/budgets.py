"""Answers "what may this scope still spend, and who waits for it?": one view per budget, with all of its limits."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import ClassVar, Literal
from uuid import UUID

from pydantic import computed_field

from domain.budgets import Budget, Limit, Terms, Window
from domain.charges import Charge, Unit, deltas_of
from domain.ids import Scope, ScopeKind
from domain.log import StoredEvent
from domain.values import ZERO, Instant, Money
from projections.documents import Column, Document, Row
from projections.listing import bounded
from projections.paging import Page
from projections.projector import Connection, on
from projections.views import View, without

HOURS_KEPT = 24
"""Hours of spending that are kept, for forecasts."""


class ParkedJob(View):
    """A job that waits for room."""

    job_id: UUID
    requested: Money
    input_tokens: int
    output_tokens: int
    since: Instant


class HourSpent(View):
    """What settled in one hour."""

    begins_at: Instant
    amount: Money


class Part(View):
    """A part of a window: a lifetime and a calendar window have one, a rolling window many."""

    after: int
    begins_at: Instant | None
    settled: Money = ZERO
    held: Money = ZERO
    overdrawn: Money = ZERO


class LimitState(View):
    """One limit in its present window. Settled is spent for good, held is set aside for attempts in flight."""

    name: str
    unit: Unit
    window: Window
    hard: bool
    limit: Money
    settled: Money = ZERO
    held: Money = ZERO
    overdrawn: Money = ZERO
    """What providers charged over their holds since the limit was last set."""
    thresholds: tuple[int, ...]
    """Percentages of the limit that somebody wants to hear of."""
    crossed: tuple[int, ...] = ()
    ends_at: Instant | None
    """When its window ends; what is told here is of that window until something happens in the next."""
    parts: tuple[Part, ...] = ()
    hours: tuple[HourSpent, ...] = ()

    @computed_field
    @property
    def headroom(self) -> Money:
        """What may still be held; less than nothing after an overdraft."""
        return self.limit - self.settled - self.held

    def books(self) -> Limit:
        """The same as a budget keeps it."""
        told = self.model_dump(include=set(Limit.model_fields)) | {"buckets": [dict(each) for each in self.parts]}
        return Limit.model_validate(told)

    @classmethod
    def of(cls, books: Limit, hours: tuple[HourSpent, ...] = ()) -> "LimitState":
        """As it is shown."""
        return cls(
            name=books.name,
            unit=books.unit,
            window=books.window,
            hard=books.hard,
            limit=books.limit,
            settled=books.settled,
            held=books.held,
            overdrawn=books.overdrawn,
            thresholds=tuple(books.thresholds),
            crossed=tuple(books.crossed),
            ends_at=books.ends_at,
            parts=tuple(Part.model_validate(dict(each)) for each in books.buckets),
            hours=hours,
        )


class BudgetState(View):
    """One budget. Its own limit, settled and held are those of its first limit, which often is the only one."""

    id: UUID
    scope: Scope
    kind: ScopeKind
    project_id: UUID | None
    status: Literal["open", "closed"] = "open"
    unit: Unit
    limit: Money
    settled: Money = ZERO
    held: Money = ZERO
    open_holds: int = 0
    overdrawn: Money = ZERO
    thresholds: tuple[int, ...]
    crossed: tuple[int, ...] = ()
    limits: tuple[LimitState, ...]
    made: int = 0
    """Holds so far."""
    parked: tuple[ParkedJob, ...] = ()
    """The longest waiting first."""
    opened_at: Instant
    version: int = 1

    @computed_field
    @property
    def headroom(self) -> Money:
        """What may still be held; less than nothing after an overdraft."""
        return self.limit - self.settled - self.held


class BudgetStates(Document[BudgetState]):
    """Answers "what may this scope still spend, and who waits for it?": one view per budget."""

    name = "budget_states"
    begins = Budget.Opened
    columns: ClassVar[Mapping[str, Column]] = {"kind": Column(), "status": Column(), "opened_at": Column()}
    indexes: ClassVar[Sequence[Sequence[str]]] = (("project_id", "opened_at"), ("opened_at",))

    @on(Budget.Opened)
    def opened(self, _view: None, event: Budget.Opened, stored: StoredEvent) -> BudgetState:
        """Its first limit."""
        first = LimitState.of(Limit.begin(_terms(event), event.limit, 0))
        return BudgetState(
            id=stored.stream_id,
            scope=event.scope,
            kind=event.scope.kind,
            project_id=event.project_id,
            unit=first.unit,
            limit=first.limit,
            thresholds=first.thresholds,
            limits=(first,),
            opened_at=stored.recorded_at,
        )

    @on(Budget.Reopened)
    def reopened(self, view: BudgetState, event: Budget.Reopened, _stored: StoredEvent) -> BudgetState:
        """It limits again, in this way only."""
        known = next((each for each in view.limits if each.name == event.name), None)
        books = known.books() if known else Limit.begin(_terms(event), event.limit, view.made)
        if event.span and books.ends_at and event.span.ends_at > books.ends_at:
            books.roll(event.span, view.made)
        books.hard = event.hard
        books.take(event.limit, event.thresholds)
        return _with(view.but(status="open"), (LimitState.of(books, known.hours if known else ()),))

    @on(Budget.LimitAdded)
    def limit_added(self, view: BudgetState, event: Budget.LimitAdded, _stored: StoredEvent) -> BudgetState:
        """One more."""
        return _with(view, (*view.limits, LimitState.of(Limit.begin(_terms(event), event.limit, view.made))))

    @on(Budget.LimitChanged)
    def limit_changed(self, view: BudgetState, event: Budget.LimitChanged, _stored: StoredEvent) -> BudgetState:
        """More, or less."""
        return _change(view, lambda books: books.take(event.limit, books.thresholds), only=event.name)

    @on(Budget.LimitRemoved)
    def limit_removed(self, view: BudgetState, event: Budget.LimitRemoved, _stored: StoredEvent) -> BudgetState:
        """One less."""
        return _with(view, tuple(each for each in view.limits if each.name != event.name))

    @on(Budget.WindowRolled)
    def window_rolled(self, view: BudgetState, event: Budget.WindowRolled, _stored: StoredEvent) -> BudgetState:
        """The next window."""
        return _change(view, lambda books: books.roll(event.span, view.made), only=event.name)

    @on(Budget.Closed)
    def closed(self, view: BudgetState, _event: Budget.Closed, _stored: StoredEvent) -> BudgetState:
        """It limits no longer."""
        return view.but(status="closed")

    @on(Budget.Reserved)
    def reserved(self, view: BudgetState, event: Budget.Reserved, _stored: StoredEvent) -> BudgetState:
        """Set aside."""
        held = _charge(event.amount, event.input_tokens, event.output_tokens)
        after = view.but(open_holds=view.open_holds + 1, made=event.number)
        return _change(after, lambda books: books.hold(event.number, held))

    @on(Budget.Settled)
    def settled(self, view: BudgetState, event: Budget.Settled, stored: StoredEvent) -> BudgetState:
        """The cost in place of the hold."""
        held = _charge(event.held, event.held_input_tokens, event.held_output_tokens)
        spent = _charge(event.amount, event.input_tokens, event.output_tokens)
        return _end_hold(view, event.number, held, spent, stored.recorded_at)

    @on(Budget.Released)
    def released(self, view: BudgetState, event: Budget.Released, stored: StoredEvent) -> BudgetState:
        """Nothing was spent."""
        held = _charge(event.amount, event.input_tokens, event.output_tokens)
        return _end_hold(view, event.number, held, Charge(usd=ZERO), stored.recorded_at)

    @on(Budget.HoldExpired)
    def hold_expired(self, view: BudgetState, event: Budget.HoldExpired, stored: StoredEvent) -> BudgetState:
        """All of the hold counts."""
        held = _charge(event.amount, event.input_tokens, event.output_tokens)
        return _end_hold(view, event.number, held, held, stored.recorded_at)

    @on(Budget.Adjusted)
    def adjusted(self, view: BudgetState, event: Budget.Adjusted, _stored: StoredEvent) -> BudgetState:
        """The cost of an expired hold came late."""
        deltas: dict[Unit, Decimal] = {
            "usd": event.delta,
            "input_tokens": Decimal(event.input_delta),
            "output_tokens": Decimal(event.output_delta),
            "total_tokens": Decimal(event.input_delta + event.output_delta),
        }
        return _change(view, lambda books: books.adjust(event.number, deltas[books.unit]))

    @on(Budget.Rebooked)
    def rebooked(self, view: BudgetState, event: Budget.Rebooked, _stored: StoredEvent) -> BudgetState:
        """What a settled attempt counts as was wrong."""
        deltas = deltas_of(event.delta, event.input_delta, event.output_delta)
        return _change(view, lambda books: books.rebook(event.number, deltas[books.unit]))

    @on(Budget.ThresholdCrossed)
    def threshold_crossed(self, view: BudgetState, event: Budget.ThresholdCrossed, _stored: StoredEvent) -> BudgetState:
        """So much of a limit is spent."""
        return _change(view, lambda books: books.crossed.append(event.percent), only=event.name)

    @on(Budget.Overdrawn)
    def overdrawn(self, view: BudgetState, event: Budget.Overdrawn, _stored: StoredEvent) -> BudgetState:
        """A provider charged more than was held."""

        def explain(books: Limit) -> None:
            if books.unit == event.unit:
                books.overdraw(event.number, event.amount - event.held)

        return _change(view, explain)

    @on(Budget.JobParked)
    def job_parked(self, view: BudgetState, event: Budget.JobParked, stored: StoredEvent) -> BudgetState:
        """A job waits; one that asks again takes its place anew."""
        parked = ParkedJob(
            job_id=event.job_id,
            requested=event.requested,
            input_tokens=event.input_tokens,
            output_tokens=event.output_tokens,
            since=stored.recorded_at,
        )
        return view.but(parked=(*_others(view, event.job_id), parked))

    @on(Budget.JobUnparked)
    def job_unparked(self, view: BudgetState, event: Budget.JobUnparked, _stored: StoredEvent) -> BudgetState:
        """A job waits no longer."""
        return view.but(parked=_others(view, event.job_id))


def _terms(event: Budget.Opened | Budget.Reopened | Budget.LimitAdded) -> Terms:
    return Terms(
        name=event.name,
        unit=event.unit,
        window=event.window,
        thresholds=event.thresholds,
        hard=event.hard,
        span=event.span,
    )


def _charge(amount: Decimal, input_tokens: int, output_tokens: int) -> Charge:
    return Charge(usd=amount, input_tokens=input_tokens, output_tokens=output_tokens)


def _others(view: BudgetState, job_id: UUID) -> tuple[ParkedJob, ...]:
    return without(view.parked, lambda each: each.job_id == job_id)


def _with(view: BudgetState, limits: tuple[LimitState, ...]) -> BudgetState:
    first = limits[0]
    return view.but(
        limits=limits,
        unit=first.unit,
        limit=first.limit,
        settled=first.settled,
        held=first.held,
        overdrawn=first.overdrawn,
        thresholds=first.thresholds,
        crossed=first.crossed,
    )


def _change(view: BudgetState, change: Callable[[Limit], None], *, only: str | None = None) -> BudgetState:
    def changed(each: LimitState) -> LimitState:
        books = each.books()
        change(books)
        return LimitState.of(books, each.hours)

    return _with(view, tuple(changed(each) if only in (None, each.name) else each for each in view.limits))


def _end_hold(view: BudgetState, number: int, held: Charge, spent: Charge, at: datetime) -> BudgetState:
    after = _change(view, lambda books: books.settle(number, held, spent))
    limits = tuple(each.but(hours=_later(each.hours, at, spent.of(each.unit))) for each in after.limits)
    return after.but(limits=limits, open_holds=view.open_holds - 1)


def _later(hours: tuple[HourSpent, ...], at: datetime, amount: Decimal) -> tuple[HourSpent, ...]:
    begins = at.replace(minute=0, second=0, microsecond=0)
    if hours and hours[-1].begins_at >= begins:
        return (*hours[:-1], hours[-1].but(amount=hours[-1].amount + amount))
    kept = tuple(each for each in hours if each.begins_at > begins - timedelta(hours=HOURS_KEPT))
    return (*kept, HourSpent(begins_at=begins, amount=amount))


async def budgets(
    connection: Connection,
    *,
    project_id: UUID | None = None,
    kind: ScopeKind | None = None,
    status: Literal["open", "closed"] | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[Row[BudgetState]]:
    """The oldest first, of one project or of everything. Reads BudgetStates."""
    wanted = {"project_id": project_id, "kind": kind, "status": status}
    return await BudgetStates.page(
        connection,
        where={name: value for name, value in wanted.items() if value is not None},
        order_by="opened_at",
        cursor=cursor,
        limit=bounded(limit),
    )
