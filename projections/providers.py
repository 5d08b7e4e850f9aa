"""Answers "whose models may be asked, and how are they reached?": one view per provider."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal
from uuid import UUID

from domain.log import StoredEvent
from domain.providers import Provider, ProviderKind
from domain.values import Instant
from projections.documents import Column, Document, Row
from projections.listing import bounded
from projections.paging import Page
from projections.projector import Connection, on
from projections.views import View


class ProviderView(View):
    """One provider. Its key lies in the named environment variable, never here."""

    id: UUID
    name: str
    kind: ProviderKind
    status: Literal["registered", "removed"] = "registered"
    base_url: str | None
    key_env: str | None
    models: tuple[str, ...]
    """Empty: any model that has a rate."""
    timeout_seconds: int
    registered_at: Instant
    changed_at: Instant
    version: int = 1


class Providers(Document[ProviderView]):
    """Answers "whose models may be asked, and how are they reached?": one view per provider."""

    name = "provider_views"
    begins = Provider.Registered
    columns: ClassVar[Mapping[str, Column]] = {"name": Column(), "status": Column()}
    indexes: ClassVar[Sequence[Sequence[str]]] = (("name",),)

    @on(Provider.Registered)
    def registered(self, _view: None, event: Provider.Registered, stored: StoredEvent) -> ProviderView:
        """It may be asked."""
        return ProviderView(
            id=stored.stream_id,
            name=event.name,
            kind=event.kind,
            base_url=event.base_url,
            key_env=event.key_env,
            models=tuple(event.models),
            timeout_seconds=event.timeout_seconds,
            registered_at=stored.recorded_at,
            changed_at=stored.recorded_at,
        )

    @on(Provider.Restored)
    def restored(self, view: ProviderView, event: Provider.Restored, _stored: StoredEvent) -> ProviderView:
        """It may be asked again."""
        return _configured(view.but(status="registered", kind=event.kind), event)

    @on(Provider.Configured)
    def configured(self, view: ProviderView, event: Provider.Configured, _stored: StoredEvent) -> ProviderView:
        """It is reached in another way."""
        return _configured(view, event)

    @on(Provider.Removed)
    def removed(self, view: ProviderView, _event: Provider.Removed, _stored: StoredEvent) -> ProviderView:
        """It may no longer be asked."""
        return view.but(status="removed")


def _configured(view: ProviderView, event: Provider.Restored | Provider.Configured) -> ProviderView:
    return view.but(
        base_url=event.base_url,
        key_env=event.key_env,
        models=tuple(event.models),
        timeout_seconds=event.timeout_seconds,
    )


async def providers(
    connection: Connection, *, removed: bool = False, cursor: str | None = None, limit: int = 50
) -> Page[Row[ProviderView]]:
    """By name: those that may be asked, or with `removed` those that may not. Reads Providers."""
    return await Providers.page(
        connection,
        where={"status": "removed" if removed else "registered"},
        order_by="name",
        cursor=cursor,
        limit=bounded(limit),
    )
