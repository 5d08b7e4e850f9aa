"""A reader process: follows the log by position the whole time and puts down what it was shown, leaf by leaf."""

import asyncio
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import uvloop

from adapters.postgres.connections import pool
from adapters.postgres.log import PostgresLog
from domain.errors import Unavailable
from domain.log import leaf
from faults.crew.sending import quiet_logs


@dataclass(frozen=True, slots=True)
class ReaderOrder:
    """All that a reader process is told."""

    conninfo: str
    path: str
    eager: bool
    """Whether it polls all the time; else it sleeps until it is told of a new head."""


async def follow(order: ReaderOrder) -> None:
    """Read after the last position seen until SIGTERM, then on to the end of the log."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    async with pool(order.conninfo, size=2) as opened:
        log = PostgresLog(order.conninfo, opened)
        log.listen()
        position = 0
        with Path(order.path).open("w", encoding="ascii") as seen:  # noqa: ASYNC230 -- nobody else waits in this loop
            while True:
                try:
                    if order.eager:
                        await asyncio.sleep(0.003)
                    else:
                        await log.wait(position, 0.25)
                    last_round = stopping.is_set()
                    events = await log.read(position, 2000)
                except Unavailable:
                    await asyncio.sleep(0.1)
                    continue
                seen.writelines(f"{each.position} {leaf(each).hex()}\n" for each in events)
                if events:
                    position = events[-1].position
                elif last_round:
                    break
        await log.close()


def what_was_seen(path: Path) -> Iterator[tuple[int, str]]:
    """Position and leaf of each event in the order in which the reader was shown them."""
    with path.open(encoding="ascii") as lines:
        for line in lines:
            position, _, digest = line.strip().partition(" ")
            yield int(position), digest


if __name__ == "__main__":
    quiet_logs()
    uvloop.run(follow(ReaderOrder(**orjson.loads(sys.argv[1]))))
