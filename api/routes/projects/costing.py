"""What one project cost, grouped by phase, agent, model or day."""

from uuid import UUID

from starlette.responses import Response

from api.beginnings import first_event
from api.looking import Looking
from api.paging import Cursor, Limit
from api.permissions import may
from api.routing import router_of
from api.spending import By, CostReport, show_totals
from projections.costs import CostFilter

router = router_of("projects", "/api/projects/{project_id}")


@router.get("/costs", dependencies=[may("costs.read")], response_model=CostReport)
async def get_project_costs(
    project_id: UUID, looking: Looking, by: By = "agent", cursor: Cursor = None, limit: Limit = 50
) -> Response:
    """What it cost, the dearest first, and in all."""
    await first_event(looking.services.reader, project_id, "project")
    return await show_totals(looking, by, CostFilter(project_id=project_id), key=project_id, cursor=cursor, limit=limit)
