"""What may be asked of price cards: import, approve, retire and withdraw them."""

from datetime import date
from uuid import UUID

from pydantic import BaseModel

from commands.handling import Command, handler
from commands.work import UnitOfWork
from domain.accounting import Accounting, day_of, is_closed
from domain.errors import NotFound, Refused
from domain.ids import accounting_id, price_card_id
from domain.prices import ImportedCard
from domain.pricing import PriceCard
from domain.pricing.reading import check_card
from domain.values import Name


class ImportPriceCard(Command, permission="prices.import"):
    """Bring a price card. It prices nothing until somebody approves it."""

    card: PriceCard
    reaches_back: bool = False
    """Whether it is meant for days of months that are closed."""

    def streams(self) -> tuple[UUID, ...]:
        """The card of this name, and what is closed."""
        return (price_card_id(self.card.name), accounting_id())


class OfCard(BaseModel):
    """A command about one card."""

    name: Name

    def streams(self) -> tuple[UUID, ...]:
        """The card, and what is closed."""
        return (price_card_id(self.name), accounting_id())


class ApprovePriceCard(OfCard, Command, permission="prices.approve"):
    """Let a card price what is asked from now on, for the days from its effective date."""


class RetirePriceCard(OfCard, Command, permission="prices.approve"):
    """Use a card no longer from a day on: the one before it counts again, or the price is unknown."""

    from_day: date | None = None
    """Today in UTC, unless named."""


class WithdrawPriceCard(OfCard, Command, permission="prices.import"):
    """Take back a card that nobody has approved."""


@handler
def import_price_card(command: ImportPriceCard, work: UnitOfWork) -> None:
    """The same card again changes nothing; another one of its name is refused."""
    card = command.card
    check_card(card)
    stream = price_card_id(card.name)
    if known := work.find(ImportedCard, stream):
        known.check_same(card, reaches_back=command.reaches_back)
        return
    _check_open(card, work, reaches_back=command.reaches_back)
    work.add(ImportedCard(id=stream, name=card.name, card=card, reaches_back=command.reaches_back, by=work.actor))


@handler
def approve_price_card(command: ApprovePriceCard, work: UnitOfWork) -> None:
    """Attempts that were priced before keep their price until they are re-rated."""
    found = _known(command.name, work)
    _check_open(found.card, work, reaches_back=found.reaches_back)
    found.approve(work.actor)


@handler
def retire_price_card(command: RetirePriceCard, work: UnitOfWork) -> None:
    """Not in a month that is closed: what was charged there stands."""
    found = _known(command.name, work)
    from_day = command.from_day or day_of(work.now)
    if is_closed(work.find(Accounting, accounting_id()), from_day):
        raise Refused(
            f"{from_day} lies in a closed month: retire {command.name} from a later day, and mend the past with "
            "another card (toybox prices import FILE --reaches-back)",
            code="period_closed",
        )
    found.retire(from_day, work.actor)


@handler
def withdraw_price_card(command: WithdrawPriceCard, work: UnitOfWork) -> None:
    """Its name stays taken."""
    _known(command.name, work).withdraw(work.actor)


def _known(name: str, work: UnitOfWork) -> ImportedCard:
    found = work.find(ImportedCard, price_card_id(name))
    if found is None:
        raise NotFound(
            f"no price card {name} was imported: toybox prices cards lists them. A card of the release is mended by "
            "importing one with the next number in `fix`"
        )
    return found


def _check_open(card: PriceCard, work: UnitOfWork, *, reaches_back: bool) -> None:
    books = work.find(Accounting, accounting_id())
    if books and not reaches_back and is_closed(books, card.effective_from):
        raise Refused(
            f"{card.name} begins on {card.effective_from}, and {books.closed_through} and all months before it are "
            "closed: give it a later effective_from; or, to mend what was charged then, import it with --reaches-back: "
            "re-rating counts the difference in the month in which it is made",
            code="period_closed",
            closed_through=books.closed_through,
        )
