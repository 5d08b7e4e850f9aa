"""Golden vectors: every bucket, tier, speed, region, band and pass, each with its arithmetic written out in a file."""

from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.pricing import BUCKETS, Catalogue, Line, Pass, PriceCard, Usage, lines_of, per, total
from domain.values import money_text

FILE: Final = Path(__file__).with_name("golden_vectors.json")
HELD: Final[dict[str, Any]] = orjson.loads(FILE.read_bytes())
CARD: Final = PriceCard.model_validate(HELD["card"])
CATALOGUE: Final = Catalogue([CARD])
VECTORS: Final[list[dict[str, Any]]] = HELD["vectors"]
CONDITIONS: Final = [price for prices in CARD.models for price in prices.prices]


def usage_of(vector: dict[str, Any]) -> Usage:
    passes = [Pass.of(each["model"], each["counts"], kind=each["kind"]) for each in vector["passes"]]
    return Usage(passes=passes, tier=vector["tier"], speed=vector["speed"], region=vector["region"])


def bill(usage: Usage) -> list[Line]:
    return lines_of(usage, lambda model: CATALOGUE.quote(CARD.provider, model, CARD.effective_from))


def arithmetic(line: Line) -> str:
    """As a person would write it."""
    return f"{line.quantity} x {money_text(line.rate)} / {line.per} = {money_text(line.amount)}"


@pytest.mark.parametrize("vector", VECTORS, ids=[each["name"] for each in VECTORS])
def test_a_bill_is_what_the_file_works_out(vector: dict[str, Any]) -> None:
    lines = bill(usage_of(vector))
    assert [[line.model, line.bucket, arithmetic(line)] for line in lines] == vector["lines"]
    assert money_text(total(lines)) == vector["total"]


@pytest.mark.parametrize("vector", VECTORS, ids=[each["name"] for each in VECTORS])
def test_what_the_file_writes_out_is_true_without_our_code(vector: dict[str, Any]) -> None:
    amounts = list[Decimal]()
    for _, _, written in vector["lines"]:
        left, _, right = written.partition(" = ")
        quantity, _, rest = left.partition(" x ")
        rate, _, unit = rest.partition(" / ")
        exact = int(quantity) * int(Decimal(rate) * 10**12)
        picos, remainder = divmod(exact, int(unit))
        amounts.append(Decimal(right))
        assert Decimal(right) == Decimal(picos + (2 * remainder >= int(unit))).scaleb(-12)
    assert sum(amounts) == Decimal(vector["total"])


def test_every_bucket_stands_in_every_condition_of_the_file() -> None:
    seen = {
        (line.bucket, line.rate_id.partition("#")[0].rpartition("/")[2])
        for each in VECTORS
        for line in bill(usage_of(each))
    }
    wanted = {(bucket, price.condition) for price in CONDITIONS for bucket in price.rates}
    assert wanted <= seen
    assert {bucket for bucket, _ in wanted} == set(BUCKETS)
    kinds = {each["kind"] for vector in VECTORS for each in vector["passes"]}
    assert {"message", "compaction", "advisor", "fallback"} <= kinds


def test_each_rate_of_the_file_differs_so_that_a_wrong_one_shows() -> None:
    for bucket in BUCKETS:
        rates = [price.rates[bucket] for price in CONDITIONS if bucket in price.rates]
        assert len(set(rates)) == len(rates), bucket


@given(
    st.lists(
        st.tuples(st.sampled_from([each.model for each in CARD.models]), st.dictionaries(
            st.sampled_from(BUCKETS), st.integers(1, 10**7), min_size=1)),
        min_size=1, max_size=4,
    ),
    st.sampled_from(sorted({(each.tier, each.speed, each.region or "") for each in CONDITIONS})),
)  # fmt: skip
def test_the_sum_of_the_lines_is_the_total_and_within_half_a_pico_of_exact(
    passes: list[tuple[str, Any]], condition: tuple[str, str, str]
) -> None:
    tier, speed, region = condition
    usage = Usage(passes=[Pass.of(*each) for each in passes], tier=tier, speed=speed, region=region or None)
    lines = bill(usage)
    assert total(lines) == sum(line.amount for line in lines)
    for line in lines:
        assert abs(line.amount * line.per - line.quantity * line.rate) * 2 <= Decimal(line.per).scaleb(-12)
        assert line.per == per(line.bucket)  # pyright: ignore[reportArgumentType] -- a line's bucket is one of them
    assert sum(line.quantity for line in lines) == sum(sum(counts.values()) for _, counts in passes)
