"""The arithmetic of rates: exact, rounded once, and bounds that are never below the cost."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.rates import Rate, UnknownRate, bound_of, cost_of, upper_bound_tokens
from domain.values import MONEY_DIGITS, TokenUsage

tokens = st.integers(0, 10**12)
prices = st.decimals(0, 10**5, places=12, allow_nan=False, allow_infinity=False)


def rate(per_input: str, per_output: str, **more) -> Rate:
    return Rate("test/m@2026-01-01", Decimal(per_input), Decimal(per_output), **more)


def used(sent: int, received: int) -> TokenUsage:
    return TokenUsage(input_tokens=sent, output_tokens=received)


@pytest.mark.parametrize(
    ("usage", "prices", "cost"),
    [
        (used(1000, 500), ("2", "8"), "0.006"),
        (used(0, 0), ("2", "8"), "0"),
        (used(1, 0), ("0.0000005", "0"), "0"),  # half a unit rounds to even: down
        (used(3, 0), ("0.0000005", "0"), "0.000000000002"),  # one and a half: up
        (used(1, 1), ("0.0000004", "0.0000004"), "0"),  # each line is rounded by itself
        (used(10**12, 10**12), ("99999.999999999999", "0"), "99999999999.999999"),
    ],
)
def test_cost_is_exact_and_each_line_rounded_once(usage: TokenUsage, prices: tuple[str, str], cost: str):
    assert cost_of(usage, rate(*prices)) == Decimal(cost)


def test_a_bound_is_rounded_up():
    assert bound_of(1, 0, rate("0.0000004", "0")) == Decimal("0.000000000001")


@given(tokens, tokens, prices, prices)
def test_cost_is_the_true_product_to_within_half_a_unit_a_line(sent: int, received: int, x: Decimal, y: Decimal):
    cost = cost_of(used(sent, received), Rate("r", x, y))
    true = (sent * Fraction(x) + received * Fraction(y)) / 10**6
    assert abs(Fraction(cost) - true) <= Fraction(1, 10**MONEY_DIGITS)
    assert cost == cost.quantize(Decimal(1).scaleb(-MONEY_DIGITS)) or cost >= 10**15


@given(tokens, tokens, st.integers(0, 10**6), st.integers(0, 10**6), prices, prices)
def test_a_bound_is_never_below_the_cost_of_what_stays_within_it(
    sent: int, received: int, spare: int, more: int, x: Decimal, y: Decimal
):
    price = Rate("r", x, y)
    assert bound_of(sent + spare, received + more, price) >= cost_of(used(sent, received), price)


def test_a_rate_for_short_prompts_gives_no_bound_for_long_ones():
    short = rate("1", "1", max_input_tokens=1000)
    assert bound_of(1000, 5, short) > 0
    with pytest.raises(UnknownRate, match="up to 1000 input tokens"):
        bound_of(1001, 5, short)


@pytest.mark.parametrize("bad", ["-1", "NaN", "Infinity", "1000000"])
def test_a_rate_is_a_finite_amount_that_is_not_negative(bad: str):
    with pytest.raises(ValueError, match="a rate is a decimal"):
        rate(bad, "1")


def test_tokens_cannot_be_negative():
    with pytest.raises(ValueError, match="negative"):
        bound_of(-1, 0, rate("1", "1"))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=50), max_size=5))
def test_no_byte_level_tokenizer_counts_more_than_the_bound(texts: list[str]):
    assert upper_bound_tokens(texts) >= sum(len(text.encode()) for text in texts) + 4 * len(texts)


def test_half_a_surrogate_pair_has_a_bound_too():
    assert upper_bound_tokens(["\ud800"]) > 3
