"""The most that a call can cost: no usage within its limits costs more, at any way that it may be billed."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.pricing import (
    Bucket,
    Conditions,
    ModelPrices,
    Pass,
    Price,
    PriceUnknown,
    Quote,
    Usage,
    bound_of,
    lines_of,
    total,
)
from tests.domain.pricing.cards import quote

READING: tuple[Bucket, ...] = ("input", "input_cache_read", "input_cache_write_5m")
ALL = Conditions(
    tiers=frozenset({"standard", "batch"}), speeds=frozenset({"standard"}), regions=frozenset({None, "us"})
)


def test_a_prompt_is_held_at_the_dearest_way_of_reading_it() -> None:
    # 1,000 × 8 (a cache write for an hour) + 500 × 20
    assert bound_of(quote("rich-1"), input_upper_bound=1000, max_output_tokens=500) == Decimal("0.018")


def test_a_cache_that_a_request_cannot_reach_is_not_held_for() -> None:
    def bound(*reading: Bucket) -> Decimal:
        conditions = Conditions(reading=frozenset(reading))
        return bound_of(quote("rich-1"), input_upper_bound=1000, max_output_tokens=500, conditions=conditions)

    assert bound("input") == bound("input", "input_cache_read") == Decimal("0.004") + Decimal("0.01")
    assert bound("input", "input_cache_write_5m") == Decimal("0.005") + Decimal("0.01")
    # No rate for it: whoever is billed so all the same is settled at the bound.
    assert bound("input", "input_cache_write_30m") == bound("input")


def test_a_request_that_can_only_be_read_in_a_way_without_a_price_is_not_let_out() -> None:
    only = Conditions(reading=frozenset[Bucket]({"input_cache_write_30m"}))
    with pytest.raises(PriceUnknown, match="input_cache_write_30m"):
        bound_of(quote("plain-1"), input_upper_bound=10, max_output_tokens=10, conditions=only)


@given(
    st.sets(st.sampled_from(READING), min_size=1),
    st.lists(st.integers(0, 60_000), min_size=3, max_size=3),
    st.integers(0, 5000),
)
def test_a_narrow_bound_still_covers_whatever_is_read_in_its_ways(
    ways: set[Bucket], counts: list[int], written: int
) -> None:
    read: dict[Bucket, int] = {way: count for way, count in zip(READING, counts, strict=True) if way in ways}
    usage = Usage(passes=[Pass.of("rich-1", {**read, "output": written})])
    bound = bound_of(
        quote("rich-1"),
        input_upper_bound=usage.input_tokens,
        max_output_tokens=written,
        conditions=Conditions(reading=frozenset(ways)),
    )
    if usage.input_tokens <= 200_000:
        assert total(lines_of(usage, quote)) <= bound


def test_a_longer_band_counts_as_soon_as_the_prompt_may_reach_it() -> None:
    short = bound_of(quote("rich-1"), input_upper_bound=200_000, max_output_tokens=1000)
    long = bound_of(quote("rich-1"), input_upper_bound=200_001, max_output_tokens=1000)
    assert short == Decimal("1.6") + Decimal("0.02")
    assert long == Decimal("1.600008") + Decimal("0.03")


def test_tools_passes_tiers_and_regions_that_the_request_allows_are_held_for() -> None:
    searching = Conditions(tools={"web_search": 5}, passes=2)
    once = bound_of(quote("rich-1"), input_upper_bound=1000, max_output_tokens=500)
    assert bound_of(
        quote("rich-1"), input_upper_bound=1000, max_output_tokens=500, conditions=searching
    ) == 2 * once + Decimal("0.05")
    fast = Conditions(speeds=frozenset({"standard", "fast"}))
    assert bound_of(quote("rich-1"), input_upper_bound=1000, max_output_tokens=500, conditions=fast) == Decimal(
        "0.008"
    ) + Decimal("0.02")


@pytest.mark.parametrize(
    ("conditions", "names"),
    [
        (Conditions(tiers=frozenset({"flex"})), "input"),
        (Conditions(tools={"web_fetch": 1}), "web_fetch"),
    ],
)
def test_what_has_no_price_is_not_let_out(conditions: Conditions, names: str) -> None:
    with pytest.raises(PriceUnknown, match=names):
        bound_of(quote("rich-1"), input_upper_bound=10, max_output_tokens=10, conditions=conditions)


def test_a_prompt_that_may_be_longer_than_any_price_is_refused() -> None:
    with pytest.raises(PriceUnknown, match="1000000 input tokens"):
        bound_of(quote("rich-1"), input_upper_bound=1_000_001, max_output_tokens=1)


@given(
    st.dictionaries(st.sampled_from(READING), st.integers(1, 60_000), min_size=1),
    st.integers(0, 5000),
    st.sampled_from(["standard", "batch"]),
    st.integers(0, 100_000),
)
def test_nothing_within_the_limits_costs_more_than_its_bound(
    read: dict[Bucket, int], written: int, tier: str, spare: int
) -> None:
    usage = Usage(tier=tier, passes=[Pass.of("rich-1", {**read, "output": written})])
    bound = bound_of(
        quote("rich-1"), input_upper_bound=usage.input_tokens + spare, max_output_tokens=written, conditions=ALL
    )
    if usage.input_tokens <= 200_000:
        assert total(lines_of(usage, quote)) <= bound


@given(st.lists(st.integers(1, 50), min_size=3, max_size=3))
def test_rounding_of_many_lines_stays_below_the_bound(counts: list[int]) -> None:
    fine = "0.0000005"  # half a pico-dollar a token
    prices = ModelPrices(model="fine", prices=(Price(rates={**dict.fromkeys(READING, fine), "output": fine}),))
    of = Quote(card="acme@2026-11-01", model="fine", prices=prices)
    read = dict(zip(READING, counts, strict=True))
    usage = Usage(passes=[Pass.of("fine", read)])
    bound = bound_of(of, input_upper_bound=sum(counts), max_output_tokens=0)
    assert total(lines_of(usage, lambda _: of)) <= bound
