"""A tiny aggregate for the tests of the sequencer itself: it counts, and misbehaves on request."""

from typing import Literal
from uuid import UUID

from commands.handling import Command, handler
from commands.work import UnitOfWork
from domain.errors import Refused
from domain.kernel import Aggregate, Created, event


class Counter(Aggregate):
    """Counts up to its limit."""

    TOPIC = "counter"
    count: int
    limit: int

    class Opened(Created, type="counter.opened"):
        """A counter was made."""

        limit: int

    class Added(Aggregate.Event, type="counter.added"):
        """Something was counted."""

        amount: int

    @event(Opened)
    def __init__(self, id: UUID, limit: int) -> None:
        self.count, self.limit = 0, limit

    def add(self, amount: int) -> None:
        """Count, unless it would pass the limit."""
        if self.count + amount > self.limit:
            msg = f"the limit is {self.limit}"
            raise Refused(msg)
        self.trigger_event(Counter.Added, amount=amount)

    @event(Added)
    def _added(self, amount: int) -> None:
        self.count += amount


class OpenCounter(Command, permission="counters.open"):
    """Make a counter."""

    counter_id: UUID
    limit: int = 1_000_000_000


class Count(Command, permission="counters.count"):
    """Count on one counter, perhaps also on another that is found only while deciding."""

    counter_id: UUID
    amount: int = 1
    also: str = ""
    misbehave: Literal["", "refuse late", "crash", "stop"] = ""


@handler
def open_counter(command: OpenCounter, work: UnitOfWork) -> None:
    """A counter is made once."""
    work.add(Counter(id=work.check_new(Counter, command.counter_id), limit=command.limit))


@handler
def count(command: Count, work: UnitOfWork) -> None:
    """Count, or do what a buggy handler would."""
    counter = work.get(Counter, command.counter_id)
    other = work.get(Counter, UUID(command.also)) if command.also else None
    counter.add(command.amount)
    if other:
        other.add(command.amount)
    if command.misbehave == "refuse late":
        msg = "after the fact"
        raise Refused(msg)
    if command.misbehave == "stop":
        next(iter(()))
    if command.misbehave == "crash":
        raise ZeroDivisionError
