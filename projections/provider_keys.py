"""Answers "which keys pay for which provider, and what became of them?": one view per key, never the key itself."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

from domain.log import StoredEvent
from domain.provider_keys import ProviderKey
from domain.values import Instant
from projections.documents import Column, Document, Row
from projections.listing import bounded
from projections.paging import Page
from projections.projector import Connection, on
from projections.views import View

ProviderKeyStatus = Literal["stored", "rotating", "revoked"]


class SecretView(View):
    """A secret, by what may be known of it."""

    secret_id: UUID
    last_four: str | None
    """None where the key is so short that four characters would say too much."""
    fingerprint: str
    """The same for the same key, in this installation alone."""
    stored_at: Instant
    first_used_at: Instant | None = None


class ProviderKeyView(View):
    """One provider key."""

    id: UUID
    provider: str
    label: str
    project_id: UUID | None
    """None: for every project that has no key of its own."""
    current: SecretView
    old: SecretView | None = None
    """The secret before it, while that still works where the provider refuses the new one."""
    old_until: Instant | None = None
    stored_at: Instant
    stored_by: str
    rotated_at: Instant | None = None
    revoked_at: Instant | None = None
    revoked_by: str | None = None
    version: int = 1

    def status(self, now: datetime) -> ProviderKeyStatus:
        """Whether it pays at this moment."""
        if self.revoked_at is not None:
            return "revoked"
        return "rotating" if self.old_until is not None and now < self.old_until else "stored"


class ProviderKeys(Document[ProviderKeyView]):
    """Answers "which keys pay for which provider, and what became of them?": one view per key."""

    name = "provider_key_views"
    begins = ProviderKey.Stored
    columns: ClassVar[Mapping[str, Column]] = {
        "provider": Column(),
        "stored_at": Column(),
        "revoked_at": Column(),
    }
    indexes: ClassVar[Sequence[Sequence[str]]] = (("stored_at",),)

    @on(ProviderKey.Stored)
    def stored(self, _view: None, event: ProviderKey.Stored, stored: StoredEvent) -> ProviderKeyView:
        """It pays from now on."""
        return ProviderKeyView(
            id=stored.stream_id,
            provider=event.provider,
            label=event.label,
            project_id=event.project_id,
            current=_secret(event, stored),
            stored_at=stored.recorded_at,
            stored_by=event.by,
        )

    @on(ProviderKey.StoredAgain)
    def stored_again(
        self, view: ProviderKeyView, event: ProviderKey.StoredAgain, stored: StoredEvent
    ) -> ProviderKeyView:
        """Its label has another secret."""
        return view.but(
            current=_secret(event, stored),
            stored_at=stored.recorded_at,
            stored_by=event.by,
            rotated_at=None,
            revoked_at=None,
            revoked_by=None,
        )

    @on(ProviderKey.Rotated)
    def rotated(self, view: ProviderKeyView, event: ProviderKey.Rotated, stored: StoredEvent) -> ProviderKeyView:
        """A new secret is used first."""
        return view.but(
            current=_secret(event, stored),
            old=view.current,
            old_until=event.old_until,
            rotated_at=stored.recorded_at,
        )

    @on(ProviderKey.OverlapEnded)
    def overlap_ended(
        self, view: ProviderKeyView, _event: ProviderKey.OverlapEnded, _stored: StoredEvent
    ) -> ProviderKeyView:
        """The old secret is gone."""
        return view.but(old=None, old_until=None)

    @on(ProviderKey.Revoked)
    def revoked(self, view: ProviderKeyView, event: ProviderKey.Revoked, stored: StoredEvent) -> ProviderKeyView:
        """It pays no longer."""
        return view.but(old=None, old_until=None, revoked_at=stored.recorded_at, revoked_by=event.by)

    @on(ProviderKey.UsedFirstTime)
    def used_first_time(
        self, view: ProviderKeyView, event: ProviderKey.UsedFirstTime, stored: StoredEvent
    ) -> ProviderKeyView:
        """The provider takes it."""
        if view.current.secret_id == event.secret_id:
            return view.but(current=view.current.but(first_used_at=stored.recorded_at))
        return view.but(old=view.old and view.old.but(first_used_at=stored.recorded_at))


def _secret(
    event: ProviderKey.Stored | ProviderKey.StoredAgain | ProviderKey.Rotated, stored: StoredEvent
) -> SecretView:
    return SecretView(
        secret_id=event.secret_id,
        last_four=event.last_four,
        fingerprint=event.fingerprint,
        stored_at=stored.recorded_at,
    )


async def provider_keys(
    connection: Connection,
    *,
    provider: str | None = None,
    revoked: bool = True,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[Row[ProviderKeyView]]:
    """The newest first; of one provider, or without `revoked` only those that pay. Reads ProviderKeys."""
    where: dict[str, object] = {} if provider is None else {"provider": provider}
    if not revoked:
        where["revoked_at"] = None
    return await ProviderKeys.page(
        connection, where=where, order_by="stored_at", descending=True, cursor=cursor, limit=bounded(limit)
    )
