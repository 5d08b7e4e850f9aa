"""Routes for prices: which holds when and why; importing, approving and retiring cards."""

from datetime import date
from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from api.answers import Done
from api.bodies import checked, json_of
from api.commanding import Commanding
from api.looking import Look, Looking, Truth, missing
from api.paging import Cursor, Limit, Listed
from api.permissions import may
from api.pricing import Applied, ModelPricesShown, applied, listed
from api.routing import router_of
from commands.prices import ApprovePriceCard, ImportPriceCard, RetirePriceCard, WithdrawPriceCard
from domain.accounting import day_of
from domain.errors import Conflict
from domain.ids import price_card_id
from domain.prices import CardStatus, next_fix
from domain.pricing.reading import card_of
from projections.paging import Page, cursor_text, cursor_values
from projections.prices import PriceCards, PriceCardView, price_cards

router = router_of("prices", "/api")
Word = Annotated[str | None, Query(max_length=200)]
On = Annotated[date | None, Query(description="A day in UTC; today unless named")]
ByName = Annotated[str, Path(alias="name", max_length=200)]


class NewCard(BaseModel):
    """A price card as its file has it."""

    model_config = ConfigDict(extra="forbid")
    card: Annotated[dict[str, Any], Field(description="docs/how-to/prices.md shows one")]
    reaches_back: Annotated[bool, Field(description="It is meant for days of closed months")] = False


class Retirement(BaseModel):
    """From when on a card is not used."""

    model_config = ConfigDict(extra="forbid")
    from_day: Annotated[date | None, Field(description="Today in UTC, unless named")] = None


@router.get("/prices", dependencies=[may("prices.read")], response_model=Listed[ModelPricesShown])
async def list_prices(
    looking: Looking,
    provider: Word = None,
    model: Annotated[str | None, Query(max_length=200, description="A part of its name")] = None,
    at: On = None,
    every: Annotated[bool, Query(description="Also what is not in force on that day")] = False,  # noqa: FBT002 -- a query parameter
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """What each model costs on a day, by provider and name: rates by bucket, tier, speed, region and band."""
    catalogue = await looking.services.prices.current()
    found = list(listed(catalogue, provider, model, at or _today(looking), everything=every))
    return await looking.show_page(_page(found, cursor, limit), Truth(await looking.head()))


@router.get("/prices/quote", dependencies=[may("prices.read")], response_model=Applied)
async def get_quote(
    looking: Looking,
    provider: Annotated[str, Query(max_length=200)],
    model: Annotated[str, Query(max_length=200)],
    at: On = None,
) -> Response:
    """Which price holds for a model on a day, why, and every other one that there is or was."""
    catalogue = await looking.services.prices.current()
    found = applied(catalogue, provider, model, at or _today(looking))
    return await looking.show(found, Truth(await looking.head()))


@router.get("/price-cards", dependencies=[may("prices.read")], response_model=Listed[PriceCardView])
async def list_price_cards(
    looking: Looking,
    provider: Word = None,
    status: CardStatus | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """Imported cards by name: who brought and who approved them, and what became of them."""
    async with looking.at(PriceCards) as seen:
        page = await price_cards(seen.connection, provider=provider, status=status, cursor=cursor, limit=limit)
        truth = await seen.truth()
    return await looking.show_page(page, truth)


@router.get("/price-cards/{name}", dependencies=[may("prices.read")], response_model=PriceCardView)
async def get_price_card(named: ByName, looking: Looking) -> Response:
    """One imported card, whole."""
    stream = price_card_id(named)
    async with looking.at(PriceCards) as seen:
        row = await PriceCards.find(seen.connection, stream)
        truth = await seen.truth(stream)
    if row is None:
        raise missing("imported price card", named, truth)
    return await looking.show(row.view, truth, version=row.view.version)


@router.post("/price-cards", status_code=201, dependencies=[may(ImportPriceCard)], response_model=Done)
async def import_price_card(
    commanding: Commanding, given: Annotated[NewCard, json_of(NewCard, large=True)]
) -> Response:
    """Bring a card. It prices nothing until somebody approves it."""
    card = card_of(given.card)
    shelf = await commanding.services.prices.current()
    if shelf.card(card.name) is not None and shelf.origins[card.name] != "imported":
        raise Conflict(
            f"{card.name} is the name of a card that is in use already: give yours the next number in `fix` "
            f"({next_fix(card)}), or a later effective_from",
            code="price_card_exists",
        )
    command = checked(ImportPriceCard, card=card, reaches_back=given.reaches_back)
    answer = await commanding.carry_out(command)
    place = f"/api/price-cards/{card.name}"
    return commanding.done(answer, about=price_card_id(card.name), status=201, location=place, more={"name": card.name})


@router.post("/price-cards/{name}/approve", dependencies=[may(ApprovePriceCard)], response_model=Done)
async def approve_price_card(named: ByName, commanding: Commanding) -> Response:
    """Let it price what is asked from now on; what was priced before is re-rated by command only."""
    return await commanding.send(checked(ApprovePriceCard, name=named), about=price_card_id(named))


@router.post("/price-cards/{name}/retire", dependencies=[may(RetirePriceCard)], response_model=Done)
async def retire_price_card(
    named: ByName, commanding: Commanding, given: Annotated[Retirement, json_of(Retirement)]
) -> Response:
    """Use it no longer from a day on: the card before it counts again, or the price is unknown."""
    command = checked(RetirePriceCard, name=named, from_day=given.from_day)
    return await commanding.send(command, about=price_card_id(named))


@router.post("/price-cards/{name}/withdraw", dependencies=[may(WithdrawPriceCard)], response_model=Done)
async def withdraw_price_card(named: ByName, commanding: Commanding) -> Response:
    """Take back a card that nobody has approved."""
    return await commanding.send(checked(WithdrawPriceCard, name=named), about=price_card_id(named))


def _today(looking: Look) -> date:
    return day_of(looking.services.now())


def _page(found: list[ModelPricesShown], cursor: str | None, limit: int) -> Page[ModelPricesShown]:
    keyed = sorted((((each.provider, each.model, each.card), each) for each in found), key=lambda each: each[0])
    if cursor:
        after = tuple(cursor_values(cursor, "prices", 3))
        keyed = [each for each in keyed if each[0] > after]
    more = len(keyed) > limit
    return Page([each for _, each in keyed[:limit]], cursor_text("prices", *keyed[limit - 1][0]) if more else None)
