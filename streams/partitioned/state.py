"""What the runners on Kafka say of themselves, and where one begins that took over from the log."""

from collections.abc import Mapping
from dataclasses import dataclass

from domain.consuming import Consumption
from domain.log import LogReader
from streams.envelope import timestamp_ms
from streams.partitioned.opening import Ids
from streams.topics import Topics


@dataclass(slots=True)
class ConsumptionState:
    """For readiness and `toybox doctor`."""

    phase: str = "stopped"
    alarm: str | None = None
    """What a person must look at; the rest goes on."""
    last_error: str | None = None
    obstacle: str | None = None
    """What keeps it from consuming at this moment and is tried again; None as soon as it is overcome."""
    foreign: int = 0
    """Records on our topic that are not ours."""
    starts: int = 0
    """How often a consumer was begun."""

    def wait_because(self, reason: str) -> None:
        """It could not go on, and tries again."""
        self.phase, self.last_error, self.obstacle = "waiting", reason, reason

    def follow(self) -> None:
        """It consumes."""
        self.phase, self.obstacle = "following", None

    def figures(self) -> Mapping[str, int]:
        """What was counted by this process."""
        return {"foreign": self.foreign, "starts": self.starts}


async def offsets_after(
    consumption: Consumption, reader: LogReader, topics: Topics, ids: Ids, position: int
) -> Mapping[int, int]:
    """Offsets that come before every event after a position: the records' times are the events', and only rise."""
    found = await reader.read(position - 1, 1) if position else ()
    if not found:
        return dict.fromkeys(range(ids.partitions), 0)
    return await consumption.offsets_at(topics.events.name, timestamp_ms(found[0]))
