"""What usage costs: one line per bucket and pass, exact, each rounded once; and the most that a call can cost.

cost = Σ quantity × rate ÷ per, over the lines; a line is rounded half up to one pico-dollar, a bound always up.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_HALF_UP, Context, Decimal
from typing import Final

from domain.pricing.prices import Price, PriceUnknown, Quote, dearest, per
from domain.pricing.usage import BUCKETS, TEXT_READ, Bucket, Pass, Standard, Usage
from domain.values import MONEY_DIGITS, ZERO

_QUANTUM: Final = Decimal(1).scaleb(-MONEY_DIGITS)
_EXACT: Final = Context(prec=60)
"""Wide enough that a product is never rounded before it is meant to be."""

REQUEST_OVERHEAD: Final = 128
"""Tokens that a server may add to any prompt: its chat template, a default system prompt."""
MESSAGE_OVERHEAD: Final = 16
"""Tokens that a server may add to each message: role and separators."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a bill: so many of one bucket at one rate, rounded once."""

    model: str
    bucket: str
    quantity: int
    rate: Decimal
    per: int
    rate_id: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a request may be billed at, before anybody knows: the tiers, speeds and regions that it allows."""

    tiers: frozenset[str] = frozenset({Standard})
    speeds: frozenset[str] = frozenset({Standard})
    regions: frozenset[str | None] = frozenset({None})
    tools: Mapping[Bucket, int] = field(default_factory=dict[Bucket, int])
    """Uses of the provider's own tools that the request permits."""
    reading: frozenset[Bucket] = TEXT_READ
    """Ways in which the prompt may be read: which caches a request may fill or be served from. Every one, unless told;
    a cache that a request cannot reach need not be held for."""
    passes: int = 1
    """Times that the prompt may be read: one, and one more for each compaction or fallback that it permits."""


def lines_of(usage: Usage, quote: Callable[[str], Quote]) -> list[Line]:
    """The bill of this usage; `quote` finds the price of a model. PriceUnknown when any of it has none.

    Tier, speed and region are the answer's. The band is that of each pass, by all that it read.
    """
    return [line for each in usage.passes for line in _lines(each, usage, quote(each.model))]


def total(lines: Iterable[Line]) -> Decimal:
    """The sum of stored lines: what any figure is explained by."""
    return sum((line.amount for line in lines), ZERO)


def reported_line(usage: Usage, provider: str) -> list[Line]:
    """The bill that the provider itself wrote; empty where it wrote none."""
    if usage.reported_cost is None:
        return []
    amount, model = usage.reported_cost, usage.passes[0].model
    return [Line(model, "reported", 1, amount, 1, f"{provider}/reported", amount)]


def bound_of(
    quote: Quote,
    *,
    input_upper_bound: int,
    max_output_tokens: int,
    conditions: Conditions = Conditions(),
) -> Decimal:
    """The most that a call within these limits can cost; never below `total` of what it turns out to use.

    Every token of the prompt is taken at the dearest way of reading it that may apply (caches, long band, fast,
    region), every token of the answer at the dearest way of writing.
    """
    longest = quote.prices.max_input_tokens
    if longest is not None and input_upper_bound > longest:
        raise PriceUnknown(
            f"{quote.card}: {quote.model} has prices for up to {longest} input tokens, and this prompt may have "
            f"{input_upper_bound}: shorten it, choose another model, or add a price for long prompts",
            model=quote.model,
        )
    possible = _possible(quote, input_upper_bound, conditions)
    reading = _dearest(quote, possible, [each for each in BUCKETS if each in conditions.reading])
    writing = _dearest(quote, possible, ("output",))
    once = _amount(input_upper_bound, reading, per("input"), ROUND_CEILING)
    answer = _amount(max_output_tokens, writing, per("output"), ROUND_CEILING)
    tools = [
        _amount(uses, _dearest(quote, possible, (bucket,)), per(bucket), ROUND_CEILING)
        for bucket, uses in conditions.tools.items()
    ]
    return sum(tools, (once + answer) * conditions.passes) + _slack(possible, conditions)


def upper_bound_tokens(messages: Iterable[str]) -> int:
    """No byte-level tokenizer makes more tokens of these messages, with what the server adds to them."""
    return REQUEST_OVERHEAD + sum(len(text.encode(errors="surrogatepass")) + MESSAGE_OVERHEAD for text in messages)


def _lines(of: Pass, usage: Usage, quote: Quote) -> Iterable[Line]:
    price = quote.prices.price(tier=usage.tier, speed=usage.speed, region=usage.region, input_tokens=of.input_tokens)
    if price is None:
        raise PriceUnknown(
            f"{quote.card} has no price of {quote.model} for tier {usage.tier}, speed {usage.speed}, region "
            f"{usage.region or 'any'}: add it in a card of its own (toybox prices import FILE)",
            model=quote.model,
        )
    for each in of.quantities:
        rate = price.rate(each.bucket)
        if rate is None:
            raise PriceUnknown(
                f"{quote.card} has no price of {quote.model} for {each.bucket} ({price.condition}): add it in a card "
                "of its own (toybox prices import FILE)",
                model=quote.model,
                bucket=each.bucket,
            )
        amount = _amount(each.quantity, rate, per(each.bucket), ROUND_HALF_UP)
        yield Line(
            of.model, each.bucket, each.quantity, rate, per(each.bucket), quote.rate_id(price, each.bucket), amount
        )


def _possible(quote: Quote, input_upper_bound: int, conditions: Conditions) -> Sequence[Price]:
    """Every price that may turn out to apply. A band counts as soon as the prompt may reach it."""
    return [
        each
        for each in quote.prices.prices
        if each.tier in conditions.tiers
        and each.speed in conditions.speeds
        and (each.region is None or each.region in conditions.regions)
        and each.above_input_tokens < max(1, input_upper_bound)
    ]


def _slack(possible: Sequence[Price], conditions: Conditions) -> Decimal:
    """What half-up rounding of many lines may add to a bound that is rounded once: nothing at whole pico-dollars."""
    rounds = any(
        _EXACT.divide(Decimal(rate), Decimal(per(bucket))) % _QUANTUM
        for price in possible
        for bucket, rate in price.rates.items()
    )
    return _QUANTUM * len(BUCKETS) * conditions.passes if rounds else ZERO


def _dearest(quote: Quote, possible: Sequence[Price], buckets: Iterable[Bucket]) -> Decimal:
    named = tuple(buckets)
    rate = dearest(named, possible)
    if rate is None:
        raise PriceUnknown(
            f"{quote.card} has no price of {quote.model} for {named[0]} that this request may be billed at: add it "
            "in a card of its own (toybox prices import FILE)",
            model=quote.model,
            bucket=named[0],
        )
    return rate


def _amount(quantity: int, rate: Decimal, unit: int, rounding: str) -> Decimal:
    if quantity < 0:
        raise ValueError(f"a quantity cannot be negative: {quantity}")
    product = _EXACT.multiply(Decimal(quantity), rate)
    return _EXACT.divide(product, Decimal(unit)).quantize(_QUANTUM, rounding=rounding, context=_EXACT)
