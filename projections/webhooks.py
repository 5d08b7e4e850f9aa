"""Answers "who is told of which events, where, and how does it stand?": one view per webhook, never its secret."""

from collections.abc import Mapping, Sequence
from typing import ClassVar
from uuid import UUID

from domain.log import StoredEvent
from domain.values import Instant, Sealed
from domain.webhooks import Webhook, WebhookStatus
from projections.documents import Column, Document, Row
from projections.listing import bounded
from projections.paging import Page
from projections.projector import Connection, on
from projections.views import View


class WebhookView(View):
    """One webhook. How its deliveries go is kept beside the log, and shown with it."""

    id: UUID
    project_id: UUID | None
    """None: of every project, and of what belongs to none."""
    status: WebhookStatus = "active"
    origin: str
    url: Sealed
    types: tuple[str, ...]
    description: Sealed | None
    from_position: int | None
    """None: from when it was subscribed."""
    disabled_reason: str | None = None
    disabled_detail: str | None = None
    disabled_at: Instant | None = None
    old_secret_until: Instant | None = None
    """Until then the secret before the last rotation signs too."""
    rotated_at: Instant | None = None
    subscribed_at: Instant
    subscribed_by: str
    changed_at: Instant
    version: int = 1


class Webhooks(Document[WebhookView]):
    """Answers "who is told of which events, where, and how does it stand?": one view per webhook."""

    name = "webhook_views"
    begins = Webhook.Subscribed
    columns: ClassVar[Mapping[str, Column]] = {"status": Column(), "subscribed_at": Column()}
    indexes: ClassVar[Sequence[Sequence[str]]] = (("subscribed_at",),)

    @on(Webhook.Subscribed)
    def subscribed(self, _view: None, event: Webhook.Subscribed, stored: StoredEvent) -> WebhookView:
        """It is told from now on."""
        return WebhookView(
            id=stored.stream_id,
            project_id=event.project_id,
            origin=event.origin,
            url=event.url,
            types=tuple(event.types),
            description=event.description,
            from_position=event.from_position,
            subscribed_at=stored.recorded_at,
            subscribed_by=event.by,
            changed_at=stored.recorded_at,
        )

    @on(Webhook.Changed)
    def changed(self, view: WebhookView, event: Webhook.Changed, _stored: StoredEvent) -> WebhookView:
        """What is left out stays."""
        return view.but(
            url=event.url or view.url,
            origin=event.origin or view.origin,
            types=view.types if event.types is None else tuple(event.types),
            description=view.description if event.description is None else event.description,
        )

    @on(Webhook.Paused)
    def paused(self, view: WebhookView, _event: Webhook.Paused, _stored: StoredEvent) -> WebhookView:
        """For the time being."""
        return view.but(status="paused")

    @on(Webhook.Resumed)
    def resumed(self, view: WebhookView, _event: Webhook.Resumed, _stored: StoredEvent) -> WebhookView:
        """Whatever it was disabled for is over."""
        return view.but(status="active", disabled_reason=None, disabled_detail=None, disabled_at=None)

    @on(Webhook.SecretRotated)
    def rotated(self, view: WebhookView, event: Webhook.SecretRotated, stored: StoredEvent) -> WebhookView:
        """Two may sign for a while."""
        return view.but(old_secret_until=event.old_until, rotated_at=stored.recorded_at)

    @on(Webhook.ReplayRequested)
    def replayed(self, view: WebhookView, _event: Webhook.ReplayRequested, _stored: StoredEvent) -> WebhookView:
        """Only its version shows it."""
        return view

    @on(Webhook.DeadLettersRequeued)
    def requeued(self, view: WebhookView, _event: Webhook.DeadLettersRequeued, _stored: StoredEvent) -> WebhookView:
        """Only its version shows it."""
        return view

    @on(Webhook.Disabled)
    def disabled(self, view: WebhookView, event: Webhook.Disabled, stored: StoredEvent) -> WebhookView:
        """Somebody must look."""
        return view.but(
            status="disabled",
            disabled_reason=event.reason,
            disabled_detail=event.detail,
            disabled_at=stored.recorded_at,
        )

    @on(Webhook.Removed)
    def removed(self, _view: WebhookView, _event: Webhook.Removed, _stored: StoredEvent) -> None:
        """The log remembers it."""
        return


async def webhooks(
    connection: Connection, *, status: WebhookStatus | None = None, cursor: str | None = None, limit: int = 50
) -> Page[Row[WebhookView]]:
    """The newest first. Reads Webhooks."""
    where = {"status": status} if status else None
    return await Webhooks.page(
        connection, where=where, order_by="subscribed_at", descending=True, cursor=cursor, limit=bounded(limit)
    )
