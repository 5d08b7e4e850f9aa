"""Rates of models: what tokens cost, and the most that a call can cost before it is made.

Arithmetic that commands and adapters share; it has no events, so no other layer has a file of this name.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Context, Decimal

from domain.errors import Refused
from domain.values import MONEY_DIGITS, TokenUsage

_QUANTUM = Decimal(1).scaleb(-MONEY_DIGITS)
_EXACT = Context(prec=60)
"""Wide enough that a product of tokens and a rate is never rounded before it is meant to be."""
_PER_MILLION = -6
_LARGEST_RATE = Decimal(10) ** 6

REQUEST_OVERHEAD = 128
"""Tokens that a server may add to any prompt: its chat template, a default system prompt."""
MESSAGE_OVERHEAD = 16
"""Tokens that a server may add to each message: role and separators."""


class UnknownRate(Refused):
    """No rate is known, so the call could cost anything: it is refused before it is sent."""

    code = "price_unknown"


@dataclass(frozen=True, slots=True)
class Rate:
    """USD per million tokens of one model, valid for prompts up to `max_input_tokens`."""

    rate_id: str
    input_per_million: Decimal
    output_per_million: Decimal
    max_input_tokens: int | None = None

    def __post_init__(self) -> None:
        for amount in (self.input_per_million, self.output_per_million):
            if not (amount.is_finite() and 0 <= amount < _LARGEST_RATE):
                raise ValueError(f"{self.rate_id}: a rate is a decimal from 0 to below {_LARGEST_RATE}, not {amount}")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a bill: tokens of one bucket at one rate, rounded once."""

    bucket: str
    tokens: int
    per_million: Decimal
    rate_id: str
    amount: Decimal


def lines_of(usage: TokenUsage, rate: Rate) -> list[Line]:
    """The bill of this usage; its lines add up to `cost_of`."""
    buckets = (
        ("input", usage.input_tokens, rate.input_per_million),
        ("output", usage.output_tokens, rate.output_per_million),
    )
    return [
        Line(bucket, tokens, per_million, rate.rate_id, _line(tokens, per_million, ROUND_HALF_EVEN))
        for bucket, tokens, per_million in buckets
    ]


def cost_of(usage: TokenUsage, rate: Rate) -> Decimal:
    """What this usage cost: exact, each line rounded once, half to even."""
    return sum((line.amount for line in lines_of(usage, rate)), Decimal(0))


def bound_of(input_upper_bound: int, max_output_tokens: int, rate: Rate) -> Decimal:
    """The most that a call within these limits can cost; never below `cost_of` of what it turns out to use."""
    if rate.max_input_tokens is not None and input_upper_bound > rate.max_input_tokens:
        raise UnknownRate(
            f"{rate.rate_id} holds up to {rate.max_input_tokens} input tokens, and this prompt may have "
            f"{input_upper_bound}: shorten it, choose another model, or add a rate for long prompts",
            rate_id=rate.rate_id,
        )
    return _EXACT.add(
        _line(input_upper_bound, rate.input_per_million, ROUND_CEILING),
        _line(max_output_tokens, rate.output_per_million, ROUND_CEILING),
    )


def upper_bound_tokens(messages: Iterable[str]) -> int:
    """No byte-level tokenizer makes more tokens of these messages, with what the server adds to them."""
    return REQUEST_OVERHEAD + sum(len(text.encode(errors="surrogatepass")) + MESSAGE_OVERHEAD for text in messages)


def _line(tokens: int, per_million: Decimal, rounding: str) -> Decimal:
    if tokens < 0:
        raise ValueError(f"tokens cannot be negative: {tokens}")
    product = _EXACT.multiply(Decimal(tokens), per_million).scaleb(_PER_MILLION, _EXACT)
    return product.quantize(_QUANTUM, rounding=rounding, context=_EXACT)
