"""Answers "which files has this project, in which versions, and who let them count?"."""

from collections.abc import Mapping, Sequence
from typing import ClassVar
from uuid import UUID

from domain.checkpoints import Asset, AssetStatus
from domain.log import StoredEvent
from domain.values import Instant
from projections.documents import Column, Document, Row
from projections.listing import bounded
from projections.paging import Page
from projections.projector import Connection, on
from projections.views import View, replaced


class AssetVersion(View):
    """One version of a file; its content lies in the object store under its digest."""

    version: int
    digest: str
    size: int
    media_type: str
    agent_id: UUID | None
    run: int | None
    held_by: UUID | None
    """The checkpoint that asks about it."""
    by: str
    created_at: Instant
    status: AssetStatus = "pending"
    decided_by: str | None = None
    decided_at: Instant | None = None


class AssetView(View):
    """One file. What stands at the top is about its newest version."""

    id: UUID
    project_id: UUID
    name: str
    media_type: str
    digest: str
    size: int
    newest: int
    status: AssetStatus
    versions: tuple[AssetVersion, ...]
    """The oldest first."""
    version: int = 1
    """The aggregate's, for If-Match."""


class AssetViews(Document[AssetView]):
    """Answers "which files has this project, in which versions?": one view per asset."""

    name = "asset_views"
    begins = Asset.Created
    columns: ClassVar[Mapping[str, Column]] = {"name": Column(), "status": Column()}
    indexes: ClassVar[Sequence[Sequence[str]]] = (("project_id", "name"),)

    @on(Asset.Created)
    def created(self, _view: None, event: Asset.Created, stored: StoredEvent) -> AssetView:
        """A file and its first version."""
        return AssetView(
            id=stored.stream_id,
            project_id=event.project_id,
            name=event.name,
            media_type=event.media_type,
            digest=event.digest,
            size=event.size,
            newest=event.version,
            status="pending",
            versions=(_version(event, stored),),
        )

    @on(Asset.Superseded)
    def superseded(self, view: AssetView, event: Asset.Superseded, stored: StoredEvent) -> AssetView:
        """The next version."""
        return view.but(
            media_type=event.media_type,
            digest=event.digest,
            size=event.size,
            newest=event.version,
            status="pending",
            versions=(*view.versions, _version(event, stored)),
        )

    @on(Asset.Approved)
    def approved(self, view: AssetView, event: Asset.Approved, stored: StoredEvent) -> AssetView:
        """A version counts."""
        return _decided(view, event, "approved", stored)

    @on(Asset.Rejected)
    def rejected(self, view: AssetView, event: Asset.Rejected, stored: StoredEvent) -> AssetView:
        """A version does not count."""
        return _decided(view, event, "rejected", stored)


def _version(event: Asset.Created | Asset.Superseded, stored: StoredEvent) -> AssetVersion:
    return AssetVersion(
        version=event.version,
        digest=event.digest,
        size=event.size,
        media_type=event.media_type,
        agent_id=event.agent_id,
        run=event.run,
        held_by=event.held_by,
        by=event.by,
        created_at=stored.recorded_at,
    )


def _decided(
    view: AssetView, event: Asset.Approved | Asset.Rejected, status: AssetStatus, stored: StoredEvent
) -> AssetView:
    versions = view.versions
    for at, each in enumerate(versions):
        if each.version == event.version:
            decided = each.but(status=status, decided_by=event.by, decided_at=stored.recorded_at)
            versions = replaced(versions, at, decided)
    return view.but(versions=versions, status=status if event.version == view.newest else view.status)


async def assets(
    connection: Connection,
    *,
    project_id: UUID,
    status: AssetStatus | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[Row[AssetView]]:
    """Files of a project, by name. Reads AssetViews."""
    where = {"project_id": project_id} | ({"status": status} if status else {})
    return await AssetViews.page(connection, where=where, order_by="name", cursor=cursor, limit=bounded(limit))
