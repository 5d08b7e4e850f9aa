"""Compares the models that an installation uses with the price cards: what an operator should look at, with its fix."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from domain.prices import ImportedCard
from domain.pricing import ANY_MODEL, Catalogue
from domain.values import money_text
from projections.prices import Oddity, UsedModel

Level = Literal["note", "warning", "problem"]


class PriceFinding(BaseModel):
    """One thing about prices, and what to do about it."""

    level: Level
    kind: Annotated[str, Field(description="no_price, old_card, alias, overruled, waiting, estimates, unknown_field")]
    provider: str | None
    model: str | None
    card: str | None
    said: str
    fix: str | None


class Checked(BaseModel):
    """Every finding, problems first."""

    at: date
    models: Annotated[int, Field(description="Models that were asked or that answered")]
    items: list[PriceFinding]


@dataclass(frozen=True, slots=True)
class Found:
    """The same, on its way."""

    level: Level
    kind: str
    provider: str | None
    model: str | None
    card: str | None
    said: str
    fix: str | None = None


def check(
    catalogue: Catalogue,
    imported: Iterable[ImportedCard],
    used: Sequence[UsedModel],
    odd: Sequence[Oddity],
    guessed: Mapping[str, Any],
    today: date,
    max_age_days: int,
) -> list[Found]:
    """What should be looked at."""
    found = [
        *_models(catalogue, used, today),
        *_old(catalogue, used, today, max_age_days),
        *_cards(catalogue, imported, today),
        *_estimates(guessed),
        *_odd(odd),
    ]
    order: tuple[Level, ...] = ("problem", "warning", "note")
    return sorted(found, key=lambda each: order.index(each.level))


def _models(catalogue: Catalogue, used: Sequence[UsedModel], today: date) -> Iterator[Found]:
    for each in used:
        place = (each.provider, each.model)
        entry = catalogue.entry(*place, today)
        if entry is None:
            waits = next((name for name in catalogue.waiting(*place)), None)
            fix = f"toybox prices approve {waits}" if waits else "toybox prices import FILE, then toybox prices approve"
            said = f"{each.provider}/{each.model} has no price: asked {each.asked} times, paid for {each.answered}"
            yield Found("problem", "no_price", *place, waits, said, f"{fix}; then queue what was denied again")
        elif entry.name == ANY_MODEL and each.provider != "scripted":
            said = f"{each.provider}/{each.model} is named by no card: * of {entry.card.name} prices it"
            yield Found("warning", "alias", *place, entry.card.name, said, "give it a price of its own, if it has one")
        elif entry.prices.model != each.model and entry.name != ANY_MODEL:
            said = f"{each.provider}/{each.model} is priced as {entry.prices.model} ({entry.card.name})"
            yield Found("note", "alias", *place, entry.card.name, said)


def _old(catalogue: Catalogue, used: Sequence[UsedModel], today: date, max_age_days: int) -> Iterator[Found]:
    cards = {
        entry.card.name: entry.card
        for each in used
        if (entry := catalogue.entry(each.provider, each.model, today)) and each.provider != "scripted"
    }
    for card in cards.values():
        age = (today - card.effective_from).days
        if age > max_age_days:
            said = f"{card.name} is {age} days old and prices models that are in use"
            fix = f"compare it with {card.provider}'s page; where that differs, toybox prices import FILE"
            yield Found("warning", "old_card", card.provider, None, card.name, said, fix)


def _cards(catalogue: Catalogue, imported: Iterable[ImportedCard], today: date) -> Iterator[Found]:
    for each in imported:
        card = each.card
        if each.status == "imported":
            fix = f"toybox prices approve {each.name}, or toybox prices withdraw {each.name}"
            yield Found("warning", "waiting", card.provider, None, each.name, f"{each.name} is not approved yet", fix)
        if each.status != "approved" or card.effective_from > today:
            continue
        for prices in card.models:
            entry = catalogue.entry(card.provider, prices.model, today)
            if entry and entry.origin != "imported" and entry.rank > (card.effective_from, card.fix):
                said = f"{entry.card.name}, which {_came(entry.origin)}, overrules {each.name} for {prices.model}"
                fix = "where yours still holds, import it again with a later effective_from"
                yield Found("warning", "overruled", card.provider, prices.model, each.name, said, fix)


def _came(origin: str) -> str:
    return "came with the release" if origin == "shipped" else "lies in the data directory"


def _estimates(guessed: Mapping[str, Any]) -> Iterator[Found]:
    if guessed["estimates"]:
        said = (
            f"{guessed['estimates']} attempts stand at the most they can have cost: {money_text(guessed['amount'])} USD"
        )
        if priceless := guessed["without_price"]:
            said += f"; {priceless} of them lack only a price, which toybox prices rerate gives them"
        fix = "toybox accounting estimates lists them; toybox accounting reconcile FILE takes a vendor's export"
        yield Found("warning", "estimates", None, None, None, said, fix)


def _odd(odd: Sequence[Oddity]) -> Iterator[Found]:
    for each in odd:
        said = (
            f"{each.provider} counts {each.field}, which this release does not know: in {each.attempts} attempts, the "
            f"last at position {each.last_position}"
        )
        fix = f"see whether it costs: GET /api/cost/lines?attempt_id={each.last_attempt}; a newer release may know it"
        yield Found("warning", "unknown_field", each.provider, None, None, said, fix)
