"""Routes for access keys: who is let in, with which permissions. A token is shown once, to whoever made it."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, create_model
from starlette.requests import Request
from starlette.responses import Response

from api.answers import Done, shown
from api.beginnings import first_event
from api.bodies import Given, body_of
from api.commanding import Commanding, Desk
from api.looking import Look, Looking, missing
from api.paging import Cursor, Limit, Listed
from api.permissions import anybody, may
from api.routing import router_of
from api.visiting import visit_of
from commands.identity.access_keys import IssueAccessKey, RevokeAccessKey, RotateAccessKey
from commands.sequencer import Answer
from domain.identity.access_keys import AccessKey
from domain.identity.tokens import KnownToken, new_token, parse_token
from domain.kernel import evolve
from projections.identity.access_keys import (
    AccessKeys,
    AccessKeyView,
    KeyStatus,
    access_keys,
    keys_that_may_do_everything,
)
from projections.paging import Page

router = router_of("identity", "/api/auth")
_BY_THE_SERVER = ("key_hash", "prefix")


class Issued(Done):
    """A key that was made. A repeated request gets no token: it was shown once."""

    token: str | None


_FIELDS: dict[str, Any] = {name: (field.annotation, field) for name, field in AccessKeyView.model_fields.items()}
KeyShown: type[BaseModel] = create_model(
    "KeyShown", __doc__="A key, and whether it lets its bearer in now.", **_FIELDS, status=(KeyStatus, ...)
)


class Me(BaseModel):
    """Who you are here."""

    actor: str
    permissions: list[str]


@router.get("/me", dependencies=[anybody()], response_model=Me)
async def get_me(request: Request) -> Response:
    """Whose key this is, and what it may."""
    principal = visit_of(request).principal
    return shown({"actor": principal.actor, "permissions": sorted(principal.permissions)})


@router.get("/keys", dependencies=[may("keys.read")], response_model=Listed[KeyShown])
async def list_keys(
    looking: Looking,
    revoked: Annotated[bool, Query(description="Show those too that were taken back")] = True,  # noqa: FBT002 -- a query parameter
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """Every key, the newest first; never the key itself."""
    async with looking.at(AccessKeys) as seen:
        page = await access_keys(seen.connection, revoked=revoked, cursor=cursor, limit=limit)
        truth = await seen.truth()
    return await looking.show_page(Page([_shown(looking, row.view) for row in page.items], page.next), truth)


@router.get("/keys/{key_id}", dependencies=[may("keys.read")], response_model=KeyShown)
async def get_key(key_id: UUID, looking: Looking) -> Response:
    """One key."""
    async with looking.at(AccessKeys) as seen:
        row = await AccessKeys.find(seen.connection, key_id)
        truth = await seen.truth(key_id)
    if row is None:
        raise missing("key", key_id, truth)
    return await looking.show(_shown(looking, row.view), truth, version=row.view.version)


@router.post("/keys", status_code=201, dependencies=[may(IssueAccessKey)], response_model=Issued)
async def issue_key(
    commanding: Commanding, given: Annotated[Given[IssueAccessKey], body_of(IssueAccessKey, *_BY_THE_SERVER)]
) -> Response:
    """Make a key with permissions that you hold yourself. Its token is in this answer and nowhere else."""
    token, known = _new(commanding)
    answer = await commanding.carry_out(given.command(key_hash=known.key_hash, prefix=known.prefix))
    return _issued(commanding, answer, answer.subject, token)


@router.post("/keys/{key_id}/rotate", status_code=201, dependencies=[may(RotateAccessKey)], response_model=Issued)
async def rotate_key(
    key_id: UUID,
    commanding: Commanding,
    given: Annotated[Given[RotateAccessKey], body_of(RotateAccessKey, "key_id", "permissions", *_BY_THE_SERVER)],
) -> Response:
    """Replace a key by a new one with the same permissions; the old one works on for the overlap."""
    await first_event(commanding.services.reader, key_id, "access_key")
    key = await _key(commanding, key_id)
    token, known = _new(commanding)
    command = given.command(
        key_id=key_id,
        key_hash=known.key_hash,
        prefix=known.prefix,
        permissions=tuple(key.permissions if key else ()),
    )
    answer = await commanding.carry_out(command, about=key_id)
    new = next(stream for stream in answer.versions if stream != key_id)
    return _issued(commanding, answer, new, token)


@router.post("/keys/{key_id}/revoke", dependencies=[may(RevokeAccessKey)], response_model=Done)
async def revoke_key(
    key_id: UUID,
    commanding: Commanding,
    looking: Looking,
    given: Annotated[Given[RevokeAccessKey], body_of(RevokeAccessKey, "key_id", "remaining")],
) -> Response:
    """Shut a key out, at once and for ever; not the last one that may do everything."""
    remaining: tuple[UUID, ...] = ()
    key = await _key(commanding, key_id)
    # Only for such a key is a read model asked: shutting out any other must not wait for one.
    if key and key.may_do_everything:
        async with looking.at(AccessKeys) as seen:
            remaining = tuple(await keys_that_may_do_everything(seen.connection))
    return await commanding.send(given.command(key_id=key_id, remaining=remaining), about=key_id)


async def _key(commanding: Desk, key_id: UUID) -> AccessKey | None:
    key: AccessKey | None = None
    for stored in await commanding.services.reader.read_stream(key_id, limit=100):
        if stored.type.startswith("access_key."):
            key = evolve(key, stored)
    return key


def _shown(looking: Look, view: AccessKeyView) -> BaseModel:
    return KeyShown(**dict(view), status=view.status(looking.services.now()))


def _new(commanding: Desk) -> tuple[str, KnownToken]:
    token = new_token(commanding.services.random)
    known = parse_token(token)
    assert known is not None  # noqa: S101 -- for the type checker: it was spelled by the same module
    return token, known


def _issued(commanding: Desk, answer: Answer, key_id: UUID | None, token: str) -> Response:
    more: dict[str, Any] = {"token": None if answer.repeated else token}
    return commanding.done(answer, about=key_id, status=201, location=f"/api/auth/keys/{key_id}", more=more)
