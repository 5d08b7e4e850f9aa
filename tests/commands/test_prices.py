"""Price cards: imported by one, approved by another, never edited; retired from a day on; closed months stay closed."""

from datetime import date
from typing import Any

import pytest

from commands.accounting import CloseMonth
from commands.handling import Principal
from commands.prices import ApprovePriceCard, ImportPriceCard, RetirePriceCard, WithdrawPriceCard
from domain.accounting import check_month
from domain.errors import Conflict, NotAllowed, NotFound, Refused
from domain.ids import price_card_id
from domain.prices import ImportedCard
from domain.pricing import ModelPrices, Price, PriceCard
from domain.pricing.reading import InvalidCard
from tests.support.story import Story

CLERK = Principal("clerk", frozenset({"prices.import"}))
CHIEF = Principal("chief", frozenset({"prices.approve"}))


def card(day: str = "2026-11-20", rate: str = "2", **more: Any) -> PriceCard:
    facts: dict[str, Any] = {"provider": "acme", "source": "their page", "effective_from": date.fromisoformat(day)}
    models = (ModelPrices(model="one", prices=(Price(rates={"input": rate, "output": "9"}),)),)
    return PriceCard.model_validate(facts | {"models": models} | more)


NAME = "acme@2026-11-20"


async def test_one_imports_and_another_approves(story: Story) -> None:
    await story.when(ImportPriceCard(card=card()), principal=CLERK)
    (said,) = story.then("price_card.imported")
    assert (said["name"], said["by"], said["card"]["models"][0]["prices"]) == (
        NAME, "clerk", [{"rates": {"input": "2", "output": "9"}}],
    )  # fmt: skip
    await story.when(ApprovePriceCard(name=NAME), principal=CLERK)
    story.then_refused(NotAllowed)
    await story.when(ApprovePriceCard(name=NAME), principal=CHIEF)
    assert story.then("price_card.published") == [{"name": NAME, "by": "chief"}]
    await story.when(ApprovePriceCard(name=NAME))
    story.then()
    await story.when(ImportPriceCard(card=card()), principal=CHIEF)
    story.then_refused(NotAllowed)


async def test_the_same_card_again_changes_nothing_and_another_of_its_name_is_refused(story: Story) -> None:
    await story.given(ImportPriceCard(card=card()))
    await story.when(ImportPriceCard(card=card()))
    story.then()
    await story.when(ImportPriceCard(card=card(rate="3")))
    story.then_refused(Conflict, code="price_card_exists", saying="acme@2026-11-20.1")
    await story.given(ApprovePriceCard(name=NAME))
    await story.when(ImportPriceCard(card=card(rate="3", fix=1)))
    story.then("price_card.imported")


async def test_a_card_is_retired_from_a_day_on(story: Story) -> None:
    await story.given(ImportPriceCard(card=card()))
    await story.when(RetirePriceCard(name=NAME))
    story.then_refused(Refused, code="price_card_status", saying="only a card in use can be retired")
    await story.given(ApprovePriceCard(name=NAME))
    await story.when(RetirePriceCard(name=NAME, from_day=date(2026, 11, 19)))
    story.then_refused(Refused, code="invalid_day", saying="begins on 2026-11-20")
    await story.when(RetirePriceCard(name=NAME))
    assert story.then("price_card.retired")[0]["from_day"] == "2026-11-21"
    assert story.state(ImportedCard, price_card_id(NAME)).retired_from == date(2026, 11, 21)
    for again in (RetirePriceCard(name=NAME), ApprovePriceCard(name=NAME), WithdrawPriceCard(name=NAME)):
        await story.when(again)
        story.then_refused(Refused, code="price_card_status")
    await story.when(ImportPriceCard(card=card()))
    story.then_refused(Conflict, saying="is retired")


async def test_a_card_that_waits_is_withdrawn_and_its_name_stays_taken(story: Story) -> None:
    await story.given(ImportPriceCard(card=card()))
    await story.when(WithdrawPriceCard(name=NAME))
    story.then("price_card.withdrawn")
    await story.when(ApprovePriceCard(name=NAME))
    story.then_refused(Refused, saying="import its prices as the next fix")
    await story.when(ApprovePriceCard(name="acme@2020-01-01"))
    story.then_refused(NotFound)


async def test_a_card_for_a_closed_month_has_to_say_that_it_reaches_back(story: Story) -> None:
    old = card("2026-10-05")
    await story.given(ImportPriceCard(card=old), CloseMonth(month="2026-10"))
    await story.when(ApprovePriceCard(name=old.name))
    story.then_refused(Refused, code="period_closed", saying="--reaches-back")
    mended = card("2026-10-05", fix=1)
    await story.when(ImportPriceCard(card=mended))
    story.then_refused(Refused, code="period_closed", saying="2026-10")
    await story.given(ImportPriceCard(card=mended, reaches_back=True))
    await story.when(ApprovePriceCard(name=mended.name))
    story.then("price_card.published")
    await story.when(RetirePriceCard(name=mended.name, from_day=date(2026, 10, 9)))
    story.then_refused(Refused, code="period_closed")
    await story.when(RetirePriceCard(name=mended.name, from_day=date(2026, 11, 1)))
    story.then("price_card.retired")


async def test_months_are_closed_in_order_once_they_are_over(story: Story) -> None:
    await story.when(CloseMonth(month="2026-11"))
    story.then_refused(Refused, code="month_not_over", saying="close 2026-10 or an earlier one")
    await story.when(CloseMonth(month="2026-09"))
    story.then("accounting.opened", "accounting.month_closed")
    await story.when(CloseMonth(month="2026-10"))
    assert story.then("accounting.month_closed") == [{"month": "2026-10", "by": "owner"}]
    for again in ("2026-10", "2026-08"):
        await story.when(CloseMonth(month=again))
        story.then()


def test_a_month_is_written_as_year_and_month() -> None:
    assert check_month("2026-10") == "2026-10"
    with pytest.raises(Refused, match="write it as 2026-10"):
        check_month("October")


@pytest.mark.parametrize(
    ("prices", "said"),
    [
        ({"rates": {"input": "20000"}}, "20000 USD"),
        ({"tier": "batch", "rates": {"input": "1"}}, "default tier"),
        ({"above_input_tokens": 0, "region": "us", "rates": {"input": "1"}}, "default tier"),
    ],
)
async def test_a_card_that_makes_no_sense_is_refused_with_its_fix(
    story: Story, prices: dict[str, Any], said: str
) -> None:
    made = card(models=(ModelPrices(model="one", prices=(Price.model_validate(prices),)),))
    await story.when(ImportPriceCard(card=made))
    story.then_refused(InvalidCard, code="invalid_card", saying=said)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"provider": "Acme"}, "provider: no provider is called 'Acme'"),
        ({"provider": "a" * 190}, "provider: no provider is called 'aaa"),
        ({"fix": 10_000}, "fix: at most 9999"),
    ],
)
async def test_a_card_that_no_provider_could_use_is_refused(story: Story, facts: dict[str, Any], said: str) -> None:
    await story.when(ImportPriceCard(card=card(**facts)))
    story.then_refused(InvalidCard, code="invalid_card", saying=said)
