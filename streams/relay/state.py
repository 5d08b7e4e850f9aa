"""What the relay says of itself, for metrics, readiness and `toybox doctor`."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from domain.errors import Unavailable
from domain.relaying import BrokerAway, Fenced
from streams.leading import DutyState


@dataclass(slots=True)
class RelayState(DutyState):
    """Changed by the relay alone."""

    position: int | None = None
    """Relayed up to here; None while this process has not led."""
    head: int = 0
    relayed_at: datetime | None = None
    """When the event at the position was recorded."""
    findings: tuple[str, ...] = ()
    """What is not as it should be with the topics, as it was when it last looked."""
    transactions: int = 0
    events: int = 0
    discarded: int = 0
    """Producers given up because something was in doubt."""
    fenced: int = 0
    last_seconds: float = 0.0
    """How long the last transaction took."""

    def begins_anew(self, away: Unavailable) -> None:
        """Count what was given up."""
        self.discarded += isinstance(away, BrokerAway)
        self.fenced += isinstance(away, Fenced)
        DutyState.begins_anew(self, away)  # a class with slots is made twice, and `super` knows the first

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
