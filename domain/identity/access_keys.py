"""Access keys: what a program or a person shows to be let in; known here by their hash alone."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from pydantic import StringConstraints

from domain.errors import Conflict, Refused
from domain.kernel import Aggregate, Created, event
from domain.values import Digest, Instant, Name

PERMISSION = r"^(\*|[a-z][a-z0-9_]*\.(\*|[a-z][a-z0-9_]*))$"
Permission = Annotated[str, StringConstraints(pattern=PERMISSION)]
"""`projects.start`, `projects.*` for all of a context, `*` for everything."""
ALL = "*"
Prefix = Annotated[str, StringConstraints(pattern=r"^tbx_[0-9A-Za-z]{6}$")]
"""The beginning of a token: enough to tell keys apart, useless to guess one."""


class AccessKey(Aggregate):
    """Lets its bearer in with some permissions, until it is revoked or its time is over."""

    TOPIC = "access_key"
    FOLD = 2
    key_hash: Digest
    label: str
    permissions: list[str]
    expires_at: Instant | None
    revoked_by: str | None
    replaces: UUID | None
    successor: UUID | None

    class Issued(Created, type="access_key.issued", private=True):
        """Somebody was given a key."""

        key_hash: Digest
        prefix: Prefix
        label: Name
        permissions: list[Permission]
        expires_at: Instant | None
        replaces: UUID | None
        by: Name

    class Rotated(Aggregate.Event, type="access_key.rotated", private=True):
        """Another key takes this one's place; this one still works for a while."""

        successor: UUID
        expires_at: Instant
        by: Name

    class Revoked(Aggregate.Event, type="access_key.revoked", private=True):
        """The key opens nothing any more."""

        by: Name

    # --- decisions ---

    @event(Issued)
    def __init__(
        self,
        id: UUID,  # noqa: ARG002 -- the library's name for it
        *,
        key_hash: str,
        prefix: str,  # noqa: ARG002 -- a field of the event
        label: str,
        permissions: list[str],
        expires_at: datetime | None,
        replaces: UUID | None,
        by: str,  # noqa: ARG002 -- a field of the event
    ) -> None:
        self.key_hash, self.label, self.permissions, self.expires_at = key_hash, label, permissions, expires_at
        self.replaces, self.revoked_by, self.successor = replaces, None, None

    def admits(self, now: datetime) -> bool:
        """Whether it lets its bearer in at this moment."""
        return self.revoked_by is None and (self.expires_at is None or now < self.expires_at)

    def check_rotatable(self, permissions: Sequence[str], now: datetime) -> None:
        """Refuse to replace a key that opens nothing, has a successor, or may more than the caller believes."""
        if self.successor is not None:
            raise Conflict(f"key {self.label!r} was replaced already, by {self.successor}", code="already_rotated")
        if not self.admits(now):
            state = "has expired" if self.revoked_by is None else f"was revoked by {self.revoked_by}"
            raise Refused(f"key {self.label!r} {state}: issue a new one (toybox keys create)", code="key_not_valid")
        if sorted(permissions) != self.permissions:
            raise Conflict(
                f"key {self.label!r} has other permissions: {', '.join(self.permissions)}", code="permissions_differ"
            )

    def rotate(self, successor: UUID, overlap: timedelta, *, by: str, now: datetime) -> None:
        """Let another key take over; this one's time ends after the overlap, if not before."""
        until = now + overlap
        if self.expires_at is not None:
            until = min(until, self.expires_at)
        self.trigger_event(AccessKey.Rotated, successor=successor, expires_at=until, by=by)

    @property
    def may_do_everything(self) -> bool:
        """Whether its bearer may also issue keys that may."""
        return ALL in self.permissions

    def revoke(self, by: str, *, is_last: bool, now: datetime) -> None:
        """Open nothing any more; once is enough. `is_last` when no other key may do everything."""
        if self.revoked_by is not None:
            return
        if is_last and self.may_do_everything and self.admits(now):
            raise Refused(
                f"key {self.label!r} is the last that may do everything: issue another one first "
                "(toybox keys create --permission '*'), then revoke this one with that",
                code="last_owner_key",
            )
        self.trigger_event(AccessKey.Revoked, by=by)

    # --- appliers ---

    @event(Rotated)
    def _rotated(self, successor: UUID, expires_at: datetime) -> None:
        self.successor, self.expires_at = successor, expires_at

    @event(Revoked)
    def _revoked(self, by: str) -> None:
        self.revoked_by = by


def check_first(key: AccessKey, find: Callable[[UUID], AccessKey]) -> None:
    """Refuse one that has replaced another: its holder is limited, and told of, by the first of them."""
    first = key
    while first.replaces:
        first = find(first.replaces)
    if first is not key:
        raise Refused(
            f"key {key.label!r} has replaced another one, and its holder is limited by that: name {first.id}",
            code="replaced_key",
            key_id=first.id,
        )
