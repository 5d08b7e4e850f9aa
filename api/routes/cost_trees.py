"""Route for why something cost what it did: its tree, and what the sums of reports say beside it."""

from typing import Annotated
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel
from starlette.responses import Response

from api.answers import shown
from api.errors import Invalid
from api.looking import Looking, missing
from api.permissions import may
from api.routing import router_of
from domain.values import Money
from projections.costs import CostFilter, Costs, cost_total
from projections.costs.trees import CostTree, Scope, cost_tree
from projections.llm_jobs import LlmJobs

router = router_of("costs", "/api/cost")
One = Annotated[UUID | None, Query(description="Exactly one of project_id, agent_id, job_id and attempt_id")]


class ExplainedCost(BaseModel):
    """A tree, and what reports say it comes to, which are kept apart from it; null for jobs and attempts."""

    tree: CostTree
    reported: Money | None
    position: int
    lag: int
    incomplete_since: int | None


@router.get("/tree", dependencies=[may("costs.read")], response_model=ExplainedCost)
async def get_cost_tree(
    looking: Looking, project_id: One = None, agent_id: One = None, job_id: One = None, attempt_id: One = None
) -> Response:
    """A project, an agent, a job or an attempt down to quantity, rate and amount of each line, with positions."""
    said: dict[Scope, UUID | None] = {
        "project": project_id, "agent": agent_id, "job": job_id, "attempt": attempt_id
    }  # fmt: skip
    chosen: list[tuple[Scope, UUID]] = [(scope, key) for scope, key in said.items() if key is not None]
    if len(chosen) != 1:
        message = "name exactly one of project_id, agent_id, job_id and attempt_id"
        raise Invalid([{"in": "query", "field": "project_id", "message": message, "code": "one_of"}])
    ((scope, key),) = chosen
    async with looking.at(Costs, LlmJobs) as seen:
        tree = await cost_tree(seen.connection, scope, key)
        reported = None
        if scope in ("project", "agent"):
            wanted = CostFilter(project_id=project_id, agent_id=agent_id)
            reported = (await cost_total(seen.connection, wanted)).amount
        truth = await seen.truth(tree.project_id if tree else project_id)
    if tree is None:
        raise missing(f"cost of {scope}", key, truth)
    body = ExplainedCost(tree=tree, reported=reported, **truth.fields)  # pyright: ignore[reportArgumentType] -- the same three
    return shown(body.model_dump(mode="json"), headers=truth.headers)
