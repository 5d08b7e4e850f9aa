"""Routes for webhooks: who is told of which events, how that goes, what was given up. A secret is shown once."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, Field, SecretStr, create_model
from starlette.responses import Response

from api.answers import Done, shown
from api.beginnings import first_event
from api.bodies import Given, body_of
from api.commanding import Commanding, Desk, offer
from api.looking import Look, Looking, missing
from api.paging import Cursor, Limit, Listed, marked
from api.permissions import may
from api.routing import router_of
from api.services import WebhookDoor
from commands.sequencer import Answer
from commands.webhooks import (
    ChangeWebhook,
    PauseWebhook,
    RemoveWebhook,
    ReplayWebhook,
    RequeueWebhookDeliveries,
    ResumeWebhook,
    RotateWebhookSecret,
    SubscribeWebhook,
)
from domain.errors import Unavailable
from domain.posting import DeadLetter, DeliveryStanding, PastAttempt, Posted
from domain.signing import SECRET_BYTES, secret_of
from domain.values import derived_id
from domain.webhooks import WebhookStatus, origin_of
from projections.paging import Page, cursor_text, cursor_values
from projections.webhooks import Webhooks, WebhookView, webhooks

router = router_of("webhooks", "/api/webhooks")
_BY_THE_SERVER = ("webhook_id", "secret_id", "kept_at")
_FIELDS: dict[str, Any] = {name: (field.annotation, field) for name, field in WebhookView.model_fields.items()}
WebhookShown: type[BaseModel] = create_model(
    "WebhookShown",
    __doc__="A webhook, and how its deliveries go; null until the worker has taken it up.",
    **_FIELDS,
    deliveries=(DeliveryStanding | None, None),
)


class WithSecret(Done):
    """What a command did, and the secret that it made."""

    secret: Annotated[
        str | None, Field(description="Verify signatures with it; in this answer alone, null where it is repeated")
    ]


class Tested(BaseModel):
    """What the receiver made of a test."""

    arrived: bool
    status: int | None
    problem: str | None
    said: Annotated[str, Field(description="How its answer began")]
    milliseconds: int


@router.get("", dependencies=[may("webhooks.read")], response_model=Listed[WebhookShown])
async def list_webhooks(
    looking: Looking,
    status: Annotated[WebhookStatus | None, Query(description="Those alone that stand so")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """Every webhook, the newest first, and how its deliveries go; never a secret."""
    async with looking.at(Webhooks) as seen:
        page = await webhooks(seen.connection, status=status, cursor=cursor, limit=limit)
        truth = await seen.truth()
    standings = await _door(looking.services.webhooks).deliveries.standings([row.view.id for row in page.items])
    items = [_shown(row.view, standings.get(row.view.id)) for row in page.items]
    return await looking.show_page(Page(items, page.next), truth)


@router.get("/{webhook_id}", dependencies=[may("webhooks.read")], response_model=WebhookShown)
async def get_webhook(webhook_id: UUID, looking: Looking) -> Response:
    """One webhook, and how its deliveries go."""
    async with looking.at(Webhooks) as seen:
        row = await Webhooks.find(seen.connection, webhook_id)
        truth = await seen.truth(webhook_id)
    if row is None:
        raise missing("webhook", webhook_id, truth)
    standing = (await _door(looking.services.webhooks).deliveries.standings([webhook_id])).get(webhook_id)
    return await looking.show(_shown(row.view, standing), truth, version=row.view.version)


@router.post("", status_code=201, dependencies=[may(SubscribeWebhook)], response_model=WithSecret)
async def subscribe_webhook(
    commanding: Commanding, given: Annotated[Given[SubscribeWebhook], body_of(SubscribeWebhook, *_BY_THE_SERVER)]
) -> Response:
    """Tell an address of events, signed with a secret that is in this answer and nowhere else."""
    webhook_id = commanding.new_id("webhook")
    secret = secret_of(commanding.services.random(SECRET_BYTES))
    unkept = {"secret_id": webhook_id, "kept_at": commanding.services.now()}
    await _check_address(commanding, given.command(webhook_id=webhook_id, **unkept).url)
    kept = await _keep(commanding, webhook_id, secret)
    answer = await commanding.carry_out(given.command(webhook_id=webhook_id, **kept))
    location = f"/api/webhooks/{webhook_id}"
    return _told(commanding, answer, webhook_id, secret, location=location)


@router.patch("/{webhook_id}", dependencies=[may(ChangeWebhook)], response_model=Done)
async def change_webhook(
    webhook_id: UUID,
    commanding: Commanding,
    given: Annotated[Given[ChangeWebhook], body_of(ChangeWebhook, "webhook_id")],
) -> Response:
    """Another address, choice of events or description; what is left out stays."""
    await first_event(commanding.services.reader, webhook_id, "webhook")
    command = given.command(webhook_id=webhook_id)
    if command.url is not None:
        await _check_address(commanding, command.url)
    return await commanding.send(command, about=webhook_id)


@router.post(
    "/{webhook_id}/rotate", status_code=201, dependencies=[may(RotateWebhookSecret)], response_model=WithSecret
)
async def rotate_webhook_secret(
    webhook_id: UUID,
    commanding: Commanding,
    given: Annotated[Given[RotateWebhookSecret], body_of(RotateWebhookSecret, *_BY_THE_SERVER)],
) -> Response:
    """Sign with a new secret, which is in this answer and nowhere else; with the old one too, for the overlap."""
    await first_event(commanding.services.reader, webhook_id, "webhook")
    secret = secret_of(commanding.services.random(SECRET_BYTES))
    kept = await _keep(commanding, webhook_id, secret)
    answer = await commanding.carry_out(given.command(webhook_id=webhook_id, **kept), about=webhook_id)
    return _told(commanding, answer, webhook_id, secret)


offer(router, "POST", "/{webhook_id}/pause", PauseWebhook, name="pause_webhook", about="webhook_id")
offer(router, "POST", "/{webhook_id}/resume", ResumeWebhook, name="resume_webhook", about="webhook_id")
offer(router, "POST", "/{webhook_id}/replay", ReplayWebhook, name="replay_webhook", about="webhook_id")
offer(
    router,
    "POST",
    "/{webhook_id}/dead-letters/requeue",
    RequeueWebhookDeliveries,
    name="requeue_webhook_deliveries",
    about="webhook_id",
)
offer(router, "DELETE", "/{webhook_id}", RemoveWebhook, name="remove_webhook", about="webhook_id")


@router.post("/{webhook_id}/test", dependencies=[may("webhooks.test")], response_model=Tested)
async def try_webhook(webhook_id: UUID, commanding: Commanding) -> Response:
    """Send a signed message that stands for no event, at once, and tell what the receiver made of it."""
    caller = commanding.caller
    door = _door(commanding.services.webhooks)
    posted = await door.tester.test(webhook_id, caller.command_id(), caller.principal.actor)
    return shown(_tested(posted).model_dump())


@router.get("/{webhook_id}/deliveries", dependencies=[may("webhooks.read")], response_model=Listed[PastAttempt])
async def list_deliveries(webhook_id: UUID, looking: Looking, cursor: Cursor = None, limit: Limit = 50) -> Response:
    """The last tries, the newest first: what was answered and how long it took. Older ones are forgotten."""
    await first_event(looking.services.reader, webhook_id, "webhook")
    order = f"deliveries of {webhook_id}"
    before = int(cursor_values(cursor, order, 1)[0]) if cursor else None
    found = await _door(looking.services.webhooks).deliveries.attempts(webhook_id, before=before, limit=limit + 1)
    items, more = found[:limit], len(found) > limit
    following = cursor_text(order, str(items[-1].id)) if more else None
    return await _page(looking, items, following)


@router.get("/{webhook_id}/dead-letters", dependencies=[may("webhooks.read")], response_model=Listed[DeadLetter])
async def list_webhook_dead_letters(
    webhook_id: UUID, looking: Looking, cursor: Cursor = None, limit: Limit = 50
) -> Response:
    """Deliveries that were given up, in the order of the log, each with its reason."""
    await first_event(looking.services.reader, webhook_id, "webhook")
    order = f"dead letters of {webhook_id}"
    after = int(cursor_values(cursor, order, 1)[0]) if cursor else 0
    found = await _door(looking.services.webhooks).deliveries.dead_letters(webhook_id, after=after, limit=limit + 1)
    items, more = found[:limit], len(found) > limit
    return await _page(looking, items, cursor_text(order, str(items[-1].position)) if more else None)


async def _page(looking: Look, items: Sequence[object], following: str | None) -> Response:
    head = await looking.head()
    body = {"items": list(items), "next": await marked(looking.services.keyring, following), "position": head}
    return shown(body | {"lag": 0, "incomplete_since": None}, headers={"Toybox-Position": str(head)})


def _door(door: WebhookDoor | None) -> WebhookDoor:
    if door is None:
        raise Unavailable("this process knows nothing of webhooks: ask a server with the role api")
    return door


async def _check_address(commanding: Desk, url: str) -> None:
    origin_of(url)
    await _door(commanding.services.webhooks).poster.check(url)


async def _keep(commanding: Desk, webhook_id: UUID, secret: SecretStr) -> dict[str, UUID | datetime]:
    """Seal a secret before the event that speaks of it; where the command is refused, the sweep takes it."""
    secret_id = derived_id("webhook-secret", webhook_id, commanding.services.random(16).hex())
    kept_at = await _door(commanding.services.webhooks).secrets.keep(secret_id, webhook_id, secret)
    return {"secret_id": secret_id, "kept_at": kept_at}


def _told(
    commanding: Desk, answer: Answer, webhook_id: UUID, secret: SecretStr, *, location: str | None = None
) -> Response:
    more = {"secret": None if answer.repeated else secret.get_secret_value()}
    return commanding.done(answer, about=webhook_id, status=201, location=location, more=more)


def _shown(view: WebhookView, standing: DeliveryStanding | None) -> BaseModel:
    return WebhookShown(**dict(view), deliveries=standing)


def _tested(posted: Posted) -> Tested:
    return Tested(
        arrived=posted.problem is None,
        status=posted.status,
        problem=posted.problem,
        said=posted.said,
        milliseconds=posted.milliseconds,
    )
