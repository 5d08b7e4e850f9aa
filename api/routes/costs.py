"""Routes for what was spent on what, and why."""

from datetime import date
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query
from starlette.responses import Response

from api.errors import Invalid
from api.looking import Looking
from api.paging import Cursor, Limit, Listed
from api.permissions import may
from api.routing import router_of
from api.spending import By, CostReport, show_totals
from projections.costs import CostFact, CostFilter, Costs, cost_facts

router = router_of("costs", "/api/cost")
Word = Annotated[str | None, Query(max_length=200)]
Day = Annotated[date | None, Query(description="A day in UTC, included")]


async def wanted_costs(  # noqa: PLR0913, PLR0917 -- one parameter each
    project_id: UUID | None = None,
    phase: Word = None,
    agent_id: UUID | None = None,
    provider: Word = None,
    model: Word = None,
    first_day: Day = None,
    last_day: Day = None,
    key_id: UUID | None = None,
    tier: Word = None,
) -> CostFilter:
    """Which costs are asked for."""
    if first_day is not None and last_day is not None and first_day > last_day:
        message = f"this is before first_day, {first_day}: no day lies between the two"
        raise Invalid([{"in": "query", "field": "last_day", "message": message, "code": "days"}])
    return CostFilter(project_id, phase, agent_id, provider, model, first_day, last_day, key_id, tier)


Wanted = Annotated[CostFilter, Depends(wanted_costs)]


@router.get("", dependencies=[may("costs.read")], response_model=CostReport)
async def get_costs(
    looking: Looking, wanted: Wanted, by: By = "project", cursor: Cursor = None, limit: Limit = 50
) -> Response:
    """Sums by project, phase, agent, provider, model, key, tier or day, the dearest first, and the sum of all."""
    return await show_totals(looking, by, wanted, key=wanted.project_id, cursor=cursor, limit=limit)


@router.get("/lines", dependencies=[may("costs.read")], response_model=Listed[CostFact])
async def list_cost_lines(
    looking: Looking,
    wanted: Wanted,
    job_id: UUID | None = None,
    attempt_id: UUID | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """Why it cost that much: every attempt, the newest first, with tokens, rates and the events that say so."""
    async with looking.at(Costs) as seen:
        page = await cost_facts(
            seen.connection, wanted, job_id=job_id, attempt_id=attempt_id, cursor=cursor, limit=limit
        )
        truth = await seen.truth(wanted.project_id)
    return await looking.show_page(page, truth)
