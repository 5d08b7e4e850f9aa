"""Which events a listener wants and may see."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from api.errors import Invalid
from api.feed.frames import Frame
from domain.kernel import EVENT_TYPES


@dataclass(frozen=True, slots=True)
class Selection:
    """One project or all; some types or all; private events or not."""

    project_id: UUID | None = None
    types: frozenset[str] | None = None
    private: bool = False

    def takes(self, frame: Frame) -> bool:
        """Whether this event is wanted."""
        return (
            (self.project_id is None or frame.project_id == self.project_id)
            and (self.types is None or frame.type in self.types)
            and (self.private or not frame.private)
        )


def types_named(patterns: Sequence[str]) -> frozenset[str] | None:
    """The event types that patterns such as `agent.completed` and `budget.*` mean; None for no pattern.

    Invalid for one that means nothing: a listener would wait for ever.
    """
    if not patterns:
        return None
    found: set[str] = set()
    for pattern in patterns:
        if pattern.endswith(".*"):
            meant = {each for each in EVENT_TYPES if each.startswith(pattern[:-1])}
        else:
            meant = {pattern} & EVENT_TYPES.keys()
        if not meant:
            contexts = ", ".join(sorted({each.partition(".")[0] for each in EVENT_TYPES}))
            message = f"{pattern!r} is no event type; write one, or one of these with `.*`: {contexts}"
            raise Invalid([{"in": "query", "field": "type", "message": message, "code": "unknown_event_type"}])
        found |= meant
    return frozenset(found)
