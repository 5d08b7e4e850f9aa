"""Answers "which price cards were imported, by whom, and what became of them?": one view per card."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import ClassVar

from domain.log import StoredEvent
from domain.prices import CardStatus, ImportedCard
from domain.pricing import PriceCard
from domain.values import Instant
from projections.documents import Column, Document, Row
from projections.listing import bounded
from projections.paging import Page
from projections.projector import Connection, on
from projections.views import View


class PriceCardView(View):
    """One imported card, and who decided what about it."""

    name: str
    provider: str
    effective_from: date
    status: CardStatus = "imported"
    reaches_back: bool
    """Whether it is meant for days of closed months."""
    imported_at: Instant
    imported_by: str
    approved_at: Instant | None = None
    approved_by: str | None = None
    retired_from: date | None = None
    """The first day on which it is not used any more."""
    ended_at: Instant | None = None
    """When it was retired or withdrawn."""
    ended_by: str | None = None
    version: int = 1
    card: PriceCard


class PriceCards(Document[PriceCardView]):
    """Answers "which price cards were imported, by whom, and what became of them?": one view per card."""

    name = "price_card_views"
    begins = ImportedCard.Imported
    columns: ClassVar[Mapping[str, Column]] = {"name": Column(), "provider": Column(), "status": Column()}
    indexes: ClassVar[Sequence[Sequence[str]]] = (("name",),)

    @on(ImportedCard.Imported)
    def imported(self, _view: None, event: ImportedCard.Imported, stored: StoredEvent) -> PriceCardView:
        """It waits."""
        return PriceCardView(
            name=event.name,
            provider=event.card.provider,
            effective_from=event.card.effective_from,
            reaches_back=event.reaches_back,
            imported_at=stored.recorded_at,
            imported_by=event.by,
            card=event.card,
        )

    @on(ImportedCard.Published)
    def published(self, view: PriceCardView, event: ImportedCard.Published, stored: StoredEvent) -> PriceCardView:
        """It is in force."""
        return view.but(status="approved", approved_at=stored.recorded_at, approved_by=event.by)

    @on(ImportedCard.Retired)
    def retired(self, view: PriceCardView, event: ImportedCard.Retired, stored: StoredEvent) -> PriceCardView:
        """From a day on it is not."""
        return view.but(status="retired", retired_from=event.from_day, ended_at=stored.recorded_at, ended_by=event.by)

    @on(ImportedCard.Withdrawn)
    def withdrawn(self, view: PriceCardView, event: ImportedCard.Withdrawn, stored: StoredEvent) -> PriceCardView:
        """It never will be."""
        return view.but(status="withdrawn", ended_at=stored.recorded_at, ended_by=event.by)


async def price_cards(
    connection: Connection,
    *,
    provider: str | None = None,
    status: CardStatus | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[Row[PriceCardView]]:
    """By name, of one provider or in one state. Reads PriceCards."""
    wanted = {"provider": provider, "status": status}
    return await PriceCards.page(
        connection,
        where={name: value for name, value in wanted.items() if value is not None},
        order_by="name",
        cursor=cursor,
        limit=bounded(limit),
    )
