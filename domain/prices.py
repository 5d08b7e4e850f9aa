"""Prices: cards that people import. One is used once it is approved, and never edited: a fix is another card."""

from datetime import date
from typing import Annotated, Literal
from uuid import UUID

from pydantic import PlainSerializer

from domain.errors import Conflict, Refused
from domain.kernel import Aggregate, Created, event
from domain.pricing import PriceCard
from domain.values import Day, Name

CardStatus = Literal["imported", "approved", "retired", "withdrawn"]


CardContent = Annotated[
    PriceCard,
    PlainSerializer(lambda card: card.model_dump(mode="json", exclude_defaults=True), when_used="json"),
]
"""The whole card: provider, day, source, and every rate; what has its default is left out."""


class ImportedCard(Aggregate):
    """One version of a provider's prices; its name, `openai@2026-11-01.1`, is its id."""

    TOPIC = "price_card"
    FOLD = 1
    name: str
    card: PriceCard
    status: CardStatus
    reaches_back: bool
    retired_from: date | None

    class Imported(Created, type="price_card.imported"):
        """Somebody brought a price card. It prices nothing until it is approved."""

        name: Name
        card: CardContent
        reaches_back: bool
        """Whether it is meant for days of months that are closed."""
        by: Name

    class Published(Aggregate.Event, type="price_card.published"):
        """The card is in force for every day from its effective date on, until a later one is."""

        name: Name
        by: Name

    class Retired(Aggregate.Event, type="price_card.retired"):
        """From this day on the card is used no longer; what it priced before stays."""

        name: Name
        from_day: Day
        by: Name

    class Withdrawn(Aggregate.Event, type="price_card.withdrawn"):
        """The card will not be approved: it never priced anything."""

        name: Name
        by: Name

    # --- decisions ---

    @event(Imported)
    def __init__(
        self,
        id: UUID,  # noqa: ARG002 -- the library's name for it
        *,
        name: str,
        card: PriceCard,
        reaches_back: bool,
        by: str,  # noqa: ARG002 -- a field of the event
    ) -> None:
        self.name, self.card, self.reaches_back = name, card, reaches_back
        self.status, self.retired_from = "imported", None

    def check_same(self, card: PriceCard, *, reaches_back: bool) -> None:
        """Whether importing it again would change nothing."""
        if card == self.card and reaches_back == self.reaches_back and self.status in ("imported", "approved"):
            return
        said = "is another card, which is never edited" if card != self.card else f"is {self.status}"
        raise Conflict(
            f"{self.name} {said}: give the new one the next number in `fix` ({next_fix(self.card)}), or a later "
            "effective_from",
            code="price_card_exists",
        )

    def approve(self, by: str) -> None:
        """Let it price what is asked from now on; approving again changes nothing."""
        if self.status == "approved":
            return
        self._must_be("imported", "only a card that waits can be approved: import its prices as the next fix")
        self.trigger_event(ImportedCard.Published, name=self.name, by=by)

    def retire(self, from_day: date, by: str) -> None:
        """Use it no longer from a day on: the card before it counts again, or the price is unknown."""
        self._must_be("approved", "only a card in use can be retired")
        if from_day < self.card.effective_from:
            raise Refused(
                f"{self.name} begins on {self.card.effective_from}: retire it from that day or a later one",
                code="invalid_day",
            )
        self.trigger_event(ImportedCard.Retired, name=self.name, from_day=from_day, by=by)

    def withdraw(self, by: str) -> None:
        """Take back a card that nobody approved."""
        self._must_be("imported", f"a card in use is retired (toybox prices retire {self.name})")
        self.trigger_event(ImportedCard.Withdrawn, name=self.name, by=by)

    def _must_be(self, wanted: CardStatus, fix: str) -> None:
        if self.status != wanted:
            raise Refused(f"{self.name} is {self.status}: {fix}", code="price_card_status", status=self.status)

    # --- appliers ---

    @event(Published)
    def _approved(self) -> None:
        self.status = "approved"

    @event(Retired)
    def _retired(self, from_day: date) -> None:
        self.status, self.retired_from = "retired", from_day

    @event(Withdrawn)
    def _withdrawn(self) -> None:
        self.status = "withdrawn"


def next_fix(card: PriceCard) -> str:
    """What the card that mends this one is called."""
    return card.model_copy(update={"fix": card.fix + 1}).name
