"""Cost reports as routes answer them: a page of sums by group, and the sum of all."""

from typing import Annotated
from uuid import UUID

from fastapi import Query
from starlette.responses import Response

from api.looking import Look
from api.paging import Listed
from projections.costs import CostFilter, Costs, CostTotal, GroupBy, cost_total, cost_totals

By = Annotated[GroupBy, Query(description="What the sums are grouped by")]


class CostReport(Listed[CostTotal]):
    """Sums by group, and the sum of everything that was asked for."""

    total: CostTotal


async def show_totals(
    looking: Look, by: GroupBy, wanted: CostFilter, *, key: UUID | None, cursor: str | None, limit: int
) -> Response:
    """The sums, the dearest first; days in their order."""
    async with looking.at(Costs) as seen:
        page = await cost_totals(seen.connection, by, wanted, cursor=cursor, limit=limit)
        total = await cost_total(seen.connection, wanted)
        truth = await seen.truth(key)
    return await looking.show_page(page, truth, more={"total": total.model_dump(mode="json")})
