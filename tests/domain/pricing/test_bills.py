"""What usage costs, with the arithmetic written out; the sum of the lines is the cost."""

from collections.abc import Mapping
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.pricing import (
    BUCKETS,
    Bucket,
    Line,
    ModelPrices,
    Pass,
    Price,
    PriceUnknown,
    Quote,
    Usage,
    lines_of,
    reported_line,
    total,
)
from tests.domain.pricing.cards import quote

GOLDEN: list[tuple[str, Usage, dict[str, str]]] = [
    (
        "text: 1,000 × $4 ÷ 1,000,000 = $0.004; 500 × $20 ÷ 1,000,000 = $0.01",
        Usage.simple("rich-1", input_tokens=1000, output_tokens=500),
        {"input": "0.004", "output": "0.01"},
    ),
    (
        "cache: 100 × 4 = 400; 9,000 × 0.2 = 1,800; 300 × 5 = 1,500; 200 × 8 = 1,600 millionths",
        Usage(
            passes=[
                Pass.of(
                    "rich-1",
                    {
                        "input": 100,
                        "input_cache_read": 9000,
                        "input_cache_write_5m": 300,
                        "input_cache_write_1h": 200,
                    },
                )
            ]
        ),
        {
            "input": "0.0004",
            "input_cache_read": "0.0018",
            "input_cache_write_5m": "0.0015",
            "input_cache_write_1h": "0.0016",
        },
    ),
    (
        "sound: 250 × $32 ÷ 1,000,000 = $0.008; 125 × $64 ÷ 1,000,000 = $0.008",
        Usage(passes=[Pass.of("rich-1", {"input_audio": 250, "output_audio": 125})]),
        {"input_audio": "0.008", "output_audio": "0.008"},
    ),
    (
        "tools: 3 searches × $10 ÷ 1,000 = $0.03",
        Usage(passes=[Pass.of("rich-1", {"input": 1, "web_search": 3})]),
        {"input": "0.000004", "web_search": "0.03"},
    ),
    (
        "minutes: 90,000 ms × $0.006 ÷ 60,000 = $0.009",
        Usage(passes=[Pass.of("rich-1", {"audio_ms": 90_000})]),
        {"audio_ms": "0.009"},
    ),
    (
        "a third of a cent per minute: 1 ms × 0.006 ÷ 60,000 = 0.0000001 exactly",
        Usage(passes=[Pass.of("rich-1", {"audio_ms": 1})]),
        {"audio_ms": "0.0000001"},
    ),
    (
        "above the band: 200,001 are read in all, so each is at the long price: 1 × 8, 200,000 × 0.4",
        Usage(passes=[Pass.of("rich-1", {"input": 1, "input_cache_read": 200_000, "output": 10})]),
        {"input": "0.000008", "input_cache_read": "0.08", "output": "0.0003"},
    ),
    (
        "at the edge of the band: exactly 200,000 is still the short price: 200,000 × 4 ÷ 1,000,000 = 0.8",
        Usage(passes=[Pass.of("rich-1", {"input": 200_000, "output": 10})]),
        {"input": "0.8", "output": "0.0002"},
    ),
    (
        "batch: 1,000 × 2 = 2,000; 100 × 0.1 = 10; 500 × 10 = 5,000 millionths",
        Usage(tier="batch", passes=[Pass.of("rich-1", {"input": 1000, "input_cache_read": 100, "output": 500})]),
        {"input": "0.002", "input_cache_read": "0.00001", "output": "0.005"},
    ),
    (
        "fast: 1,000 × 8, 500 × 40 millionths",
        Usage(speed="fast", passes=[Pass.of("rich-1", {"input": 1000, "output": 500})]),
        {"input": "0.008", "output": "0.02"},
    ),
    (
        "region: 1,000 × 4.4, 500 × 22 millionths",
        Usage(region="us", passes=[Pass.of("rich-1", {"input": 1000, "output": 500})]),
        {"input": "0.0044", "output": "0.011"},
    ),
    (
        "a region without a price of its own has that of any: 1,000 × 4 millionths",
        Usage(region="eu", passes=[Pass.of("rich-1", {"input": 1000})]),
        {"input": "0.004"},
    ),
]


@pytest.mark.parametrize(("why", "usage", "expected"), GOLDEN, ids=[case[0].partition(":")[0] for case in GOLDEN])
def test_a_bill_is_what_its_arithmetic_says(why: str, usage: Usage, expected: Mapping[str, str]) -> None:
    lines = lines_of(usage, quote)
    assert {line.bucket: line.amount for line in lines} == {name: Decimal(text) for name, text in expected.items()}, why
    assert total(lines) == sum(map(Decimal, expected.values()))


def test_each_pass_is_billed_at_its_own_model_and_its_own_band() -> None:
    usage = Usage(
        passes=[
            Pass.of("rich-1", {"input": 150_000, "output": 100}),  # 0.6 + 0.002
            Pass.of("rich-1", {"input": 200_001}, kind="compaction"),  # 200,001 × 8 ÷ 1,000,000 = 1.600008
            Pass.of("plain-1", {"input": 1000, "output": 1000}, kind="advisor"),  # 0.0001 + 0.0005
        ]
    )
    lines = lines_of(usage, quote)
    assert [(line.model, line.bucket, str(line.amount.normalize())) for line in lines] == [
        ("rich-1", "input", "0.6"),
        ("rich-1", "output", "0.002"),
        ("rich-1", "input", "1.600008"),
        ("plain-1", "input", "0.0001"),
        ("plain-1", "output", "0.0005"),
    ]
    assert total(lines) == Decimal("2.202608")
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (351_001, 1100, 352_101)


def test_a_line_names_the_figure_of_the_card_that_it_comes_from() -> None:
    (line,) = lines_of(Usage(tier="batch", passes=[Pass.of("rich-1", {"output": 7})]), quote)
    assert line == Line(
        "rich-1", "output", 7, Decimal(10), 1_000_000, "acme@2026-11-01/rich-1/batch.standard.any.0#output",
        Decimal("0.00007"),
    )  # fmt: skip


@pytest.mark.parametrize(("tokens", "picos"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)])
def test_half_a_pico_dollar_is_rounded_up_once_per_line(tokens: int, picos: int) -> None:
    prices = ModelPrices(model="fine", prices=(Price(rates={"output": "0.0000005"}),))  # half a pico-dollar a token
    usage = Usage(passes=[Pass.of("fine", {"output": tokens})])
    (line,) = lines_of(usage, lambda _: Quote(card="acme@2026-11-01", model="fine", prices=prices))
    assert line.amount == Decimal(picos).scaleb(-12)


@pytest.mark.parametrize(
    ("usage", "names"),
    [
        (Usage(passes=[Pass.of("rich-1", {"input_image": 1})]), "input_image"),
        (Usage(speed="fast", passes=[Pass.of("rich-1", {"input_cache_read": 1})]), "input_cache_read"),
        (Usage(tier="flex", passes=[Pass.of("rich-1", {"input": 1})]), "tier flex"),
        (Usage(passes=[Pass.of("rich-1", {"input_audio": 1, "input": 200_001})]), "input"),
        (Usage(passes=[Pass.of("unheard-of", {"input": 1})]), "unheard-of"),
    ],
)
def test_what_has_no_price_is_never_free(usage: Usage, names: str) -> None:
    with pytest.raises(PriceUnknown, match=names) as refused:
        lines_of(usage, quote)
    assert "toybox prices import" in str(refused.value)


def test_what_the_provider_says_it_charges_is_one_line() -> None:
    usage = Usage(passes=[Pass.of("a/b", {"input": 10})], reported_cost=Decimal("0.00123"))
    assert [(line.bucket, line.amount, line.rate_id) for line in reported_line(usage, "openrouter")] == [
        ("reported", Decimal("0.00123"), "openrouter/reported")
    ]
    assert reported_line(Usage.simple("a/b", input_tokens=1, output_tokens=1), "openrouter") == []


def test_buckets_stand_once_and_in_order() -> None:
    with pytest.raises(ValueError, match="in the order of BUCKETS"):
        Pass.model_validate(
            {"model": "m", "quantities": [{"bucket": "output", "quantity": 1}, {"bucket": "input", "quantity": 1}]}
        )


PRICED: list[Bucket] = ["input", "input_cache_read", "input_cache_write_5m", "input_cache_write_1h", "output"]


@given(st.dictionaries(st.sampled_from(PRICED), st.integers(0, 40_000), min_size=1))
def test_the_sum_of_the_lines_is_the_exact_cost(counts: dict[Bucket, int]) -> None:
    rates = {"input": 4, "input_cache_read": Decimal("0.2"), "input_cache_write_5m": 5, "input_cache_write_1h": 8}
    exact = sum(
        (count * Decimal(rates.get(bucket, 20)) / 1_000_000 for bucket, count in counts.items()), start=Decimal(0)
    )
    assert total(lines_of(Usage(passes=[Pass.of("rich-1", counts)]), quote)) == exact


def test_every_bucket_reads_or_writes_or_is_a_use() -> None:
    usage = Usage(passes=[Pass.of("m", dict.fromkeys(BUCKETS, 1))])
    assert usage.input_tokens == sum(name.startswith("input") for name in BUCKETS)
    assert usage.output_tokens == 3
    assert all(usage.quantity(bucket) == 1 for bucket in BUCKETS)
