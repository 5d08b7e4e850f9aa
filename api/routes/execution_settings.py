"""Routes for execution settings: how many calls may be under way at once, and how projects share the workers."""

from typing import Annotated

from starlette.responses import Response

from api.answers import Done
from api.bodies import Given, body_of
from api.commanding import Commanding
from api.looking import Looking
from api.permissions import may
from api.routing import router_of
from commands.llm_jobs import ChangeExecutionSettings
from domain.ids import execution_settings_id
from projections.execution_settings import ExecutionSettingsState, ExecutionSettingsStates

router = router_of("llm_jobs", "/api/config/execution")


@router.get("", dependencies=[may("execution_settings.read")], response_model=ExecutionSettingsState)
async def get_execution_settings(looking: Looking) -> Response:
    """What holds for every call; the defaults while nobody has chosen."""
    stream = execution_settings_id()
    async with looking.at(ExecutionSettingsStates) as seen:
        row = await ExecutionSettingsStates.find(seen.connection, stream)
        truth = await seen.truth(stream)
    view = row.view if row else ExecutionSettingsState()
    return await looking.show(view, truth, version=view.version)


@router.put("", dependencies=[may(ChangeExecutionSettings)], response_model=Done)
async def change_execution_settings(
    commanding: Commanding, given: Annotated[Given[ChangeExecutionSettings], body_of(ChangeExecutionSettings)]
) -> Response:
    """Choose them; what is left out takes its default. Calls that are under way go on."""
    return await commanding.send(given.command(), about=execution_settings_id())
