"""The asset aggregate: a named file of a project, its versions by digest, and which of them a person approved."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from domain.errors import Conflict, Refused
from domain.kernel import Aggregate, Created, event
from domain.log import SAFE_INTEGER
from domain.values import Digest, Name

AssetStatus = Literal["pending", "approved", "rejected"]
AssetName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
"""A file name that is safe on every system: `release-notes.md`."""
MediaType = Annotated[str, StringConstraints(pattern=r"^[a-z]+/[a-z0-9][a-z0-9.+-]{0,99}$")]
Size = Annotated[int, Field(ge=0, le=SAFE_INTEGER)]
"""Bytes of content."""
Version = Annotated[int, Field(ge=1)]


class Asset(Aggregate):
    """A named file of a project: its content lies in the object store under its digest, only the newest counts."""

    TOPIC = "asset"
    FOLD = 1
    project_id: UUID
    name: str
    media_type: str
    digest: Digest
    size: int
    newest: int
    """The version that the digest and the status are about."""
    status: AssetStatus
    decided_by: str | None
    held_by: UUID | None
    """The checkpoint that was asked about the newest version."""

    class Created(Created, type="asset.created"):
        """A file was added to a project: its first version."""

        project_id: UUID
        name: AssetName
        media_type: MediaType
        digest: Digest
        size: Size
        version: Version = 1
        agent_id: UUID | None
        run: int | None
        held_by: UUID | None
        by: Name

    class Superseded(Aggregate.Event, type="asset.superseded"):
        """A file got new content: the next version."""

        version: Version
        digest: Digest
        size: Size
        media_type: MediaType
        agent_id: UUID | None
        run: int | None
        held_by: UUID | None
        by: Name

    class Approved(Aggregate.Event, type="asset.approved"):
        """Exactly this version counts as a result."""

        version: Version
        digest: Digest
        by: Name

    class Rejected(Aggregate.Event, type="asset.rejected"):
        """This version does not count as a result."""

        version: Version
        digest: Digest
        by: Name

    # --- decisions ---

    @event(Created)
    def __init__(  # noqa: PLR0913 -- a file has this many facts
        self,
        id: UUID,  # noqa: ARG002 -- the library's name for it
        *,
        project_id: UUID,
        name: str,
        media_type: str,
        digest: str,
        size: int,
        agent_id: UUID | None,  # noqa: ARG002 -- a field of the event
        run: int | None,  # noqa: ARG002 -- a field of the event
        held_by: UUID | None,
        by: str,  # noqa: ARG002 -- a field of the event
    ) -> None:
        self.project_id, self.name = project_id, name
        self._take(1, digest, size, media_type, held_by)

    def supersede(
        self,
        digest: str,
        size: int,
        *,
        by: str,
        media_type: str | None = None,
        agent_id: UUID | None = None,
        run: int | None = None,
        held_by: UUID | None = None,
    ) -> None:
        """Give it new content, which nobody has approved yet."""
        self.trigger_event(
            Asset.Superseded,
            version=self.newest + 1,
            digest=digest,
            size=size,
            media_type=media_type or self.media_type,
            agent_id=agent_id,
            run=run,
            held_by=held_by,
            by=by,
        )

    def check_changes(self, digest: str, media_type: str | None) -> None:
        """Refuse content that it has already."""
        if digest == self.digest and media_type in (None, self.media_type):
            raise Refused(f"{self.name} has this content already: it is version {self.newest}", code="unchanged")

    def check_decidable(self, status: AssetStatus, digest: str) -> None:
        """Refuse to decide on another content than the newest, or against what was decided."""
        if digest != self.digest:
            raise Conflict(
                f"{self.name} has other content now: version {self.newest}, digest {self.digest}; look at it first",
                code="digest_mismatch",
                digest=self.digest,
                version=self.newest,
            )
        if self.status not in ("pending", status):
            raise Conflict(
                f"version {self.newest} of {self.name} was {self.status} by {self.decided_by}: add a new version",
                code="already_decided",
                decision=self.status,
                by=self.decided_by,
            )

    def approve(self, version: int, digest: str, *, by: str) -> None:
        """This version counts; once is enough."""
        if (version, "approved") != (self.newest, self.status):
            self.trigger_event(Asset.Approved, version=version, digest=digest, by=by)

    def reject(self, version: int, digest: str, *, by: str) -> None:
        """This version does not count; once is enough."""
        if (version, "rejected") != (self.newest, self.status):
            self.trigger_event(Asset.Rejected, version=version, digest=digest, by=by)

    # --- appliers ---

    def _take(self, version: int, digest: str, size: int, media_type: str, held_by: UUID | None) -> None:
        self.newest, self.digest, self.size, self.media_type = version, digest, size, media_type
        self.status: AssetStatus = "pending"
        self.decided_by, self.held_by = None, held_by

    @event(Superseded)
    def _superseded(self, version: int, digest: str, size: int, media_type: str, held_by: UUID | None) -> None:
        self._take(version, digest, size, media_type, held_by)

    @event(Approved)
    def _approved(self, version: int, by: str) -> None:
        self._decided("approved", version, by)

    @event(Rejected)
    def _rejected(self, version: int, by: str) -> None:
        self._decided("rejected", version, by)

    def _decided(self, status: AssetStatus, version: int, by: str) -> None:
        if version == self.newest:  # what is said of an older one stands in the history
            self.status, self.decided_by = status, by
