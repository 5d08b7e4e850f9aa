"""What is told of the relay of this process: to probes, to whoever asks for the standing, to Prometheus."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

PHASES = ("stopped", "standby", "starting", "relaying", "waiting", "halted")


class Relaying(Protocol):
    """What the relay says of itself."""

    @property
    def phase(self) -> str:
        """What it does, one of PHASES."""
        ...

    @property
    def position(self) -> int | None:
        """Relayed up to here; None while this process has not led."""
        ...

    @property
    def alarm(self) -> str | None:
        """Why it has halted, and what to do about it: a person must act."""
        ...

    @property
    def alarm_code(self) -> str | None:
        """The same for programs."""
        ...

    @property
    def obstacle(self) -> str | None:
        """What keeps it from relaying now and is tried again."""
        ...

    @property
    def obstacle_code(self) -> str | None:
        """The same for programs."""
        ...

    @property
    def last_error(self) -> str | None:
        """The last obstacle, also when it was overcome."""
        ...

    @property
    def findings(self) -> Sequence[str]:
        """What is not as it should be with the topics."""
        ...

    @property
    def transactions(self) -> int:
        """Committed by this process."""
        ...

    @property
    def events(self) -> int:
        """In those transactions."""
        ...

    @property
    def discarded(self) -> int:
        """Producers that it gave up because something was in doubt."""
        ...

    @property
    def last_seconds(self) -> float:
        """How long the last transaction took."""
        ...


def told(relay: Relaying, head: int) -> Mapping[str, Any]:
    """Its phase, how far it is behind the log's head, and whether somebody should look."""
    return {
        "phase": relay.phase,
        "position": relay.position,
        "lag": lag(relay, head),
        "alarm": alarm(relay),
        "last_error": relay.last_error,
        "transactions": relay.transactions,
        "topics": list(relay.findings),
    }


def alarm(relay: Relaying) -> Mapping[str, Any] | None:
    """What keeps it from relaying, with the remedy in its text; `halted` means that nothing but a person mends it."""
    if relay.alarm is not None:
        return {"code": relay.alarm_code, "halted": True, "text": relay.alarm}
    if relay.obstacle is not None:
        return {"code": relay.obstacle_code, "halted": False, "text": relay.obstacle}
    return None


def lag(relay: Relaying, head: int) -> int | None:
    """Events of the log that are not in Kafka, as far as this process knows: None while another one leads."""
    return None if relay.position is None else max(0, head - relay.position)
