"""A webhook as its deliveries need it: its aggregate, and what its history asks of them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self
from uuid import UUID

from domain.kernel import evolve, load_event
from domain.log import StoredEvent
from domain.posting import Beginning, Requeued
from domain.webhooks import Webhook, types_meant

FRESH = (Webhook.Changed, Webhook.Resumed, Webhook.ReplayRequested)
"""What makes earlier failures count no longer."""


@dataclass(slots=True)
class Subscription:
    """Folded from the events of one webhook."""

    webhook: Webhook
    told_at: int = 0
    after: int = 0
    after_told_at: int = 0
    fresh_told_at: int = 0
    requeued: list[Requeued] = field(default_factory=list[Requeued])
    types: frozenset[str] = frozenset()
    secrets: set[UUID] = field(default_factory=set[UUID])
    """Every one that ever signed."""

    @classmethod
    def of(cls, history: Iterable[StoredEvent]) -> Self | None:
        """None where there is no history."""
        found: Self | None = None
        for stored in history:
            found = found.then(stored) if found else cls(evolve(None, stored)).begun(stored)
        return found

    @property
    def active(self) -> bool:
        """Whether it is to be told anything."""
        return self.webhook.status == "active"

    @property
    def beginning(self) -> Beginning:
        """What deliveries begin with."""
        return Beginning(self.told_at, self.after, self.after_told_at, self.fresh_told_at, tuple(self.requeued))

    def begun(self, stored: StoredEvent) -> Self:
        """By its first event."""
        happened = load_event(stored)
        assert isinstance(happened, Webhook.Subscribed)  # noqa: S101 -- the first event of every webhook
        start = happened.from_position
        self.told_at = self.after_told_at = stored.position
        self.after = stored.position if start is None else start - 1
        self.types = types_meant(happened.types)
        self.secrets = {happened.secret_id}
        return self

    def then(self, stored: StoredEvent) -> Self:
        """By each later one; one that was folded before changes nothing."""
        if stored.version <= self.webhook.version:
            return self
        happened = load_event(stored)
        self.webhook, self.told_at = evolve(self.webhook, stored), stored.position
        if isinstance(happened, Webhook.ReplayRequested):
            self.after, self.after_told_at = happened.from_position - 1, stored.position
        if isinstance(happened, Webhook.DeadLettersRequeued):
            self.requeued.append(Requeued(stored.position, happened.position, stored.recorded_at))
        if isinstance(happened, FRESH):
            self.fresh_told_at = stored.position
        self.types = types_meant(self.webhook.types)
        self.secrets.add(self.webhook.secret_id)
        return self

    def takes(self, stored: StoredEvent) -> bool:
        """Whether it is to be told of this."""
        project = self.webhook.project_id
        return stored.type in self.types and (project is None or project == stored.project_id)
