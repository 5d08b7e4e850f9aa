"""Reads a price card that somebody wrote: everything that is wrong with it at once, each with its place and its fix."""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, Final

from pydantic import ValidationError

from domain.errors import Refused
from domain.pricing.prices import ModelPrices, PriceCard
from domain.pricing.usage import BUCKETS, Standard
from domain.values import SLUG

MOST: Final = Decimal(10_000)
"""USD for a million tokens, a thousand uses or a minute: above it somebody has mistaken the unit."""
MOST_MODELS: Final = 1_000
MOST_FIXES: Final = 9_999
_RATE: Final = 'a rate is text, USD per million tokens, thousand uses or minute, such as "2.50"; never negative'


class InvalidCard(Refused):
    """What was written is no price card; every mistake is listed."""

    code = "invalid_card"


def card_of(content: Mapping[str, Any]) -> PriceCard:
    """The card that this says; InvalidCard with every mistake."""
    try:
        card = PriceCard.model_validate(content)
    except ValidationError as error:
        raise _invalid([_told(each) for each in error.errors(include_url=False)]) from None
    check_card(card)
    return card


def check_card(card: PriceCard) -> None:
    """Refuse what is a card by its form and makes no sense."""
    if wrong := list(_mistakes(card)):
        raise _invalid(wrong)


def _invalid(mistakes: list[str]) -> InvalidCard:
    return InvalidCard(f"this is no price card: {'; '.join(mistakes)} (docs/how-to/prices.md)", errors=mistakes)


def _told(found: Mapping[str, Any]) -> str:
    place = ".".join(str(step) for step in found["loc"] if step != "[key]")
    said = str(found["msg"]).removeprefix("Value error, ")
    match found["type"], found["loc"]:
        case "literal_error", _:
            near = get_close_matches(str(found["input"]), BUCKETS, n=2)
            known = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(BUCKETS)}"
            said = f"there is no bucket {found['input']!r}: {known}"
        case (("string_pattern_mismatch" | "string_type"), (*_, "rates", _)):
            said = f"{_RATE}; this is {found['input']!r}"
        case "string_pattern_mismatch", _:
            said = "write one line of text without control characters, and names without blanks"
        case "missing", _:
            said = "this is missing: write it"
        case "extra_forbidden", _:
            said = "this field is not known: leave it out"
        case _:
            pass
    return f"{place}: {said}" if place else said


def _mistakes(card: PriceCard) -> Iterator[str]:
    if not re.fullmatch(SLUG, card.provider):
        yield (
            f"provider: no provider is called {card.provider!r}: write its name as it is registered, small letters, "
            "digits and hyphens"
        )
    if card.fix > MOST_FIXES:
        yield f"fix: at most {MOST_FIXES}; give the card a later effective_from"
    if len(card.models) > MOST_MODELS:
        yield f"models: at most {MOST_MODELS} in one card; split it"
    named: dict[str, str] = {}
    for number, prices in enumerate(card.models):
        for name in (prices.model, *prices.also):
            if name in named:
                yield f"models.{number}: {name} stands twice, here and under {named[name]}: leave one out"
            named[name] = prices.model
        for each in _mistakes_of(prices):
            yield f"models.{number} ({prices.model}): {each}"


def _mistakes_of(prices: ModelPrices) -> Iterator[str]:
    if not any(each.key == (Standard, Standard, None, 0) for each in prices.prices):
        yield "it has no price for the default tier: add one without tier, speed, region and above_input_tokens"
    bands: dict[tuple[str, str, str | None], set[int]] = {}
    for each in prices.prices:
        bands.setdefault(each.key[:3], set()).add(each.above_input_tokens)
        for bucket in each.rates:
            rate = each.rate(bucket)
            if rate is not None and rate > MOST:
                yield f"{bucket} costs {rate} USD ({each.condition}): {_RATE}, and {MOST} at most"
        if prices.max_input_tokens is not None and each.above_input_tokens >= prices.max_input_tokens:
            yield f"a price above {each.above_input_tokens} tokens is never used: max_input_tokens says less"
    for (tier, speed, region), begins in bands.items():
        if 0 not in begins:
            place = f"tier {tier}, speed {speed}, region {region or 'any'}"
            yield f"the price of {place} begins at {min(begins)} tokens: add the one with above_input_tokens 0"
