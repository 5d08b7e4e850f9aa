"""A writer process: many callers over one sequencer, each command put down before it is sent and after its answer.

It is killed and started again; it then first asks for the outcome of everything it was not answered.
"""

import asyncio
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import uvloop

from commands.handling import Commands
from faults.crew.journals import Journal, Work, read_journals
from faults.crew.sending import insist, quiet_logs, sending


@dataclass(frozen=True, slots=True)
class WriterOrder:
    """All that a writer process is told."""

    conninfo: str
    store: str
    folder: str
    number: int
    incarnation: int
    commands: int
    callers: int
    hot: int
    cold: int
    seed: int

    @property
    def name(self) -> str:
        """This incarnation."""
        return f"writer-{self.number}.{self.incarnation:03}"

    @property
    def journal(self) -> Path:
        """Where it puts down what it does."""
        return Path(self.folder) / f"{self.name}.journal"


def invent(order: WriterOrder) -> Iterator[Work]:
    """Commands without end: most on few hot counters, the rest spread wide, some on two counters at once."""
    rng = random.Random(f"{order.seed} {order.name}")
    serial = 0
    while True:
        serial += 1
        counter = rng.randrange(order.hot) if rng.random() < 0.6 else order.hot + rng.randrange(order.cold)
        other = rng.randrange(order.hot + order.cold) if rng.random() < 0.1 else None
        also = None if other == counter else other
        yield Work(f"{order.name}-{serial}", counter, rng.randrange(1, 10), also)


def to_do(order: WriterOrder) -> Iterator[Work]:
    """First what nobody knows the outcome of, then new work up to this writer's share."""
    before = read_journals(Path(order.folder), f"writer-{order.number}.*.journal")
    yield from before.unanswered
    fresh = invent(order)
    for _ in range(order.commands - len(before.sent)):
        yield next(fresh)


async def write(order: WriterOrder) -> None:
    """Carry out this writer's share."""
    work = to_do(order)
    first = next(work, None)  # reads the old journals before this incarnation's own is made
    with Journal(order.journal) as journal:
        async with sending(order.conninfo, order.store) as (commands, _):

            async def call(commands: Commands, mine: Work | None) -> None:
                while mine is not None:
                    journal.sent(mine)
                    journal.answered(mine, await insist(commands, mine))
                    mine = next(work, None)

            async with asyncio.TaskGroup() as callers:
                callers.create_task(call(commands, first))
                for _ in range(order.callers - 1):
                    callers.create_task(call(commands, next(work, None)))


if __name__ == "__main__":
    quiet_logs()
    uvloop.run(write(WriterOrder(**orjson.loads(sys.argv[1]))))
