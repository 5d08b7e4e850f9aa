"""Answers "which months are closed, since when, and by whom?": one view, once any is."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from domain.accounting import Accounting
from domain.log import StoredEvent
from domain.values import Instant
from projections.documents import Column, Document
from projections.projector import on
from projections.views import View


class ClosedMonth(View):
    """When a month was closed, and with it those before it."""

    month: str
    at: Instant
    by: str
    position: int
    """What a report said at this position is what it says for ever."""


class AccountingState(View):
    """The last closed month, and every closing."""

    closed_through: str | None = None
    closings: tuple[ClosedMonth, ...] = ()
    version: int = 0


class AccountingStates(Document[AccountingState]):
    """Answers "which months are closed, since when, and by whom?": one view, once any is."""

    name = "accounting_states"
    begins = Accounting.Opened
    columns: ClassVar[Mapping[str, Column]] = {}
    indexes: ClassVar[Sequence[Sequence[str]]] = ()

    @on(Accounting.Opened)
    def opened(self, _view: None, _event: Accounting.Opened, _stored: StoredEvent) -> AccountingState:
        """Nothing is closed yet."""
        return AccountingState()

    @on(Accounting.MonthClosed)
    def month_closed(
        self, view: AccountingState, event: Accounting.MonthClosed, stored: StoredEvent
    ) -> AccountingState:
        """One more."""
        closed = ClosedMonth(month=event.month, at=stored.recorded_at, by=event.by, position=stored.position)
        return view.but(closed_through=event.month, closings=(*view.closings, closed))
