"""A projection and a reaction over counters: what came twice or never shows in a sum."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from commands.handling import Command
from domain.kernel import Event
from domain.log import StoredEvent
from domain.values import derived_id
from projections.documents import Document
from projections.projector import Projection, on
from streams.reacting import Reaction
from tests.commands.counter import Count, Counter


class CountView(BaseModel):
    """One counter."""

    model_config = ConfigDict(frozen=True)
    count: int = 0
    events: int = 0


class Counts(Document[CountView], registered=False):
    """Every counter with its sum."""

    name = "mirror_counts"

    @on(Counter.Opened)
    def opened(self, _view: CountView | None, _event: Counter.Opened, _stored: StoredEvent) -> CountView:
        """A counter is new."""
        return CountView()

    @on(Counter.Added)
    def added(self, view: CountView | None, event: Counter.Added, _stored: StoredEvent) -> CountView | None:
        """It counted."""
        return view and CountView(count=view.count + event.amount, events=view.events + 1)


def mirror_of(counter: UUID) -> UUID:
    """The counter on which the reaction counts what was counted on this one."""
    return derived_id("mirror", counter)


def _mirror(event: Event, stored: StoredEvent) -> Iterable[Command]:
    """Whatever a person counts is counted once more."""
    if isinstance(event, Counter.Added) and not stored.actor.startswith("reaction:"):
        yield Count(counter_id=mirror_of(stored.stream_id), amount=event.amount)


MIRROR: Final[Mapping[str, Reaction]] = {
    "mirror_counts": Reaction("mirror_counts", frozenset({Counter.Added.TYPE}), _mirror)
}
PROJECTIONS: Final[Sequence[Projection]] = (Counts(),)
