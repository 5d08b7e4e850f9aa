"""All price cards together: which price of a model is in force on a day, and why."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal

from domain.pricing.prices import ModelPrices, PriceCard, PriceUnknown, Quote
from domain.values import snapshot_of

ANY_MODEL: Final = "*"
MOST_QUOTES: Final = 4_096
"""So many are remembered: a worker asks for the same few twice with every job."""
Origin = Literal["shipped", "own", "imported"]
"""A card that came with the release, lay in the data directory's folder, or was imported and approved."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One model's prices in one card, under one of the names that the card gives it."""

    card: PriceCard
    name: str
    prices: ModelPrices
    origin: Origin
    until: date | None
    """The day from which the card is retired."""

    @property
    def rank(self) -> tuple[date, int]:
        """Of those in force, the one with the highest counts."""
        return (self.card.effective_from, self.card.fix)

    def covers(self, at: date) -> bool:
        """Whether it may be used for that day."""
        return self.card.effective_from <= at and (self.until is None or at < self.until)


class Catalogue:
    """Price cards by provider and model. Adding a card never changes what an earlier day cost, unless it is a fix."""

    def __init__(self, cards: Iterable[PriceCard] = ()) -> None:
        self._cards: dict[str, PriceCard] = {}
        self._found: dict[tuple[str, str], list[Entry]] = {}
        self._waiting: dict[tuple[str, str], str] = {}
        self._quoted: dict[tuple[str, str, date], Quote] = {}
        self.origins: dict[str, Origin] = {}
        """Where each card comes from, by its name."""
        for card in cards:
            self.add(card)

    def add(self, card: PriceCard, *, origin: Origin = "shipped", until: date | None = None) -> None:
        """Take a card in; ValueError when another of the same name says something else."""
        known = self._cards.setdefault(card.name, card)
        if known != card:
            raise ValueError(
                f"there are two different price cards {card.name}: a published card is never edited. "
                "Give the new one a later effective_from, or, to mend a mistake, the next number in `fix`"
            )
        self.origins[card.name] = origin
        self._quoted.clear()
        for prices in card.models:
            for name in (prices.model, *prices.also):
                self._take(Entry(card, name, prices, origin, until))

    def _take(self, entry: Entry) -> None:
        dated = self._found.setdefault((entry.card.provider, entry.name), [])
        same = [each for each in dated if each.card.name == entry.card.name]
        if any(each.prices != entry.prices for each in same):
            raise ValueError(f"price card {entry.card.name} names model {entry.name} twice, with different prices")
        dated[:] = sorted([each for each in dated if each not in same] + [entry], key=lambda each: each.rank)

    def expect(self, card: PriceCard) -> None:
        """Know of a card that waits for its approval: it prices nothing, but a refusal can name it."""
        for prices in card.models:
            for name in (prices.model, *prices.also):
                self._waiting[card.provider, name] = card.name

    def waiting(self, provider: str, model: str) -> list[str]:
        """Cards that name a model and wait for their approval."""
        return [card for name in _names(model) if (card := self._waiting.get((provider, name)))]

    def cards(self) -> list[PriceCard]:
        """Every card, by provider and day."""
        return [self._cards[name] for name in sorted(self._cards)]

    def card(self, name: str) -> PriceCard | None:
        """The card of this name."""
        return self._cards.get(name)

    def providers(self) -> tuple[str, ...]:
        """Every provider that has a price."""
        return tuple(sorted({provider for provider, _ in self._found}))

    def models(self, provider: str) -> tuple[str, ...]:
        """Every model of a provider that has a price."""
        return tuple(sorted(model for known, model in self._found if known == provider))

    def entries(self, provider: str, model: str) -> Sequence[Entry]:
        """Every price that may stand for a model, the one that is looked at first at the beginning.

        Its exact id goes before the name that it is a snapshot of, and that before any model; then the latest day.
        """
        return [each for name in _names(model) for each in reversed(self._found.get((provider, name), []))]

    def entry(self, provider: str, model: str, at: date) -> Entry | None:
        """The price in force on that day; None where there is none."""
        return next((each for each in self.entries(provider, model) if each.covers(at)), None)

    def quote(self, provider: str, model: str, at: date) -> Quote:
        """The price in force on that day: for the exact id, else for the name it is a snapshot of, else for any model.

        PriceUnknown says which card is missing.
        """
        known = self._quoted.get((provider, model, at))
        if known is not None:
            return known
        found = self.entry(provider, model, at)
        if found is None:
            raise PriceUnknown(self._unknown(provider, model, at), provider=provider, model=model)
        quote = Quote(card=found.card.name, model=found.name, prices=found.prices)
        if len(self._quoted) >= MOST_QUOTES:  # a card for any model knows no end of names
            self._quoted.clear()
        self._quoted[provider, model, at] = quote
        return quote

    def _unknown(self, provider: str, model: str, at: date) -> str:
        said = f"the price of {provider} model {model!r} on {at} is unknown"
        if waiting := next(iter(self.waiting(provider, model)), None):
            return (
                f"{said}: card {waiting} has it and waits for its approval: toybox prices approve {waiting}; to "
                "take another: toybox prices import FILE. Then queue the job again"
            )
        known = self.entries(provider, model)
        later = [each.card.effective_from for each in known if each.card.effective_from > at]
        why = "no price card names it"
        if known:
            why = f"its first price begins on {min(later)}" if later else f"its card {known[0].card.name} is retired"
        return (
            f"{said} ({why}): check the model's exact id, or add its price: toybox prices import FILE, then toybox "
            "prices approve CARD, and queue the job again (docs/how-to/prices.md shows the file)"
        )


def _names(model: str) -> list[str]:
    name = snapshot_of(model)
    return [model, *([name] if name else []), ANY_MODEL]
