"""Routes for provider keys, which spend money at a vendor. A key comes in once and never goes out again."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, SecretStr, create_model
from starlette.responses import Response

from api.answers import Done
from api.beginnings import first_event
from api.bodies import checked, json_of
from api.commanding import Commanding, Desk
from api.looking import Look, Looking, missing
from api.paging import Cursor, Limit, Listed
from api.permissions import may
from api.routing import router_of
from commands.handling import NO_SUBJECT
from commands.provider_keys import LONGEST_OVERLAP, RevokeProviderKey, RotateProviderKey, StoreProviderKey
from domain.errors import Unavailable
from domain.ids import provider_key_id
from domain.provider_keys import check_secret, last_four
from domain.values import Slug, derived_id
from projections.paging import Page
from projections.provider_keys import ProviderKeys, ProviderKeyStatus, ProviderKeyView, provider_keys

router = router_of("provider_keys", "/api/api-keys")
TheKey = Annotated[
    SecretStr, Field(description="The key as the vendor gave it; shown nowhere, stored encrypted", max_length=10_000)
]
_FIELDS: dict[str, Any] = {name: (field.annotation, field) for name, field in ProviderKeyView.model_fields.items()}
ProviderKeyShown: type[BaseModel] = create_model(
    "ProviderKeyShown", __doc__="A provider key, and whether it pays now.", **_FIELDS, status=(ProviderKeyStatus, ...)
)


class NewProviderKey(BaseModel):
    """A key to a provider."""

    model_config = ConfigDict(extra="forbid")
    provider: Slug
    label: Annotated[Slug, Field(description="Tells several keys of one provider apart")] = "default"
    project_id: Annotated[UUID | None, Field(description="Pays for this project alone; left out: for all others")] = (
        None
    )
    key: TheKey


class NextProviderKey(BaseModel):
    """The key that takes over."""

    model_config = ConfigDict(extra="forbid")
    key: TheKey
    overlap_seconds: Annotated[
        int, Field(ge=0, le=LONGEST_OVERLAP, description="How long the old one works where the new one is refused")
    ] = 86_400


@router.get("", dependencies=[may("provider_keys.read")], response_model=Listed[ProviderKeyShown])
async def list_provider_keys(
    looking: Looking,
    provider: Annotated[Slug | None, Query(description="Of this provider alone")] = None,
    revoked: Annotated[bool, Query(description="Show those too that were taken back")] = True,  # noqa: FBT002 -- a query parameter
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """Which keys pay for which provider, the newest first: how they end, never the keys."""
    async with looking.at(ProviderKeys) as seen:
        page = await provider_keys(seen.connection, provider=provider, revoked=revoked, cursor=cursor, limit=limit)
        truth = await seen.truth()
    return await looking.show_page(Page([_shown(looking, row.view) for row in page.items], page.next), truth)


@router.get("/{key_id}", dependencies=[may("provider_keys.read")], response_model=ProviderKeyShown)
async def get_provider_key(key_id: UUID, looking: Looking) -> Response:
    """One key: how it ends, never the key."""
    async with looking.at(ProviderKeys) as seen:
        row = await ProviderKeys.find(seen.connection, key_id)
        truth = await seen.truth(key_id)
    if row is None:
        raise missing("provider key", key_id, truth)
    return await looking.show(_shown(looking, row.view), truth, version=row.view.version)


@router.post("", status_code=201, dependencies=[may(StoreProviderKey)], response_model=Done)
async def store_provider_key(
    commanding: Commanding, given: Annotated[NewProviderKey, json_of(NewProviderKey)]
) -> Response:
    """Make calls to a provider with this key, from the next second on and without a restart."""
    key_id = provider_key_id(given.provider, given.label)
    kept = await _keep(commanding, given.key, key_id)
    command = checked(StoreProviderKey, **kept, provider=given.provider, label=given.label, project_id=given.project_id)
    answer = await commanding.carry_out(command)
    return commanding.done(answer, about=key_id, status=201, location=f"/api/api-keys/{key_id}")


@router.post("/{key_id}/rotate", dependencies=[may(RotateProviderKey)], response_model=Done)
async def rotate_provider_key(
    key_id: UUID, commanding: Commanding, given: Annotated[NextProviderKey, json_of(NextProviderKey)]
) -> Response:
    """Use a new key from now on; the old one works on for the overlap, where the provider refuses the new one."""
    await first_event(commanding.services.reader, key_id, "provider_key")
    kept = await _keep(commanding, given.key, key_id)
    command = checked(RotateProviderKey, **kept, key_id=key_id, overlap_seconds=given.overlap_seconds)
    return await commanding.send(command, about=key_id)


@router.post("/{key_id}/revoke", dependencies=[may(RevokeProviderKey)], response_model=Done)
async def revoke_provider_key(key_id: UUID, commanding: Commanding) -> Response:
    """Use a key no longer, within a second, and erase it. The vendor still knows it: take it back there too."""
    return await commanding.send(RevokeProviderKey(key_id=key_id), about=key_id)


@router.delete("/{key_id}", dependencies=[may(RevokeProviderKey)], response_model=Done)
async def delete_provider_key(key_id: UUID, commanding: Commanding) -> Response:
    """The same as to revoke it: that it once paid, and for what, stays in the log."""
    return await commanding.send(RevokeProviderKey(key_id=key_id), about=key_id)


async def _keep(commanding: Desk, key: SecretStr, key_id: UUID) -> dict[str, UUID | datetime | str | None]:
    """Seal the secret before the event that speaks of it; what a command may know of it.

    A repeated request finds its own secret again; where the command is refused, nobody ever speaks of the secret and
    the sweep takes it.
    """
    check_secret(key)
    services = commanding.services
    if services.provider_secrets is None:
        raise Unavailable("this process has no place for provider keys: ask a server with the role api")
    sealer = await services.keyring.sealer(NO_SUBJECT, create=True)
    fingerprint = sealer.fingerprint(b"provider-key|" + key.get_secret_value().encode()).hex()
    secret_id = derived_id("provider-secret", key_id, fingerprint, commanding.caller.command_id())
    kept_at = await services.provider_secrets.keep(secret_id, key_id, key)
    return {"secret_id": secret_id, "kept_at": kept_at, "last_four": last_four(key), "fingerprint": fingerprint}


def _shown(looking: Look, view: ProviderKeyView) -> BaseModel:
    return ProviderKeyShown(**dict(view), status=view.status(looking.services.now()))
