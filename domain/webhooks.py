"""Webhooks: who is told of which events, and where. The log never knows the secret that signs what they are told."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Annotated, Literal
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import Field, StringConstraints

from domain.errors import Conflict, Refused
from domain.kernel import EVENT_TYPES, Aggregate, Created, event
from domain.log import SAFE_INTEGER
from domain.values import ONE_LINE, Code, Instant, Name, Sealed

EventPattern = Annotated[str, StringConstraints(pattern=r"^(\*|[a-z_]{1,63}\.(\*|[a-z_]{1,63}))$")]
"""`budget.threshold_crossed`, `budget.*`, or `*` for everything that leaves the database."""
Origin = Annotated[str, StringConstraints(min_length=1, max_length=300, pattern=ONE_LINE)]
"""Scheme, host and port: what may be shown of an address whose path may be as good as a password."""
LogPosition = Annotated[int, Field(ge=0, le=SAFE_INTEGER)]
WebhookStatus = Literal["active", "paused", "disabled", "removed"]
LONGEST_IN_FLIGHT = timedelta(minutes=5)
"""How old a secret may be when its event is decided; one that no event spoke of for far longer is swept away."""
_VISIBLE = re.compile(r"[!-~]{1,2000}")


def origin_of(url: str) -> str:
    """Scheme, host and port of an address that something may be posted to; never repeats the rest of it."""
    if not _VISIBLE.fullmatch(url):
        raise _unusable("1 to 2000 visible ASCII characters without blanks")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _unusable("https://HOST[:PORT]/PATH") from None
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise _unusable("https://HOST[:PORT]/PATH")
    if parts.username is not None or parts.password is not None:
        raise _unusable("no name or password before the host: requests are signed instead")
    if parts.fragment or "#" in url:
        raise _unusable("nothing behind a #: it would not be sent")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}"


def _unusable(wanted: str) -> Refused:
    return Refused(f"this is no address for a webhook: give {wanted}", code="invalid_webhook_url")


def types_meant(patterns: Iterable[str]) -> frozenset[str]:
    """The event types that patterns mean; those that stay in the database are never among them."""
    public = {name for name, kind in EVENT_TYPES.items() if not kind.PRIVATE}
    found: set[str] = set()
    for each in patterns:
        if each == "*":
            return frozenset(public)
        found |= {name for name in public if name == each or (each.endswith(".*") and name.startswith(each[:-1]))}
    return frozenset(found)


def check_patterns(patterns: Sequence[str]) -> list[str]:
    """The same, each once; Refused for one that means nothing: its receiver would wait for ever."""
    for each in patterns:
        if types_meant([each]):
            continue
        if (kind := EVENT_TYPES.get(each)) and kind.PRIVATE:
            raise Refused(f"{each} never leaves the database", code="private_event_type", type=each)
        known = sorted(types_meant(["*"]))
        near = get_close_matches(each, known, n=3)
        nouns = ", ".join(f"{noun}.*" for noun in sorted({name.partition(".")[0] for name in known}))
        hint = f"did you mean {' or '.join(near)}?" if near else f"write one, *, or one of {nouns}"
        raise Refused(f"{each!r} is no event type: {hint}", code="unknown_event_type", type=each)
    return list(dict.fromkeys(patterns))


class Webhook(Aggregate):
    """An address that is told of events as they happen, until it is paused, disabled or removed."""

    TOPIC = "webhook"
    FOLD = 1
    project_id: UUID | None
    status: WebhookStatus
    url: str
    origin: str
    types: list[str]
    secret_id: UUID
    old_secret_id: UUID | None
    old_until: Instant | None

    class Subscribed(Created, type="webhook.subscribed"):
        """An address is told of events from now on, or from an earlier position on."""

        project_id: UUID | None
        url: Sealed
        origin: Origin
        types: list[EventPattern]
        description: Sealed | None
        from_position: LogPosition | None
        secret_id: UUID
        by: Name

    class Changed(Aggregate.Event, type="webhook.changed"):
        """Its address, its choice of events or its description is another one; what is left out stays."""

        url: Sealed | None
        origin: Origin | None
        types: list[EventPattern] | None
        description: Sealed | None
        by: Name

    class Paused(Aggregate.Event, type="webhook.paused"):
        """It is told nothing for the time being; what happens meanwhile waits in the log."""

        by: Name

    class Resumed(Aggregate.Event, type="webhook.resumed"):
        """It is told again, from where it stopped."""

        by: Name

    class SecretRotated(Aggregate.Event, type="webhook.secret_rotated"):
        """What it is told is signed with a new secret; with the old one too, until that one's time is over."""

        secret_id: UUID
        old_secret_id: UUID
        old_until: Instant
        by: Name

    class ReplayRequested(Aggregate.Event, type="webhook.replay_requested"):
        """It is told once more of everything from a position on."""

        from_position: LogPosition
        by: Name

    class DeadLettersRequeued(Aggregate.Event, type="webhook.dead_letters_requeued"):
        """What was given up is tried once more: all of it, or the event at one position."""

        position: LogPosition | None
        by: Name

    class Disabled(Aggregate.Event, type="webhook.disabled"):
        """It is told nothing any more, because it answered nothing good for too long, or is gone for ever."""

        reason: Code
        detail: Name

    class Removed(Aggregate.Event, type="webhook.removed"):
        """It is forgotten, and its secrets are erased."""

        by: Name

    # --- decisions ---

    @event(Subscribed)
    def __init__(  # noqa: PLR0913 -- one argument for each field of the event
        self,
        id: UUID,  # noqa: ARG002 -- the library's name for it
        *,
        project_id: UUID | None,
        url: str,
        origin: str,
        types: list[str],
        description: str | None,  # noqa: ARG002 -- a field of the event
        from_position: int | None,  # noqa: ARG002 -- the same
        secret_id: UUID,
        by: str,  # noqa: ARG002 -- the same
    ) -> None:
        self.project_id, self.status = project_id, "active"
        self.url, self.origin, self.types = url, origin, types
        self.secret_id, self.old_secret_id, self.old_until = secret_id, None, None

    def secrets(self, now: datetime) -> Sequence[UUID]:
        """The secrets that sign at this moment, the newest first."""
        if self.status == "removed":
            return ()
        if self.old_secret_id and self.old_until and now < self.old_until:
            return (self.secret_id, self.old_secret_id)
        return (self.secret_id,)

    def change(
        self,
        *,
        url: str | None,
        origin: str | None,
        types: list[str] | None,
        description: str | None,
        by: str,
    ) -> None:
        """Another address, choice or description."""
        self.must_be_there()
        self.trigger_event(Webhook.Changed, url=url, origin=origin, types=types, description=description, by=by)

    def pause(self, by: str) -> None:
        """Once is enough; one that is disabled stays so."""
        self.must_be_there()
        if self.status == "active":
            self.trigger_event(Webhook.Paused, by=by)

    def resume(self, by: str) -> None:
        """Also after it was disabled; once is enough."""
        self.must_be_there()
        if self.status != "active":
            self.trigger_event(Webhook.Resumed, by=by)

    def rotate(self, secret_id: UUID, overlap: timedelta, *, by: str, now: datetime) -> None:
        """Let a new secret sign. One that was replaced before goes at once: two sign at a time, never three."""
        self.must_be_there()
        self.trigger_event(
            Webhook.SecretRotated, secret_id=secret_id, old_secret_id=self.secret_id, old_until=now + overlap, by=by
        )

    def replay(self, from_position: int, by: str) -> None:
        """Begin again at a position, now or as soon as it is resumed."""
        self.must_be_there()
        self.trigger_event(Webhook.ReplayRequested, from_position=from_position, by=by)

    def requeue(self, position: int | None, by: str) -> None:
        """Try dead letters once more, now or as soon as it is resumed."""
        self.must_be_there()
        self.trigger_event(Webhook.DeadLettersRequeued, position=position, by=by)

    def disable(self, reason: str, detail: str) -> None:
        """Stop telling it; somebody must look and resume it."""
        if self.status != "active":
            raise Refused("this webhook is not active", code="not_due")
        self.trigger_event(Webhook.Disabled, reason=reason, detail=detail)

    def remove(self, by: str) -> None:
        """Once is enough."""
        if self.status != "removed":
            self.trigger_event(Webhook.Removed, by=by)

    def must_be_there(self) -> None:
        """Refuse what is asked of one that was removed."""
        if self.status == "removed":
            raise Conflict("this webhook was removed: add another one (toybox webhooks add)", code="webhook_removed")

    # --- appliers ---

    @event(Changed)
    def _changed(self, url: str | None, origin: str | None, types: list[str] | None) -> None:
        self.url, self.origin = url or self.url, origin or self.origin
        self.types = self.types if types is None else types

    @event(Paused)
    def _paused(self) -> None:
        self.status = "paused"

    @event(Resumed)
    def _resumed(self) -> None:
        self.status = "active"

    @event(SecretRotated)
    def _rotated(self, secret_id: UUID, old_secret_id: UUID, old_until: datetime) -> None:
        self.secret_id, self.old_secret_id, self.old_until = secret_id, old_secret_id, old_until

    @event(ReplayRequested)
    def _replayed(self) -> None:
        """Where deliveries are is kept beside the log."""

    @event(DeadLettersRequeued)
    def _requeued(self) -> None:
        """Dead letters are kept beside the log."""

    @event(Disabled)
    def _disabled(self) -> None:
        self.status = "disabled"

    @event(Removed)
    def _removed(self) -> None:
        self.status = "removed"
        self.old_secret_id = self.old_until = None
