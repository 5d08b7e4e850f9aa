"""How far a state product is, as it stands in Kafka: written in the same transaction as the states it speaks of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

import orjson

from streams.leading import DutyState, Halted


class ProductsHalted(Halted):
    """Going on would publish states of another history than the one that readers hold; a person must look at it."""

    code = "products_halted"


@dataclass(frozen=True, slots=True)
class Progress:
    """Every state up to a position is in the topic, or a later one of the same key."""

    topic: str
    """The id of the topic, the build of the read model, and the shape of the values: with another one of any of these,
    every key is written anew."""
    generation: int
    shape: str
    log: str
    """The log's identity: the leaf of its first event."""
    position: int
    leaf: str
    """Of the event at the position."""
    parked: Mapping[UUID, int] = field(default_factory=dict[UUID, int])
    """Keys whose events were waiting for a fix, and since which position: a retry changes rows without a new event."""

    def dumps(self) -> bytes:
        """As it is stored."""
        return orjson.dumps(
            {
                "topic": self.topic,
                "generation": self.generation,
                "shape": self.shape,
                "log": self.log,
                "position": self.position,
                "leaf": self.leaf,
                "parked": {str(key): position for key, position in self.parked.items()},
            }
        )

    @classmethod
    def loads(cls, value: bytes) -> "Progress | None":
        """As it was stored; None for what cannot be read: then every key is written anew, which harms nobody."""
        try:
            held = orjson.loads(value)
            parked = {UUID(key): int(position) for key, position in held.pop("parked").items()}
            return cls(**held, parked=parked)
        except (AttributeError, KeyError, TypeError, ValueError):
            return None


@dataclass(slots=True)
class ProductsState(DutyState):
    """Changed by the publisher alone."""

    positions: dict[str, int] = field(default_factory=dict[str, int])
    """How far each topic is, by its name; empty while this process has not led."""
    transactions: int = 0
    states: int = 0
    tombstones: int = 0

    def figures(self) -> Mapping[str, int]:
        """What was written by this process."""
        return {"transactions": self.transactions, "states": self.states, "tombstones": self.tombstones}
