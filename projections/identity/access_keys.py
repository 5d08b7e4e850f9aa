"""Answers "who was let in, with what, until when?": one view per access key, never the key or its hash."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar, Final, Literal
from uuid import UUID

from domain.identity.access_keys import AccessKey
from domain.log import StoredEvent
from domain.values import Instant
from projections.documents import Column, Document, Row
from projections.listing import bounded
from projections.paging import Page
from projections.projector import Connection, on
from projections.views import View

_OWNERS: Final = (
    "select key from access_key_views where revoked_at is null and (body->'permissions')::jsonb ? '*'"
    " order by body->>'expires_at' desc nulls first limit 50"
)
KeyStatus = Literal["valid", "expired", "revoked"]


class AccessKeyView(View):
    """One access key."""

    id: UUID
    label: str
    prefix: str
    """How its token begins: enough to tell keys apart."""
    permissions: tuple[str, ...]
    issued_at: Instant
    issued_by: str
    expires_at: Instant | None
    replaces: UUID | None
    successor: UUID | None = None
    revoked_at: Instant | None = None
    revoked_by: str | None = None
    version: int = 1

    def status(self, now: datetime) -> KeyStatus:
        """Whether it lets its bearer in at this moment, and if not, why."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "valid"


class AccessKeys(Document[AccessKeyView]):
    """Answers "who was let in, with what, until when?": one view per access key."""

    name = "access_key_views"
    begins = AccessKey.Issued
    columns: ClassVar[Mapping[str, Column]] = {"issued_at": Column(), "revoked_at": Column()}
    indexes: ClassVar[Sequence[Sequence[str]]] = (("issued_at",),)

    @on(AccessKey.Issued)
    def issued(self, _view: None, event: AccessKey.Issued, stored: StoredEvent) -> AccessKeyView:
        """Somebody was given a key."""
        return AccessKeyView(
            id=stored.stream_id,
            label=event.label,
            prefix=event.prefix,
            permissions=tuple(event.permissions),
            issued_at=stored.recorded_at,
            issued_by=event.by,
            expires_at=event.expires_at,
            replaces=event.replaces,
        )

    @on(AccessKey.Rotated)
    def rotated(self, view: AccessKeyView, event: AccessKey.Rotated, _stored: StoredEvent) -> AccessKeyView:
        """Another key takes over."""
        return view.but(successor=event.successor, expires_at=event.expires_at)

    @on(AccessKey.Revoked)
    def revoked(self, view: AccessKeyView, event: AccessKey.Revoked, stored: StoredEvent) -> AccessKeyView:
        """It opens nothing any more."""
        return view.but(revoked_at=stored.recorded_at, revoked_by=event.by)


async def access_keys(
    connection: Connection, *, revoked: bool = True, cursor: str | None = None, limit: int = 50
) -> Page[Row[AccessKeyView]]:
    """The newest first; without `revoked` only those that were not taken back. Reads AccessKeys."""
    return await AccessKeys.page(
        connection,
        where={} if revoked else {"revoked_at": None},
        order_by="issued_at",
        descending=True,
        cursor=cursor,
        limit=bounded(limit),
    )


async def keys_that_may_do_everything(connection: Connection) -> Sequence[UUID]:
    """Up to 50 keys that were not taken back, those that last longest first. Reads AccessKeys."""
    return [row[0] for row in await (await connection.execute(_OWNERS)).fetchall()]
