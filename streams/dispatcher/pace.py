"""How fast a worker is: its leases, its heartbeat, how soon it looks again."""

from dataclasses import dataclass

from domain.errors import Refused


@dataclass(frozen=True, slots=True)
class Pace:
    """All workers of one installation keep the same pace: each judges the others' leases by its own."""

    lease_seconds: int = 10
    """How long a worker may be silent before its jobs go to others."""
    heartbeat_seconds: float = 3.0
    grace_seconds: int = 60
    """How much longer than the attempt's deadline its hold lasts: time to record the outcome, also after a restart."""
    poll_seconds: float = 1.0
    """How long a worker sleeps that hears of nothing new."""
    again_seconds: float = 2.0
    """How long a job is left alone that could not be admitted, because its project is paused for instance."""

    def __post_init__(self) -> None:
        if not 0 < self.heartbeat_seconds * 2 < self.lease_seconds:
            raise Refused("a lease must outlast two heartbeats, or busy workers lose their jobs", code="bad_pace")
