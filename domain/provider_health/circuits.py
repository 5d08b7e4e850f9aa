"""One circuit: open while its provider rests, half open while one job probes it. Closed circuits are not kept."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from domain.provider_health.rules import AllOpen
from domain.values import Code, Instant, Value


class Probe(Value):
    """The one attempt that may find out whether a provider works again."""

    attempt_id: UUID
    job_id: UUID
    expires_at: Instant
    """When another may try, should nobody ever say what became of this one."""


class Circuit(Value):
    """A circuit that is not closed."""

    cause: Code
    openings: int
    """In a row, without having been closed in between."""
    retry_at: Instant | None
    """When the first probe may go; None: only an operator closes it."""
    all_open: AllOpen
    probe: Probe | None = None

    def state(self, now: datetime) -> Literal["open", "half_open"]:
        return "half_open" if self.is_probed(now) else "open"

    def is_probed(self, now: datetime) -> bool:
        """Whether somebody is finding out at this moment."""
        return self.probe is not None and now < self.probe.expires_at

    def lets_probe(self, now: datetime, *, last_resort: bool = False) -> bool:
        """Whether one job may find out now; the last target of a job may be tried sooner, where the rules say so."""
        if self.retry_at is None or self.is_probed(now):
            return False
        return now >= self.retry_at or (last_resort and self.all_open == "try")

    def blocked_until(self, now: datetime) -> datetime | None:
        """When to ask again; None while nobody knows."""
        if self.probe is not None and self.is_probed(now):
            return self.probe.expires_at
        return self.retry_at
