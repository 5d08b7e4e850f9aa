"""How far the relay is, as it stands in Kafka itself: written in the same transaction as the events it speaks of."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from streams.leading import Halted
from streams.products.costs import Chain


class RelayHalted(Halted):
    """Going on would tear or fork what readers of Kafka hold for the truth; a person must look at it."""

    code = "relay_halted"


@dataclass(frozen=True, slots=True)
class Marker:
    """Everything up to a position is in Kafka, or is private."""

    topic: str
    """The id of the topic of events: a topic that was made anew begins anew."""
    log: str = ""
    """The log's identity: the leaf of its first event. Empty while the log is."""
    position: int = 0
    leaf: str = ""
    """Of the event at the position: another one there means another history."""
    prev: Mapping[int, int] = field(default_factory=dict[int, int])
    """The last position on each partition."""
    costs: Chain = field(default_factory=Chain)
    """Where the topic of cost facts stands."""

    def dumps(self) -> bytes:
        """As it is stored."""
        return orjson.dumps(
            {
                "position": self.position,
                "prev": _told(self.prev),
                "costs": {
                    "topic": self.costs.topic,
                    "position": self.costs.position,
                    "prev": _told(self.costs.prev),
                },
                "log": self.log,
                "leaf": self.leaf,
                "topic": self.topic,
            }
        )

    @classmethod
    def loads(cls, value: bytes) -> "Marker":
        """As it was stored; what it is not is refused."""
        try:
            held = orjson.loads(value)
            costs = held["costs"]
            return cls(
                topic=held["topic"],
                log=held["log"],
                position=int(held["position"]),
                leaf=held["leaf"],
                prev=_read(held["prev"]),
                costs=Chain(costs["topic"], int(costs["position"]), _read(costs["prev"])),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise RelayHalted(
                f"the relay's marker in Kafka is not one of ours ({value[:200]!r}): delete all topics of this "
                f"installation, and the relay fills them anew from the log",
                code="relay_marker_unreadable",
            ) from error


def _told(prev: Mapping[int, int]) -> dict[str, int]:
    return {str(partition): position for partition, position in sorted(prev.items())}


def _read(held: Mapping[str, int]) -> dict[int, int]:
    return {int(partition): int(position) for partition, position in held.items()}
