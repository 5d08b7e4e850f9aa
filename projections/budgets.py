"""Answers "what may this scope still spend, and who waits for it?": one view per budget."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import ClassVar, Literal
from uuid import UUID

from pydantic import computed_field

from domain.budgets import Budget
from domain.ids import Scope, ScopeKind
from domain.kernel import Event
from domain.log import StoredEvent
from domain.values import ZERO, Instant, Money
from projections.documents import Column, Document, Row
from projections.listing import bounded
from projections.paging import Page
from projections.projector import Connection, on
from projections.views import View, without


class ParkedJob(View):
    """A job that waits for room."""

    job_id: UUID
    requested: Money
    since: Instant


class BudgetState(View):
    """One budget. Settled is spent for good, held is set aside for attempts in flight."""

    id: UUID
    scope: Scope
    kind: ScopeKind
    project_id: UUID | None
    status: Literal["open", "closed"] = "open"
    limit: Money
    settled: Money = ZERO
    held: Money = ZERO
    open_holds: int = 0
    overdrawn: Money = ZERO
    """What providers charged over their holds since the limit was last set."""
    thresholds: tuple[int, ...]
    """Percentages of the limit that somebody wants to hear of."""
    crossed: tuple[int, ...] = ()
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
    columns: ClassVar[Mapping[str, Column]] = {"kind": Column(), "status": Column(), "opened_at": Column()}
    indexes: ClassVar[Sequence[Sequence[str]]] = (("project_id", "opened_at"), ("opened_at",))

    def evolve(self, view: BudgetState | None, event: Event, stored: StoredEvent) -> BudgetState | None:
        """Begins when the budget is opened."""
        if view is None and not isinstance(event, Budget.Opened):
            return None
        after = super().evolve(view, event, stored)
        return after.but(version=stored.version) if after else None

    @on(Budget.Opened)
    def opened(self, _view: None, event: Budget.Opened, stored: StoredEvent) -> BudgetState:
        """Money for a scope."""
        return BudgetState(
            id=stored.stream_id,
            scope=event.scope,
            kind=event.scope.kind,
            project_id=event.project_id,
            limit=event.limit,
            thresholds=tuple(event.thresholds),
            opened_at=stored.recorded_at,
        )

    @on(Budget.Reopened)
    def reopened(self, view: BudgetState, event: Budget.Reopened, _stored: StoredEvent) -> BudgetState:
        """It limits again."""
        return _limited(view.but(status="open", thresholds=tuple(event.thresholds)), event.limit)

    @on(Budget.LimitChanged)
    def limit_changed(self, view: BudgetState, event: Budget.LimitChanged, _stored: StoredEvent) -> BudgetState:
        """More, or less."""
        return _limited(view, event.limit)

    @on(Budget.Closed)
    def closed(self, view: BudgetState, _event: Budget.Closed, _stored: StoredEvent) -> BudgetState:
        """It limits no longer."""
        return view.but(status="closed")

    @on(Budget.Reserved)
    def reserved(self, view: BudgetState, event: Budget.Reserved, _stored: StoredEvent) -> BudgetState:
        """Set aside."""
        return view.but(held=view.held + event.amount, open_holds=view.open_holds + 1)

    @on(Budget.Settled)
    def settled(self, view: BudgetState, event: Budget.Settled, _stored: StoredEvent) -> BudgetState:
        """The cost in place of the hold."""
        return _unheld(view, event.held, spent=event.amount)

    @on(Budget.Released)
    def released(self, view: BudgetState, event: Budget.Released, _stored: StoredEvent) -> BudgetState:
        """Nothing was spent."""
        return _unheld(view, event.amount, spent=ZERO)

    @on(Budget.HoldExpired)
    def hold_expired(self, view: BudgetState, event: Budget.HoldExpired, _stored: StoredEvent) -> BudgetState:
        """All of the hold counts."""
        return _unheld(view, event.amount, spent=event.amount)

    @on(Budget.Adjusted)
    def adjusted(self, view: BudgetState, event: Budget.Adjusted, _stored: StoredEvent) -> BudgetState:
        """The cost of an expired hold came late."""
        return view.but(settled=view.settled + event.delta)

    @on(Budget.ThresholdCrossed)
    def threshold_crossed(self, view: BudgetState, event: Budget.ThresholdCrossed, _stored: StoredEvent) -> BudgetState:
        """So much of the limit is spent."""
        return view.but(crossed=(*view.crossed, event.percent))

    @on(Budget.Overdrawn)
    def overdrawn(self, view: BudgetState, event: Budget.Overdrawn, _stored: StoredEvent) -> BudgetState:
        """A provider charged more than was held."""
        return view.but(overdrawn=view.overdrawn + event.amount - event.held)

    @on(Budget.JobParked)
    def job_parked(self, view: BudgetState, event: Budget.JobParked, stored: StoredEvent) -> BudgetState:
        """A job waits; one that asks again takes its place anew."""
        parked = ParkedJob(job_id=event.job_id, requested=event.requested, since=stored.recorded_at)
        return view.but(parked=(*_others(view, event.job_id), parked))

    @on(Budget.JobUnparked)
    def job_unparked(self, view: BudgetState, event: Budget.JobUnparked, _stored: StoredEvent) -> BudgetState:
        """A job waits no longer."""
        return view.but(parked=_others(view, event.job_id))


def _others(view: BudgetState, job_id: UUID) -> tuple[ParkedJob, ...]:
    return without(view.parked, lambda each: each.job_id == job_id)


def _unheld(view: BudgetState, amount: Decimal, *, spent: Decimal) -> BudgetState:
    return view.but(held=view.held - amount, open_holds=view.open_holds - 1, settled=view.settled + spent)


def _limited(view: BudgetState, limit: Decimal) -> BudgetState:
    """Under another limit: thresholds that are no longer reached may be crossed once more."""
    crossed = tuple(
        percent
        for percent in view.crossed
        if percent in view.thresholds and view.settled > 0 and view.settled * 100 >= limit * percent
    )
    return view.but(limit=limit, overdrawn=ZERO, crossed=crossed)


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
