"""Routes for prices that changed afterwards: re-rating page by page, every change, whether all models have prices."""

from dataclasses import asdict
from datetime import date
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from api.answers import shown
from api.bodies import checked, json_of
from api.commanding import Commanding
from api.errors import Invalid
from api.looking import Look, Looking
from api.paging import Cursor, Limit, Listed, marked
from api.permissions import may
from api.prices_check import Checked, PriceFinding, check
from api.rerating import Comparison, Rerated, costs_of
from api.routing import router_of
from commands.rerating import RerateCosts
from domain.accounting import check_month, day_of
from domain.errors import NotFound
from domain.prices import ImportedCard
from domain.pricing import Catalogue, PriceCard
from domain.values import Code
from projections.prices import (
    Between,
    CostChange,
    PricedAttempts,
    cost_changes,
    oddities,
    priced,
    used_models,
    waiting,
)

router = router_of("prices", "/api/prices")


class Rerating(BaseModel):
    """Which attempts are to be priced anew."""

    model_config = ConfigDict(extra="forbid")
    card: Annotated[str, Field(description="Whose prices came or went: openai@2026-11-01.1", max_length=200)]
    from_day: Annotated[date | None, Field(description="Attempts priced from this day on; the card's first")] = None
    to_day: Annotated[date | None, Field(description="And up to this day; today")] = None
    reason: Annotated[Code, Field(description="In one word, for the record")] = "card_changed"
    dry_run: Annotated[bool, Field(description="Show what would change, and change nothing")] = False


@router.post("/rerate", dependencies=[may("prices.read")], response_model=Rerated)
async def rerate(
    commanding: Commanding,
    looking: Looking,
    given: Annotated[Rerating, json_of(Rerating)],
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Response:
    """Price one page of attempts anew; ask again with `next` until it is null. A repeat changes nothing more.

    Each page is one append: whoever is interrupted begins again, and finds the rest.
    """
    services = commanding.services
    # Either way it is told what was spent on which project: whoever may change that may see it.
    commanding.caller.principal.must("costs.read" if given.dry_run else RerateCosts.PERMISSION)
    catalogue = await services.prices.current()
    card = _card(given.card, catalogue, looking)
    days = (max(given.from_day or card.effective_from, card.effective_from), given.to_day or day_of(services.now()))
    if days[0] > days[1]:
        message = f"no day lies between {days[0]}, when the card begins or from_day is, and {days[1]}"
        raise Invalid([{"in": "body", "field": "to_day", "message": message, "code": "days"}])
    async with looking.at(PricedAttempts) as seen:
        page = await priced(seen.connection, Between(card.provider, *days), cursor=cursor, limit=limit)
        truth = await seen.truth()
    compared = Comparison(catalogue, card.name)
    for cost in await costs_of(services.reader, [each.cost_id for each in page.items]):
        compared.look(cost)
    headers = truth.headers
    if compared.ratings and not given.dry_run:
        command = checked(RerateCosts, card=card.name, reason=given.reason, costs=compared.ratings)
        answer = await commanding.carry_out(command)
        headers["Toybox-Position"] = str(answer.position)
    told = compared.shown(dry_run=given.dry_run, days=days, cursor=await marked(services.keyring, page.next))
    return shown(told.model_dump(mode="json"), headers=headers)


def _card(name: str, catalogue: Catalogue, looking: Look) -> PriceCard:
    if found := catalogue.card(name):
        return found
    imported = next((each for each in looking.services.prices.imported.values() if each.name == name), None)
    raise NotFound(f"{_what(imported, name)}; toybox prices list shows the cards in use")


def _what(imported: ImportedCard | None, name: str) -> str:
    if imported is None:
        return f"there is no price card {name}"
    fix = f": toybox prices approve {name}" if imported.status == "imported" else ""
    return f"price card {name} is {imported.status} and prices nothing{fix}"


@router.get("/changes", dependencies=[may("costs.read")], response_model=Listed[CostChange])
async def list_cost_changes(
    looking: Looking,
    card: Annotated[str | None, Query(max_length=200, description="Re-rated by this card")] = None,
    kind: Literal["corrected", "re_rated"] | None = None,
    project_id: UUID | None = None,
    month: Annotated[str | None, Query(description="In which they count: 2026-12")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """Costs that were changed after they had been recorded, the newest change first: before, after, why and by whom."""
    wanted = {"card": card, "kind": kind, "month": None if month is None else check_month(month)}
    async with looking.at(PricedAttempts) as seen:
        page = await cost_changes(seen.connection, **wanted, project_id=project_id, cursor=cursor, limit=limit)
        truth = await seen.truth(project_id)
    return await looking.show_page(page, truth)


@router.get("/check", dependencies=[may("prices.read")], response_model=Checked)
async def check_prices(
    looking: Looking,
    max_age_days: Annotated[int, Query(ge=1, le=3_650, description="A card that is older is worth a look")] = 90,
) -> Response:
    """Whether every model in use has a price: what is missing, old, overruled, waiting, guessed or not known."""
    catalogue = await looking.services.prices.current()
    async with looking.at(PricedAttempts) as seen:
        used, odd = await used_models(seen.connection), await oddities(seen.connection)
        guessed = await waiting(seen.connection)
        truth = await seen.truth()
    today = day_of(looking.services.now())
    found = check(catalogue, looking.services.prices.imported.values(), used, odd, guessed, today, max_age_days)
    items = [PriceFinding(**asdict(each)) for each in found]
    return await looking.show(Checked(at=today, models=len(used), items=items), truth)
