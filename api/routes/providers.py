"""Routes for the registry of providers, each known by its name."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Path, Query
from starlette.responses import Response

from api.answers import Done
from api.bodies import Given, body_of, checked
from api.commanding import Commanding
from api.looking import Looking, missing
from api.paging import Cursor, Limit, Listed
from api.permissions import may
from api.routing import router_of
from commands.providers import ConfigureProvider, RegisterProvider, RemoveProvider
from domain.ids import provider_id
from domain.provider_health import Level
from domain.values import Slug
from projections.paging import Page
from projections.provider_health import CircuitView, ProviderHealths, ProviderHealthView, healths_of
from projections.providers import Providers, ProviderView, providers

router = router_of("providers", "/api/ai-providers")
ByName = Annotated[Slug, Path(alias="name")]


class ListedProvider(ProviderView):
    """A provider, and how it is."""

    health: Level = "healthy"
    circuits: tuple[CircuitView, ...] = ()
    """Those that are not closed."""


@router.get("", dependencies=[may("providers.read")], response_model=Listed[ListedProvider])
async def list_providers(
    looking: Looking,
    removed: Annotated[bool, Query(description="Those that were removed, instead")] = False,  # noqa: FBT002 -- a query parameter
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """Whose models may be asked, by name, and how they are."""
    async with looking.at(Providers, ProviderHealths) as seen:
        page = await providers(seen.connection, removed=removed, cursor=cursor, limit=limit)
        known = await healths_of(seen.connection, [row.view.name for row in page.items])
        truth = await seen.truth()
    return await looking.show_page(Page([_listed(row.view, known) for row in page.items], page.next), truth)


def _listed(view: ProviderView, known: Mapping[str, ProviderHealthView]) -> ListedProvider:
    health, fields = known.get(view.name), dict[str, Any](view)
    return (
        ListedProvider(**fields, health=health.level, circuits=health.circuits) if health else ListedProvider(**fields)
    )


@router.post("", status_code=201, dependencies=[may(RegisterProvider)], response_model=Done)
async def register_provider(
    commanding: Commanding, given: Annotated[Given[RegisterProvider], body_of(RegisterProvider)]
) -> Response:
    """Let models of a provider be asked. Its key stays in the environment variable that `key_env` names."""
    command = given.command()
    answer = await commanding.carry_out(command)
    return commanding.done(
        answer, about=provider_id(command.name), status=201, location=f"/api/ai-providers/{command.name}"
    )


@router.get("/{name}", dependencies=[may("providers.read")], response_model=ProviderView)
async def get_provider(named: ByName, looking: Looking) -> Response:
    """One provider."""
    stream = provider_id(named)
    async with looking.at(Providers) as seen:
        row = await Providers.find(seen.connection, stream)
        truth = await seen.truth(stream)
    if row is None:
        raise missing("provider", named, truth)
    return await looking.show(row.view, truth, version=row.view.version)


@router.put("/{name}", dependencies=[may(ConfigureProvider)], response_model=Done)
async def configure_provider(
    named: ByName,
    commanding: Commanding,
    given: Annotated[Given[ConfigureProvider], body_of(ConfigureProvider, "name")],
) -> Response:
    """Change how a provider is reached and what it offers; what is left out goes back to its default."""
    return await commanding.send(given.command(name=named), about=provider_id(named))


@router.delete("/{name}", dependencies=[may(RemoveProvider)], response_model=Done)
async def remove_provider(named: ByName, commanding: Commanding) -> Response:
    """Let models of a provider no longer be asked."""
    return await commanding.send(checked(RemoveProvider, name=named), about=provider_id(named))
