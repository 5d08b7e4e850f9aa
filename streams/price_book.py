"""The price book: the shipped cards and those that were imported and approved, as the log has them now."""

import asyncio
from collections.abc import Mapping
from datetime import date
from typing import Final
from uuid import UUID

import structlog

from domain.errors import Unavailable
from domain.kernel import evolve
from domain.log import LogReader
from domain.prices import ImportedCard
from domain.pricing import Catalogue, PriceCard, Quote

TYPES: Final = frozenset(
    each.TYPE for each in (ImportedCard.Imported, ImportedCard.Published, ImportedCard.Retired, ImportedCard.Withdrawn)
)
PAGE: Final = 1_000
PAUSE_SECONDS: Final = 0.1
"""Between two looks, however much is appended: a decision about prices takes effect in this time."""
POLL_SECONDS: Final = 30.0
log = structlog.get_logger("toybox.prices")


class PriceBook:
    """What models cost, for the dispatcher and for whoever asks. It follows the log; nobody has to restart.

    Two processes may know of an approval a moment apart: which price was taken stands in every event by its rate id.
    """

    def __init__(self, shipped: Catalogue, reader: LogReader) -> None:
        self._shipped = shipped
        self._reader = reader
        self._cards: dict[UUID, ImportedCard] = {}
        self._position = 0
        self._looking = asyncio.Lock()
        self._told: set[str] = set()
        self.catalogue = shipped
        """Every card that prices something. It is replaced, never changed."""

    @property
    def imported(self) -> Mapping[UUID, ImportedCard]:
        """Every card that was imported, whatever became of it."""
        return self._cards

    def quote(self, provider: str, model: str, at: date) -> Quote:
        """The prices in force; PriceUnknown says what to do."""
        return self.catalogue.quote(provider, model, at)

    async def current(self) -> Catalogue:
        """The cards as the log has them at this moment."""
        await self.renew()
        return self.catalogue

    async def renew(self) -> bool:
        """Read what is new in the log; answers whether any price may be another one now."""
        async with self._looking:
            head = await self._reader.head()
            if head <= self._position:
                return False
            changed, after = False, self._position
            while True:
                found = await self._reader.read(after, PAGE, types=TYPES, up_to=head)
                for stored in found:
                    self._cards[stored.stream_id] = evolve(self._cards.get(stored.stream_id), stored)
                    changed = True
                if len(found) < PAGE:
                    break
                after = found[-1].position
            if changed:
                self.catalogue = self._made()
            self._position = head
            return changed

    async def run(self) -> None:
        """Keep up with the log."""
        while True:
            try:
                await self.renew()
                await self._reader.wait(self._position, POLL_SECONDS)
            except Unavailable as away:
                await asyncio.sleep(away.retry_after)
            await asyncio.sleep(PAUSE_SECONDS)

    def _made(self) -> Catalogue:
        made = Catalogue()
        for each in self._cards.values():
            if each.status in ("approved", "retired"):
                made.add(each.card, origin="imported", until=each.retired_from)
            elif each.status == "imported":
                made.expect(each.card)
        for card in self._shipped.cards():
            self._keep(made, card)
        return made

    def _keep(self, made: Catalogue, card: PriceCard) -> None:
        """A card that came with the release, unless somebody had approved another one of that name before."""
        name = card.name
        if made.card(name) is None:
            made.add(card, origin=self._shipped.origins[name])
        elif made.card(name) != card and name not in self._told:
            self._told.add(name)
            log.warning("a shipped price card is passed over: another one of its name was approved", card=name)
