"""Routes for providers' health: who works, who rests and why, circuits by hand, and the rules of all of it."""

from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from api.answers import Done
from api.bodies import Given, body_of, checked, json_of
from api.commanding import Commanding
from api.looking import Looking, missing
from api.paging import Cursor, Limit, Listed
from api.permissions import may
from api.routing import router_of
from commands.provider_health import BUILT_IN, ChangeHealthSettings, CloseCircuit, OpenCircuit
from domain.ids import health_settings_id, provider_health_id, provider_id
from domain.provider_health import Level
from domain.values import ModelName, Prose, Slug
from projections.health_settings import HealthSettingsState, HealthSettingsStates
from projections.llm_jobs import LlmJobs
from projections.provider_health import (
    ProviderHealths,
    ProviderHealthView,
    RecentView,
    provider_healths,
    recent_outcomes,
)
from projections.providers import Providers

router = router_of("provider_health", "/api")
ByName = Annotated[Slug, Path(alias="name")]


class ProviderHealthDetail(ProviderHealthView):
    """What is known of a provider's health, and its last attempts, counted."""

    recent: RecentView


class CircuitByHand(BaseModel):
    """What an operator wants of a circuit, and why."""

    model_config = ConfigDict(extra="forbid")
    action: Literal["open", "close"]
    model: Annotated[ModelName | None, Field(description="This model's circuit; left out: the whole provider's")] = None
    reason: Annotated[Prose, Field(min_length=1)] | None = None


@router.get("/provider-health", dependencies=[may("providers.read")], response_model=Listed[ProviderHealthView])
async def list_provider_health(
    looking: Looking, level: Level | None = None, cursor: Cursor = None, limit: Limit = 50
) -> Response:
    """Providers that something ever happened to, by name; of all others nothing bad is known."""
    async with looking.at(ProviderHealths) as seen:
        page = await provider_healths(seen.connection, level=level, cursor=cursor, limit=limit)
        truth = await seen.truth()
    return await looking.show_page(page, truth)


@router.get("/ai-providers/{name}/health", dependencies=[may("providers.read")], response_model=ProviderHealthDetail)
async def get_provider_health(named: ByName, looking: Looking) -> Response:
    """One provider: its level, circuits that are not closed, rate limits, and how its last attempts ended."""
    stream = provider_health_id(named)
    async with looking.at(ProviderHealths, Providers, LlmJobs) as seen:
        row = await ProviderHealths.find(seen.connection, stream)
        registered = await Providers.find(seen.connection, provider_id(named))
        recent = await recent_outcomes(seen.connection, named)
        truth = await seen.truth(stream)
    if row is None and registered is None and named not in BUILT_IN:
        raise missing("provider", named, truth)
    view = row.view if row else ProviderHealthView(name=named, version=0)
    known: dict[str, Any] = dict(view)
    return await looking.show(ProviderHealthDetail(**known, recent=recent), truth, version=view.version)


@router.post("/ai-providers/{name}/circuit", dependencies=[may(OpenCircuit)], response_model=Done)
async def set_provider_circuit(
    named: ByName, commanding: Commanding, given: Annotated[CircuitByHand, json_of(CircuitByHand)]
) -> Response:
    """Open a circuit: no job is sent there until it is closed. Close it: jobs are sent there again at once."""
    kind = OpenCircuit if given.action == "open" else CloseCircuit
    command = checked(kind, name=named, model=given.model, reason=given.reason)
    return await commanding.send(command, about=provider_health_id(named))


@router.get("/config/health", dependencies=[may("providers.read")], response_model=HealthSettingsState)
async def get_health_settings(looking: Looking) -> Response:
    """When circuits open, how long they rest, what jobs do meanwhile; the defaults while nobody has chosen."""
    stream = health_settings_id()
    async with looking.at(HealthSettingsStates) as seen:
        row = await HealthSettingsStates.find(seen.connection, stream)
        truth = await seen.truth(stream)
    view = row.view if row else HealthSettingsState()
    return await looking.show(view, truth, version=view.version)


@router.put("/config/health", dependencies=[may(ChangeHealthSettings)], response_model=Done)
async def change_health_settings(
    commanding: Commanding, given: Annotated[Given[ChangeHealthSettings], body_of(ChangeHealthSettings)]
) -> Response:
    """Choose them; what is left out takes its default. Circuits that are open keep their times."""
    return await commanding.send(given.command(), about=health_settings_id())
