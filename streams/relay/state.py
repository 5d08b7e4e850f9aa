"""What the relay says of itself, for metrics, readiness and `toybox doctor`."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

Phase = Literal["stopped", "standby", "starting", "relaying", "waiting", "halted"]


@dataclass(slots=True)
class RelayState:
    """Changed by the relay alone."""

    phase: Phase = "stopped"
    position: int | None = None
    """Relayed up to here; None while this process has not led."""
    head: int = 0
    relayed_at: datetime | None = None
    """When the event at the position was recorded."""
    alarm: str | None = None
    """Why it has halted; a person must act. Cleared by itself once that is done."""
    alarm_code: str | None = None
    last_error: str | None = None
    """The last thing that went wrong and was tried again."""
    obstacle: str | None = None
    """What keeps it from relaying at this moment and is tried again; None as soon as it is overcome."""
    obstacle_code: str | None = None
    findings: tuple[str, ...] = ()
    """What is not as it should be with the topics, as it was when it last looked."""
    transactions: int = 0
    events: int = 0
    discarded: int = 0
    """Producers given up because something was in doubt."""
    fenced: int = 0
    last_seconds: float = 0.0
    """How long the last transaction took."""

    @property
    def lag(self) -> int:
        """Events in the log that are not in Kafka yet, as far as this process knows."""
        return 0 if self.position is None else max(0, self.head - self.position)


class Place(NamedTuple):
    """Where an event lies in Kafka."""

    position: int
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Relayed:
    """One committed transaction."""

    up_to: int
    seconds: float
    places: tuple[Place, ...]
