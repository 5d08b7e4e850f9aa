"""Routes for budgets: what a scope may spend, and changing that."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel
from starlette.responses import Response

from api.answers import Done
from api.bodies import Given, body_of
from api.commanding import Commanding, offer
from api.looking import Looking, Since, missing
from api.paging import Cursor, Limit, Listed
from api.permissions import may
from api.routing import router_of
from commands.budgets import ChangeBudgetLimit, CloseBudget, OpenBudget
from domain.ids import ScopeKind
from domain.ids import budget_id as id_of_budget
from projections.budgets import BudgetState, BudgetStates, budgets
from projections.forecasts import Forecast, forecast

router = router_of("budgets", "/api/budgets")


@router.get("", dependencies=[may("budgets.read")], response_model=Listed[BudgetState])
async def list_budgets(
    looking: Looking,
    project_id: UUID | None = None,
    kind: ScopeKind | None = None,
    status: Literal["open", "closed"] | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """The oldest first, of one project or of everything."""
    async with looking.at(BudgetStates) as seen:
        page = await budgets(
            seen.connection, project_id=project_id, kind=kind, status=status, cursor=cursor, limit=limit
        )
        truth = await seen.truth(project_id)
    return await looking.show_page(page, truth)


@router.post("", status_code=201, dependencies=[may(OpenBudget)], response_model=Done)
async def open_budget(commanding: Commanding, given: Annotated[Given[OpenBudget], body_of(OpenBudget)]) -> Response:
    """Limit what a scope may spend; one that has a budget gets another limit besides."""
    command = given.command()
    stream = id_of_budget(command.scope)
    answer = await commanding.carry_out(command)
    return commanding.done(answer, about=stream, status=201, location=f"/api/budgets/{stream}")


@router.get("/{budget_id}", dependencies=[may("budgets.read")], response_model=BudgetState)
async def get_budget(budget_id: UUID, looking: Looking, as_of: Since = None) -> Response:
    """One budget: limit, settled, held, who waits; also as it was at any time."""
    if as_of is not None:
        return await looking.show_as_of("budget", BudgetStates, budget_id, None, as_of)
    async with looking.at(BudgetStates) as seen:
        row = await BudgetStates.find(seen.connection, budget_id)
        truth = await seen.truth(budget_id if row is None else row.project_id or budget_id)
    if row is None:
        raise missing("budget", budget_id, truth)
    return await looking.show(row.view, truth, version=row.view.version)


class Forecasts(BaseModel):
    """Every limit of a budget."""

    items: list[Forecast]


@router.get("/{budget_id}/forecast", dependencies=[may("budgets.read")], response_model=Forecasts)
async def forecast_budget(budget_id: UUID, looking: Looking) -> Response:
    """How full each limit will be when its window ends, if spending goes on as in the last hours."""
    async with looking.at(BudgetStates) as seen:
        row = await BudgetStates.find(seen.connection, budget_id)
        truth = await seen.truth(budget_id if row is None else row.project_id or budget_id)
    if row is None:
        raise missing("budget", budget_id, truth)
    return await looking.show(Forecasts(items=forecast(row.view, looking.services.now())), truth)


offer(router, "PATCH", "/{budget_id}", ChangeBudgetLimit, name="change_budget_limit", about="budget_id")
offer(router, "POST", "/{budget_id}/close", CloseBudget, name="close_budget", about="budget_id")
