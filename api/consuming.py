"""What is told of the others in this process that work with Kafka: the products' publisher, views and reactions."""

from collections.abc import Mapping
from typing import Any, Protocol

PHASES = ("stopped", "standby", "preparing", "starting", "following", "publishing", "waiting", "halted")


class Duty(Protocol):
    """What one of them says of itself."""

    @property
    def phase(self) -> str:
        """What it does, one of PHASES."""
        ...

    @property
    def alarm(self) -> str | None:
        """What a person must look at, and what to do about it."""
        ...

    @property
    def obstacle(self) -> str | None:
        """What keeps it from its work now and is tried again."""
        ...

    @property
    def last_error(self) -> str | None:
        """The last thing that went wrong and was tried again, also when it was overcome."""
        ...

    def figures(self) -> Mapping[str, int]:
        """What it counts, by name."""
        ...


def duty_told(duty: Duty) -> Mapping[str, Any]:
    """Its phase, whether somebody should look, and what it counted."""
    return {"phase": duty.phase, "alarm": duty_alarm(duty), "last_error": duty.last_error, **duty.figures()}


def duty_alarm(duty: Duty) -> Mapping[str, Any] | None:
    """What somebody should know, with the remedy in its text; `halted` means that nothing but a person mends it."""
    if duty.alarm is not None:
        halted = duty.phase == "halted"
        return {"code": "halted" if halted else "look", "halted": halted, "text": duty.alarm}
    if duty.obstacle is not None:
        return {"code": "waiting", "halted": False, "text": duty.obstacle}
    return None
