"""The shipped price cards: they load, and an independent price list says the same, but for what is explained here."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

import pytest
from genai_prices import Usage as OracleUsage
from genai_prices import calc_price
from genai_prices.data import providers
from hypothesis import given
from hypothesis import strategies as st

import adapters.llm
from domain.pricing import Bucket, Catalogue, Pass, PriceCard, Usage, lines_of, total

FOLDER = Path(next(iter(adapters.llm.__path__))) / "prices"
CARDS = [PriceCard.model_validate_json(path.read_bytes()) for path in sorted(FOLDER.glob("*.json"))]
CATALOGUE = Catalogue(CARDS)
DAY = datetime(2026, 11, 21, tzinfo=UTC)

TOLD: Final[dict[Bucket, tuple[str, ...]]] = {
    "input": ("input_tokens",),
    "input_cache_read": ("input_tokens", "cache_read_tokens"),
    "input_cache_write_5m": ("input_tokens", "cache_write_tokens"),
    "input_cache_write_30m": ("input_tokens", "cache_write_tokens"),
    "input_cache_write_1h": ("input_tokens", "cache_write_tokens", "cache_write_1h_tokens"),
    "output": ("output_tokens",),
    "web_search": ("web_searches",),
}
"""How the oracle is told of one bucket: its counts include one another, ours do not."""
UNPRICED: Final = {"web_fetch": "the vendor charges its tokens only, and the oracle has no such unit"}
EXPLAINED: Final = {
    ("anthropic", "claude-sonnet-5-5", "input_cache_read"): "the vendor's pages had 0.20, the oracle has half of it",
}
"""Where we say something else than the oracle, and why."""


def known(provider: str) -> set[str]:
    """The models that the oracle has a price for."""
    return {model.id for each in providers if each.id == provider for model in each.models}


def ours(provider: str, model: str, counts: dict[Bucket, int]) -> Decimal:
    """What our cards make of it."""
    usage = Usage(passes=[Pass.of(model, counts)])
    return total(lines_of(usage, lambda name: CATALOGUE.quote(provider, name, DAY.date())))


def theirs(provider: str, model: str, counts: dict[Bucket, int]) -> Decimal:
    """What the oracle makes of it."""
    told: dict[str, int] = {"input_tokens": 0, "output_tokens": 0}
    for bucket, count in counts.items():
        for name in TOLD[bucket]:
            told[name] = told.get(name, 0) + count
    price = calc_price(OracleUsage(**told), model, provider_id=provider, genai_request_timestamp=DAY)
    return price.total_price


def figures() -> Iterator[tuple[str, str, Bucket, int]]:
    """Each standard rate of each shipped card, with a number of tokens that reaches its band."""
    for card in CARDS:
        for prices in card.models:
            for price in prices.prices:
                if (price.tier, price.speed, price.region) == ("standard", "standard", None) and prices.model != "*":
                    for bucket in price.rates:
                        yield card.provider, prices.model, bucket, price.above_input_tokens


@pytest.mark.parametrize(("provider", "model", "bucket", "above"), list(figures()))
def test_each_figure_is_the_oracles_or_explained(provider: str, model: str, bucket: Bucket, above: int) -> None:
    assert model in known(provider), "a model that the oracle does not know needs another check"
    if bucket in UNPRICED:
        return
    counts: dict[Bucket, int] = {bucket: 1000}
    if above:
        counts["input"] = counts.get("input", 0) + above + 1
    same = ours(provider, model, counts) == theirs(provider, model, counts)
    assert same != ((provider, model, bucket) in EXPLAINED), (ours(provider, model, counts), EXPLAINED)


@given(
    st.sampled_from(["claude-opus-5-5", "claude-haiku-5-5", "claude-haiku-4-5"]),
    st.dictionaries(
        st.sampled_from(["input", "input_cache_read", "input_cache_write_5m", "input_cache_write_1h", "output"]),
        st.integers(1, 90_000),
        min_size=1,
    ),
)
def test_whole_bills_agree_with_the_oracle(model: str, counts: dict[Bucket, int]) -> None:
    assert ours("anthropic", model, counts) == theirs("anthropic", model, counts)


def test_conditions_are_absolute_figures_in_the_ratios_that_the_vendors_name() -> None:
    for card in CARDS:
        for prices in card.models:
            standard = {
                each.above_input_tokens: each
                for each in prices.prices
                if each.key[:3] == ("standard", "standard", None)
            }
            for each in prices.prices:
                factor = {"batch": "0.5", "flex": "0.5", "priority": "2"}.get(each.tier, "1.1" if each.region else "1")
                base = standard[each.above_input_tokens]
                for bucket in each.rates:
                    expected = Decimal(1) if bucket.startswith("web_") else Decimal(factor)
                    assert each.rate(bucket) == (base.rate(bucket) or 0) * expected, (prices.model, each.key, bucket)
