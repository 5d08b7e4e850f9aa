"""Which price is in force: by day, by id, by snapshot; a fix replaces, an edit is refused."""

from datetime import date, timedelta

import pytest
from pydantic import ValidationError

from domain.pricing import Catalogue, ModelPrices, Price, PriceCard, PriceUnknown
from tests.domain.pricing.cards import CARD, DAY, PLAIN


def card(day: date = DAY, *, rate: str = "1", fix: int = 0, model: str = "m-1") -> PriceCard:
    prices = ModelPrices(model=model, prices=(Price(rates={"input": rate, "output": rate}),))
    return PriceCard(provider="acme", effective_from=day, fix=fix, source="tests", models=(prices,))


def input_rate(catalogue: Catalogue, model: str, at: date) -> str:
    return catalogue.quote("acme", model, at).prices.prices[0].rates["input"]


def test_a_price_holds_from_its_day_until_the_next_one_begins() -> None:
    later = DAY + timedelta(days=30)
    catalogue = Catalogue([card(later, rate="2"), card()])
    assert [input_rate(catalogue, "m-1", day) for day in (DAY, later - timedelta(days=1), later)] == ["1", "1", "2"]
    with pytest.raises(PriceUnknown, match="begins on 2026-11-01"):
        catalogue.quote("acme", "m-1", DAY - timedelta(days=1))


def test_a_fix_replaces_the_card_of_its_day_in_whatever_order_they_come() -> None:
    wrong, right = card(rate="1"), card(rate="3", fix=1)
    for cards in ([wrong, right], [right, wrong]):
        found = Catalogue(cards).quote("acme", "m-1", DAY)
        assert (found.card, found.prices.prices[0].rates["input"]) == ("acme@2026-11-01.1", "3")


def test_a_published_card_is_never_edited() -> None:
    catalogue = Catalogue([card()])
    catalogue.add(card())  # the same once more is nothing new
    with pytest.raises(ValueError, match="never edited"):
        catalogue.add(card(rate="2"))


@pytest.mark.parametrize("model", ["m-1", "m-1-20251001", "m-1-2025-10-01", "m-1@20251001"])
def test_a_dated_snapshot_has_the_price_of_its_model(model: str) -> None:
    assert input_rate(Catalogue([card()]), model, DAY) == "1"


def test_a_snapshot_with_a_price_of_its_own_has_that() -> None:
    catalogue = Catalogue([card(), PriceCard(provider="acme", effective_from=DAY, fix=0, source="t", models=(
        ModelPrices(model="x-1", prices=(Price(rates={"input": "9"}),)),
        ModelPrices(model="x-1-20251001", prices=(Price(rates={"input": "7"}),)),
    )).model_copy(update={"effective_from": DAY + timedelta(days=1)})])  # fmt: skip
    assert input_rate(catalogue, "x-1-20251001", DAY + timedelta(days=1)) == "7"


def test_any_model_of_a_provider_may_have_one_price_and_an_exact_one_goes_first() -> None:
    catalogue = Catalogue([card(model="*", rate="0"), card(DAY - timedelta(days=9), model="m-1", rate="5")])
    assert input_rate(catalogue, "whatever", DAY) == "0"
    assert input_rate(catalogue, "m-1", DAY) == "5"


def test_an_unknown_model_is_refused_with_the_command_that_adds_it() -> None:
    with pytest.raises(PriceUnknown, match="toybox prices import FILE"):
        Catalogue([CARD]).quote("acme", "m-2", DAY)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"prices": (*PLAIN.prices, *PLAIN.prices)}, "two prices for the same"),
        ({"prices": (Price(above_input_tokens=5, rates={"input": "1"}),)}, "begins at above_input_tokens 0"),
        ({"prices": ()}, "at least 1 item"),
        ({"prices": ({"rates": {"input": "-1"}},)}, "String should match pattern"),
        ({"prices": ({"rates": {"inputs": "1"}},)}, "Input should be 'input'"),
    ],
)
def test_a_card_that_cannot_be_meant_is_refused(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        ModelPrices.model_validate({**PLAIN.model_dump(), **change})


def test_one_card_does_not_price_a_model_twice() -> None:
    twice = PriceCard(provider="acme", effective_from=DAY, source="t", models=(
        PLAIN, ModelPrices(model="other", also=("plain-1",), prices=(Price(rates={"input": "9"}),))))  # fmt: skip
    with pytest.raises(ValueError, match="plain-1 twice"):
        Catalogue([twice])


def test_cards_and_models_are_listed() -> None:
    catalogue = Catalogue([card(), CARD.model_copy(update={"provider": "other"})])
    assert [each.name for each in catalogue.cards()] == ["acme@2026-11-01", "other@2026-11-01"]
    assert catalogue.models("other") == ("plain-1", "rich", "rich-1")
