"""Routes for the cost settings: the defaults of new limits, and the answer to jobs that do not fit."""

from typing import Annotated

from starlette.responses import Response

from api.answers import Done
from api.bodies import Given, body_of
from api.commanding import Commanding
from api.looking import Looking
from api.permissions import may
from api.routing import router_of
from commands.budgets import ChangeCostSettings
from domain.ids import cost_settings_id
from projections.cost_settings import CostSettingsState, CostSettingsStates

router = router_of("budgets", "/api/config/global-cost-settings")


@router.get("", dependencies=[may("budgets.read")], response_model=CostSettingsState)
async def get_cost_settings(looking: Looking) -> Response:
    """What holds for every budget and every admission; the defaults while nobody has chosen."""
    stream = cost_settings_id()
    async with looking.at(CostSettingsStates) as seen:
        row = await CostSettingsStates.find(seen.connection, stream)
        truth = await seen.truth(stream)
    view = row.view if row else CostSettingsState()
    return await looking.show(view, truth, version=view.version)


@router.put("", dependencies=[may(ChangeCostSettings)], response_model=Done)
async def change_cost_settings(
    commanding: Commanding, given: Annotated[Given[ChangeCostSettings], body_of(ChangeCostSettings)]
) -> Response:
    """Choose them; what is left out takes its default."""
    return await commanding.send(given.command(), about=cost_settings_id())
