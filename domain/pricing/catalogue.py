"""All price cards together: which price of a model is in force on a day."""

import re
from collections.abc import Iterable
from datetime import date
from typing import Final

from domain.pricing.prices import ModelPrices, PriceCard, PriceUnknown, Quote

ANY_MODEL: Final = "*"
_DATED: Final = re.compile(r"(?P<model>.+?)[-@](\d{8}|\d{4}-\d{2}-\d{2})")
"""How OpenAI and Anthropic spell the snapshot behind a model's name; its price is the name's."""


class Catalogue:
    """Price cards by provider and model. Adding a card never changes what an earlier day cost, unless it is a fix."""

    def __init__(self, cards: Iterable[PriceCard] = ()) -> None:
        self._cards: dict[str, PriceCard] = {}
        self._found: dict[tuple[str, str], dict[date, tuple[int, str, ModelPrices]]] = {}
        for card in cards:
            self.add(card)

    def add(self, card: PriceCard) -> None:
        """Take a card in; ValueError when another of the same name says something else."""
        known = self._cards.setdefault(card.name, card)
        if known != card:
            raise ValueError(
                f"there are two different price cards {card.name}: a published card is never edited. "
                "Give the new one a later effective_from, or, to mend a mistake, the next number in `fix`"
            )
        for prices in card.models:
            for name in (prices.model, *prices.also):
                dated = self._found.setdefault((card.provider, name), {})
                before = dated.get(card.effective_from)
                if before and before[0] == card.fix and before[2] != prices:
                    raise ValueError(f"price card {card.name} names model {name} twice, with different prices")
                if before is None or before[0] <= card.fix:
                    dated[card.effective_from] = (card.fix, card.name, prices)

    def cards(self) -> list[PriceCard]:
        """Every card, by provider and day."""
        return [self._cards[name] for name in sorted(self._cards)]

    def models(self, provider: str) -> tuple[str, ...]:
        """Every model of a provider that has a price."""
        return tuple(sorted(model for known, model in self._found if known == provider))

    def quote(self, provider: str, model: str, at: date) -> Quote:
        """The price in force on that day: for the exact id, else for the name it is a snapshot of, else for any model.

        PriceUnknown says which card is missing.
        """
        for name in _names(model):
            dated = self._found.get((provider, name), {})
            if begun := [day for day in dated if day <= at]:
                _, card, prices = dated[max(begun)]
                return Quote(card=card, model=name, prices=prices)
        raise PriceUnknown(self._unknown(provider, model, at), provider=provider, model=model)

    def _unknown(self, provider: str, model: str, at: date) -> str:
        days = [day for name in _names(model) for day in self._found.get((provider, name), {})]
        why = f"its first price begins on {min(days)}" if days else "no price card names it"
        return (
            f"the price of {provider} model {model!r} on {at} is unknown ({why}): check the model's exact id, or add "
            f"its price: toybox prices import FILE (docs/how-to/providers.md shows the file)"
        )


def _names(model: str) -> list[str]:
    snapshot = _DATED.fullmatch(model)
    return [model, *([snapshot["model"]] if snapshot else []), ANY_MODEL]
