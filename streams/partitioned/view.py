"""One projection in one worker on Kafka: whether it follows, and why not."""

import asyncio

from domain.kernel import EVENT_TYPES
from projections.projector import Gap, Generation, Inflow, Progress, Projection
from streams.follower import State


def stays_on_the_log(projection: Projection) -> bool:
    """Whether a projection hears private events, which never reach Kafka."""
    return projection.types is None or any(
        each in EVENT_TYPES and EVENT_TYPES[each].PRIVATE for each in projection.types
    )


class View:
    """What a worker remembers of a projection; its account lies in Postgres."""

    def __init__(self, projection: Projection) -> None:
        self.projection = projection
        self.state: State = "starting"
        self.live: Generation | None = None
        self.error: str | None = None
        self.gap: Gap | None = None
        self.alarmed = False
        self.progress: Progress | None = None
        self.failures = 0
        self.not_before = 0.0
        self.ready = False
        """Whether it follows from the next start of the consumer on."""

    @property
    def name(self) -> str:
        """Of the projection."""
        return self.projection.name

    def rest(self, state: State, error: str | None, seconds: float) -> None:
        """Step back; the account in Postgres stays where it is."""
        self.state, self.error, self.ready = state, error, False
        self.not_before = asyncio.get_running_loop().time() + seconds

    def passed_the_gap(self, inflow: Inflow) -> bool:
        """Whether what was taken goes beyond the event before which something was missing."""
        gap = self.gap
        return gap is not None and any(
            each.partition == gap.details["partition"] and each.position >= int(str(gap.details["position"]))
            for each in inflow.arrivals
        )
