"""Provider keys: what spends money at a vendor. The log knows a label, the last four, a fingerprint; never the key."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID

from pydantic import SecretStr, StringConstraints

from domain.errors import Conflict, Refused
from domain.kernel import Aggregate, Created, event
from domain.values import Digest, Instant, Name, Slug, Value

LastFour = Annotated[str, StringConstraints(pattern=r"^[!-~]{4}$")]
"""How a key ends: enough to tell keys apart, useless to guess one."""
LONGEST_IN_FLIGHT = timedelta(minutes=5)
"""How old a secret may be when its event is decided; one that no event spoke of for far longer is swept away."""
_SENDABLE = re.compile(r"[!-~]{8,4096}")
_LONG_ENOUGH_TO_SHOW = 16
"""Characters below which four of them say too much."""


def check_secret(secret: SecretStr) -> None:
    """Refuse what no vendor's key looks like and no header can carry; never repeats it."""
    if not _SENDABLE.fullmatch(secret.get_secret_value()):
        raise Refused(
            "this is no provider key: 8 to 4096 visible ASCII characters without blanks; send the key alone",
            code="invalid_provider_key",
        )


def last_four(secret: SecretStr) -> str | None:
    """What may be shown of a key; nothing of a short one."""
    plain = secret.get_secret_value()
    return plain[-4:] if len(plain) >= _LONG_ENOUGH_TO_SHOW else None


class HeldSecret(Value):
    """A secret as the log knows it: what lies beside the log under its id opens the vendor's door."""

    secret_id: UUID
    last_four: LastFour | None
    fingerprint: Digest
    used: bool = False


class ProviderKey(Aggregate):
    """A key to a vendor's models; its provider and label are its id. For one project, or for whoever has none."""

    TOPIC = "provider_key"
    FOLD = 1
    provider: str
    label: str
    project_id: UUID | None
    status: Literal["stored", "revoked"]
    current: HeldSecret
    old: HeldSecret | None
    old_until: Instant | None

    class Stored(Created, type="provider_key.stored", private=True):
        """A key to a provider was stored; calls for it are made with it from now on."""

        provider: Slug
        label: Slug
        project_id: UUID | None
        secret_id: UUID
        last_four: LastFour | None
        fingerprint: Digest
        by: Name

    class StoredAgain(Aggregate.Event, type="provider_key.stored_again", private=True):
        """The label of a key that had been revoked was given to another secret."""

        secret_id: UUID
        last_four: LastFour | None
        fingerprint: Digest
        by: Name

    class Rotated(Aggregate.Event, type="provider_key.rotated", private=True):
        """A new secret stands beside the old one, which still works for a while, unless its time is over at once."""

        secret_id: UUID
        last_four: LastFour | None
        fingerprint: Digest
        old_secret_id: UUID
        old_until: Instant
        by: Name

    class OverlapEnded(Aggregate.Event, type="provider_key.overlap_ended", private=True):
        """The secret that was replaced works no longer, and is erased."""

        secret_id: UUID

    class Revoked(Aggregate.Event, type="provider_key.revoked", private=True):
        """The key is used no longer, and its secrets are erased."""

        by: Name

    class UsedFirstTime(Aggregate.Event, type="provider_key.used_first_time", private=True):
        """The provider has answered a request that was made with this secret."""

        secret_id: UUID

    # --- decisions ---

    @event(Stored)
    def __init__(
        self,
        id: UUID,  # noqa: ARG002 -- the library's name for it
        *,
        provider: str,
        label: str,
        project_id: UUID | None,
        secret_id: UUID,
        last_four: str | None,
        fingerprint: str,
        by: str,  # noqa: ARG002 -- a field of the event
    ) -> None:
        self.provider, self.label, self.project_id, self.status = provider, label, project_id, "stored"
        self.current = HeldSecret(secret_id=secret_id, last_four=last_four, fingerprint=fingerprint)
        self.old = self.old_until = None

    def live(self, now: datetime) -> Sequence[UUID]:
        """The secrets that work at this moment, the newest first."""
        if self.status == "revoked":
            return ()
        if self.old and self.old_until and now < self.old_until:
            return (self.current.secret_id, self.old.secret_id)
        return (self.current.secret_id,)

    def store_again(self, project_id: UUID | None, secret: HeldSecret, *, by: str) -> None:
        """Take the label of a revoked key anew."""
        if self.status == "stored":
            raise Conflict(
                f"provider {self.provider} has a key {self.label!r}: rotate it (toybox provider-keys rotate), "
                "or store this one under another label",
                code="provider_key_exists",
            )
        if project_id != self.project_id:
            raise Refused(
                f"key {self.label!r} of {self.provider} was for {_whom(self.project_id)}: choose another label",
                code="provider_key_scope",
            )
        self.trigger_event(ProviderKey.StoredAgain, **_said(secret), by=by)

    def rotate(self, secret: HeldSecret, overlap: timedelta, *, by: str, now: datetime) -> None:
        """Let a new secret take over. One that was replaced before goes at once: two work at a time, never three."""
        self._must_be_stored()
        if secret.fingerprint == self.current.fingerprint:
            raise Refused(f"key {self.label!r} of {self.provider} is this one already", code="same_provider_key")
        self.trigger_event(
            ProviderKey.Rotated,
            **_said(secret),
            old_secret_id=self.current.secret_id,
            old_until=now + overlap,
            by=by,
        )

    def end_overlap(self, secret_id: UUID, now: datetime) -> None:
        """The old secret's time is over."""
        if self.status == "revoked" or not self.old or self.old.secret_id != secret_id or secret_id in self.live(now):
            raise Refused("this secret is still in use, or gone already", code="not_due")
        self.trigger_event(ProviderKey.OverlapEnded, secret_id=secret_id)

    def revoke(self, by: str) -> None:
        """Be used no longer; once is enough."""
        if self.status == "stored":
            self.trigger_event(ProviderKey.Revoked, by=by)

    def note_use(self, secret_id: UUID) -> None:
        """The provider took this secret."""
        unused = [each for each in (self.current, self.old) if each and each.secret_id == secret_id and not each.used]
        if self.status == "revoked" or not unused:
            raise Refused("this is known already, or the secret is gone", code="not_due")
        self.trigger_event(ProviderKey.UsedFirstTime, secret_id=secret_id)

    def _must_be_stored(self) -> None:
        if self.status == "revoked":
            raise Refused(
                f"key {self.label!r} of {self.provider} was revoked: store it again (toybox provider-keys add)",
                code="provider_key_revoked",
            )

    # --- appliers ---

    @event(StoredAgain)
    def _stored_again(self, secret_id: UUID, last_four: str | None, fingerprint: str) -> None:
        self.status = "stored"
        self.current = HeldSecret(secret_id=secret_id, last_four=last_four, fingerprint=fingerprint)
        self.old = self.old_until = None

    @event(Rotated)
    def _rotated(self, secret_id: UUID, last_four: str | None, fingerprint: str, old_until: datetime) -> None:
        self.old, self.old_until = self.current, old_until
        self.current = HeldSecret(secret_id=secret_id, last_four=last_four, fingerprint=fingerprint)

    @event(OverlapEnded)
    def _overlap_ended(self) -> None:
        self.old = self.old_until = None

    @event(Revoked)
    def _revoked(self) -> None:
        self.status = "revoked"
        self.old = self.old_until = None

    @event(UsedFirstTime)
    def _used_first_time(self, secret_id: UUID) -> None:
        if self.current.secret_id == secret_id:
            self.current = self.current.model_copy(update={"used": True})
        else:
            self.old = self.old and self.old.model_copy(update={"used": True})


def _said(secret: HeldSecret) -> dict[str, object]:
    return secret.model_dump(exclude={"used"})


def _whom(project_id: UUID | None) -> str:
    return f"project {project_id}" if project_id else "every project"
