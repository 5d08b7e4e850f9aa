"""Bills: what the provider charges, at the price of what answered; what has no price is settled at the bound."""

from datetime import date
from decimal import Decimal

import pytest
from structlog.testing import capture_logs

from domain.costs import Cost
from domain.ids import attempt_id, cost_id
from domain.pricing import Catalogue, Pass, Usage
from streams.dispatcher.billing import MOST_WARNINGS, Billing
from tests.domain.pricing.cards import CARD, DAY
from tests.streams.workshop import Workshop

PRICES = Catalogue([CARD])


def billing(told: set[str] | None = None, *, provider: str = "acme", on: date = DAY) -> Billing:
    return Billing(PRICES, provider, on, set() if told is None else told)


def usage(model: str = "rich-1", **more: object) -> Usage:
    plain = Usage.simple(model, input_tokens=1000, output_tokens=100)
    return Usage.model_validate(plain.model_dump() | more)


@pytest.mark.parametrize(
    ("used", "amount", "condition"),
    [
        (usage(), "0.006", "standard.standard.any.0"),
        (usage(tier="batch"), "0.003", "batch.standard.any.0"),
        (usage(speed="fast"), "0.012", "standard.fast.any.0"),
        (usage(region="us"), "0.0066", "standard.standard.us.0"),
    ],
)
def test_a_bill_is_made_at_the_tier_speed_and_region_of_the_answer(used: Usage, amount: str, condition: str) -> None:
    bill = billing().bill(used)
    assert (bill["amount"], bill["problem"]) == (Decimal(amount), None)
    assert sum(line.amount for line in bill["lines"]) == bill["amount"]
    assert {line.rate_id.partition("#")[0] for line in bill["lines"]} == {f"acme@2026-11-01/rich-1/{condition}"}


@pytest.mark.parametrize(
    ("used", "why"),
    [
        (usage(tier="scale"), "tier scale"),
        (usage("poor-1"), "poor-1"),
        (Usage(passes=[Pass.of("plain-1", {"input": 1, "input_cache_read": 3})]), "input_cache_read"),
    ],
)
def test_what_has_no_price_is_used_but_has_no_amount_and_says_why(used: Usage, why: str) -> None:
    bill = billing().bill(used)
    assert (bill["usage"], bill["lines"], bill["amount"]) == (used, [], None)
    assert why in (bill["problem"] or "")


def test_what_was_not_counted_keeps_the_reason() -> None:
    bill = billing().bill(None, "the usage lacks output_tokens")
    assert (bill["usage"], bill["amount"], bill["problem"]) == (None, None, "the usage lacks output_tokens")


@pytest.mark.parametrize("model", ["rich-1", "unheard-of"])
def test_a_provider_that_says_its_charge_is_billed_by_it(model: str) -> None:
    bill = billing().bill(usage(model, reported_cost=Decimal("0.25")))
    assert [(line.bucket, line.quantity, line.rate_id) for line in bill["lines"]] == [("reported", 1, "acme/reported")]
    assert bill["amount"] == Decimal("0.25")


def test_a_charge_is_compared_with_the_card_and_a_difference_is_told() -> None:
    with capture_logs() as said:
        billing().bill(usage(reported_cost=Decimal("0.006")))
        assert not said
        billing().bill(usage(reported_cost=Decimal("0.007")))
    assert "something else than its price card" in said[0]["because"]


def test_an_unknown_field_is_told_once_for_each_provider() -> None:
    told: set[str] = set()
    odd = usage(unknown_fields=["input_video_tokens"])
    with capture_logs() as said:
        for provider in ("acme", "acme", "other", "other"):
            billing(told, provider=provider).bill(odd, remarks=["look"])
    fields = [each["provider"] for each in said if each["because"] == "unknown usage field input_video_tokens"]
    assert fields == ["acme", "other"]
    assert [each["provider"] for each in said if each["because"] == "look"] == ["acme", "other"]


def test_whoever_sends_new_fields_all_the_time_is_not_listened_to_for_ever() -> None:
    with capture_logs() as said:
        billing({str(number) for number in range(MOST_WARNINGS)}).bill(usage(unknown_fields=["a"]))
    assert not said


async def test_an_answer_of_an_unknown_tier_is_settled_at_its_bound_with_the_reason(shop: Workshop) -> None:
    job = await shop.queue_job()
    shop.model.usage = Usage.simple("some", input_tokens=3, output_tokens=2).model_copy(update={"tier": "scale"})
    shop.model.go.set()
    await (await shop.attempt(job)).run()
    cost = shop.story.state(Cost, cost_id(attempt_id(job, 1)))
    admitted = next(each.payload() for each in shop.story.events if each.type == "llm_job.admitted")
    assert shop.job(job).status == "completed"
    assert (cost.estimated, cost.usage, cost.lines) == (True, shop.model.usage, [])
    assert cost.amount == shop.budget.settled == Decimal(admitted["bound"]) > 0
    assert "tier scale" in (cost.problem or "")
    assert shop.budget.held == 0


async def test_the_reason_of_an_estimate_is_short_enough_for_the_log(shop: Workshop) -> None:
    job = await shop.queue_job()
    shop.model.usage = Usage.simple("m" * 190, input_tokens=3, output_tokens=2).model_copy(update={"tier": "t" * 60})
    shop.model.go.set()
    await (await shop.attempt(job)).run()
    assert len(shop.story.state(Cost, cost_id(attempt_id(job, 1))).problem or "") == 200
