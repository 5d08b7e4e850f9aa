"""The price book: imported cards take effect in every process without a restart; the rate id says which was used."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from commands.prices import ApprovePriceCard, ImportPriceCard, RetirePriceCard, WithdrawPriceCard
from domain.pricing import Catalogue, ModelPrices, Price, PriceCard, PriceUnknown
from streams.price_book import PriceBook
from tests.streams.workshop import Workshop, workshop
from tests.support.story import Story, telling

DAY = date(2026, 11, 21)


def card(
    rate: str = "2", day: str = "2026-11-20", *, fix: int = 0, provider: str = "any", model: str = "some"
) -> PriceCard:
    prices = ModelPrices(model=model, prices=(Price(rates={"input": rate, "output": rate}),))
    return PriceCard(
        provider=provider, effective_from=date.fromisoformat(day), fix=fix, source="tests", models=(prices,)
    )


SHIPPED = Catalogue([card("1", "2026-11-01")])


@pytest.fixture
async def story() -> AsyncIterator[Story]:
    async with telling() as told:
        yield told


def rate(book: PriceBook, on: date = DAY) -> str:
    return book.quote("any", "some", on).prices.prices[0].rates["input"]


async def test_a_card_counts_from_its_approval_until_it_is_retired(story: Story) -> None:
    book, other = PriceBook(SHIPPED, story.store), PriceBook(SHIPPED, story.store)
    assert not await book.renew()
    await story.given(ImportPriceCard(card=card()))
    assert await book.renew()
    assert rate(book) == "1"
    await story.given(ApprovePriceCard(name="any@2026-11-20"))
    assert await book.renew()
    assert (rate(book), rate(book, date(2026, 11, 19))) == ("2", "1")
    await story.given(ImportPriceCard(card=card("3", fix=1)), ApprovePriceCard(name="any@2026-11-20.1"))
    assert (await book.current()).quote("any", "some", DAY).name == "any@2026-11-20.1/some"
    await story.given(RetirePriceCard(name="any@2026-11-20.1", from_day=DAY))
    await book.renew()
    assert (rate(book), rate(book, date(2026, 11, 20))) == ("2", "3")
    assert not await book.renew()
    await other.renew()
    assert [(rate(other), rate(other, day)) for day in (date(2026, 11, 20),)] == [("2", "3")]


async def test_a_withdrawn_card_prices_nothing_and_one_that_waits_is_named(story: Story) -> None:
    book = PriceBook(Catalogue(), story.store)
    await story.given(ImportPriceCard(card=card()))
    await book.renew()
    with pytest.raises(PriceUnknown, match="toybox prices approve any@2026-11-20"):
        rate(book)
    await story.given(WithdrawPriceCard(name="any@2026-11-20"))
    await book.renew()
    with pytest.raises(PriceUnknown, match="no price card names it"):
        rate(book)


async def test_an_approved_card_stands_before_a_shipped_one_of_its_name(story: Story) -> None:
    await story.given(ImportPriceCard(card=card("7", "2026-11-01")), ApprovePriceCard(name="any@2026-11-01"))
    book = PriceBook(SHIPPED, story.store)
    with capture_logs() as said:
        await book.renew()
        await story.given(ImportPriceCard(card=card()))
        await book.renew()
    assert rate(book) == "7"
    assert [each["card"] for each in said if "passed over" in each["event"]] == ["any@2026-11-01"]


async def test_it_keeps_up_with_the_log_by_itself(story: Story) -> None:
    book = PriceBook(SHIPPED, story.store)
    running = asyncio.create_task(book.run())
    try:
        await story.given(ImportPriceCard(card=card()), ApprovePriceCard(name="any@2026-11-20"))
        async with asyncio.timeout(5):
            while rate(book) != "2":  # noqa: ASYNC110 -- the book tells nobody
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def with_book(story: Story, folder: Path) -> tuple[Workshop, PriceBook]:
    """A worker that is priced by a book which does not follow the log by itself."""
    shop = await workshop(story, folder)
    book = PriceBook(Catalogue(), story.store)
    shop.spending = replace(shop.spending, prices=book, new_prices=book.renew)
    shop.model.go.set()
    return shop, book


async def test_a_job_without_a_price_is_denied_with_the_commands_that_mend_it(story: Story, tmp_path: Path) -> None:
    shop, _ = await with_book(story, tmp_path)
    job = await shop.queue_job()
    await (await shop.attempt(job)).run()
    assert (shop.job(job).status, shop.job(job).failure) == ("failed", "price_unknown")
    assert "toybox prices import FILE, toybox prices approve" in (shop.job(job).reason or "")
    assert shop.model.asked == []
    assert shop.budget.held == 0


async def test_a_price_that_was_approved_a_moment_ago_is_found_before_a_job_is_denied(
    story: Story, tmp_path: Path
) -> None:
    shop, _ = await with_book(story, tmp_path)
    job = await shop.queue_job()
    await story.given(ImportPriceCard(card=card()), ApprovePriceCard(name="any@2026-11-20"))
    assert await (await shop.attempt(job)).run() == 0
    assert shop.job(job).status == "queued"
    await (await shop.attempt(job)).run()
    assert shop.job(job).status == "completed"
    lines = next(each.payload()["lines"] for each in story.events if each.type == "cost.recorded")
    assert {each["rate_id"].partition("#")[0] for each in lines} == {"any@2026-11-20/some/standard.standard.any.0"}
    costs = [each.payload() for each in story.events if each.type == "cost.recorded"]
    assert [each["priced_on"] for each in costs] == ["2026-11-21"]
    assert [each["number"] for each in costs[0]["paid_by"]] == [1]
