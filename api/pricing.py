"""Prices as routes show them: every rate with its unit in words, which card holds on a day, and why."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import Annotated

from pydantic import BaseModel, Field

from domain.pricing import ANY_MODEL, BUCKETS, Bucket, Catalogue, Entry, Origin, Price, PriceUnknown, per

ORIGINS: dict[Origin, str] = {
    "shipped": "came with this release",
    "own": "lies in the data directory",
    "imported": "was imported and approved",
}


class RateShown(BaseModel):
    """One figure."""

    bucket: str
    usd: str
    unit: Annotated[str, Field(description="What the figure is for: per million tokens, thousand uses or minute")]


class PriceShown(BaseModel):
    """The rates under one set of conditions."""

    tier: str
    speed: str
    region: Annotated[str | None, Field(description="Null: any without a price of its own")]
    above_input_tokens: int
    when: Annotated[str, Field(description="The conditions in words")]
    rates: list[RateShown]


class ModelPricesShown(BaseModel):
    """What a card says of one model."""

    provider: str
    model: str
    also: list[str]
    card: str
    origin: Annotated[str, Field(description="shipped, own or imported")]
    source: str
    effective_from: date
    until: Annotated[date | None, Field(description="The first day on which it is not used any more")]
    in_force: Annotated[bool, Field(description="Whether it prices what is asked on the day in question")]
    max_input_tokens: int | None
    note: str
    prices: list[PriceShown]


class Applied(BaseModel):
    """Which price holds for a model on a day, why, and every other that there is."""

    provider: str
    model: str
    at: date
    applies: ModelPricesShown | None
    why: str
    history: list[ModelPricesShown]


def unit_of(bucket: Bucket) -> str:
    """What a rate is for, in words."""
    return {1_000_000: "per million tokens", 60_000: "per minute"}.get(per(bucket), "per thousand uses")


def shown(entry: Entry, *, in_force: bool) -> ModelPricesShown:
    """One model's prices in one card."""
    return ModelPricesShown(
        provider=entry.card.provider,
        model=entry.prices.model,
        also=list(entry.prices.also),
        card=entry.card.name,
        origin=entry.origin,
        source=entry.card.source,
        effective_from=entry.card.effective_from,
        until=entry.until,
        in_force=in_force,
        max_input_tokens=entry.prices.max_input_tokens,
        note=entry.prices.note,
        prices=[_price(each, entry.prices.prices) for each in entry.prices.prices],
    )


def _price(price: Price, among: Sequence[Price]) -> PriceShown:
    rates = [
        RateShown(bucket=each, usd=format(rate, "f"), unit=unit_of(each))
        for each in BUCKETS
        if (rate := price.rate(each)) is not None
    ]
    return PriceShown(
        tier=price.tier,
        speed=price.speed,
        region=price.region,
        above_input_tokens=price.above_input_tokens,
        when=_when(price, among),
        rates=rates,
    )


def _when(price: Price, among: Iterable[Price]) -> str:
    said = [f"tier {price.tier}"]
    if price.speed != "standard":
        said.append(f"speed {price.speed}")
    if price.region:
        said.append(f"region {price.region}")
    ends = [
        each.above_input_tokens
        for each in among
        if each.key[:3] == price.key[:3] and each.above_input_tokens > price.above_input_tokens
    ]
    if price.above_input_tokens:
        said.append(f"prompts above {price.above_input_tokens:,} tokens")
    if ends:
        said.append(f"prompts up to {min(ends):,} tokens")
    return ", ".join(said)


def listed(
    catalogue: Catalogue, provider: str | None, model: str | None, at: date, *, everything: bool
) -> Iterator[ModelPricesShown]:
    """Models by provider and name: those with a price on that day, or every entry of every card."""
    for known in catalogue.providers():
        if provider is not None and known != provider:
            continue
        for name in catalogue.models(known):
            own = [each for each in catalogue.entries(known, name) if each.name == name]
            if own[0].prices.model != name or (model is not None and not _is_meant(model, own[0])):
                continue
            holds = next((each for each in own if each.covers(at)), None)
            for each in own if everything else filter(None, [holds]):
                yield shown(each, in_force=each is holds)


def _is_meant(model: str, entry: Entry) -> bool:
    return any(model in name for name in (entry.prices.model, *entry.prices.also))


def applied(catalogue: Catalogue, provider: str, model: str, at: date) -> Applied:
    """What holds for this model on this day."""
    holds = catalogue.entry(provider, model, at)
    return Applied(
        provider=provider,
        model=model,
        at=at,
        applies=shown(holds, in_force=True) if holds else None,
        why=_why(catalogue, provider, model, at, holds),
        history=[shown(each, in_force=each == holds) for each in catalogue.entries(provider, model)],
    )


def _why(catalogue: Catalogue, provider: str, model: str, at: date, holds: Entry | None) -> str:
    if holds is None:
        try:
            catalogue.quote(provider, model, at)
        except PriceUnknown as unknown:
            return str(unknown)
        raise AssertionError("a quote without an entry")
    if holds.name == ANY_MODEL:
        named = f"no card names {model}, and * stands for every other model"
    elif holds.name != model:
        named = f"{model} is a snapshot of {holds.name}"
    elif holds.prices.model != model:
        named = f"the card calls {model} another name of {holds.prices.model}"
    else:
        named = f"the card names {model}"
    passed = [each for each in catalogue.entries(provider, model) if each.name == holds.name and each.rank > holds.rank]
    over = "".join(
        f"; {each.card.name} is passed over: it "
        + (f"begins on {each.card.effective_from}" if each.card.effective_from > at else f"ended on {each.until}")
        for each in passed
    )
    return (
        f"{named}; of the cards in force on {at} {holds.card.name} is the latest, and it {ORIGINS[holds.origin]}{over}"
    )
