"""The load of toybox: callers who send commands through the whole pipeline, each with a command id of its own."""

import asyncio
import sys
import time
from dataclasses import dataclass

import orjson
import uvloop

from bench.load.figures import Figures, figures
from bench.load.profiling import profiled
from bench.load.turns import report, wait_for_go
from commands.handling import Caller, Commands
from commands.sequencer import BatchReport
from domain.errors import Conflict
from domain.values import derived_id
from faults.crew.sending import quiet_logs, sending
from tests.commands.counter import Count, OpenCounter
from tests.support.story import OWNER
from toybox.serving.collector import spare_what_stands

WARM_UP_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class CommandsOrder:
    """All that the load is told."""

    conninfo: str
    name: str
    """Makes its command ids its own."""
    counter: str
    """The one hot aggregate; several processes may share it."""
    callers: int
    seconds: float
    profile: bool = False


class Load:
    """Callers on one counter."""

    def __init__(self, order: CommandsOrder, commands: Commands) -> None:
        self._order, self._commands = order, commands
        self._counter = derived_id("bench-counter", order.counter)
        self._serial = 0

    async def open(self) -> None:
        """The counter is there afterwards, whoever made it."""
        caller = Caller(OWNER, "http", f"{self._order.name}-open")
        try:
            await self._commands.send(OpenCounter(counter_id=self._counter), caller)
        except Conflict:
            return

    async def run(self, seconds: float) -> list[float]:
        """The latency of every command that was answered in this time."""
        latencies: list[float] = []
        until = time.perf_counter() + seconds

        async def call() -> None:
            began = time.perf_counter()
            while began < until:
                self._serial += 1
                caller = Caller(OWNER, "http", f"{self._order.name}-{self._serial}")
                await self._commands.send(Count(counter_id=self._counter), caller)
                ended = time.perf_counter()
                latencies.append(ended - began)
                began = ended

        await asyncio.gather(*(call() for _ in range(self._order.callers)))
        return latencies


async def measure(order: CommandsOrder) -> None:
    """Warm up, wait for the others, measure, report."""
    batches: list[BatchReport] = []
    async with sending(order.conninfo, observe=batches.append) as (commands, _):
        load = Load(order, commands)
        await load.open()
        await load.run(WARM_UP_SECONDS)
        spare_what_stands()  # as every server process does
        wait_for_go()
        batches.clear()
        cpu, began = time.process_time(), time.perf_counter()
        with profiled(order.profile):
            latencies = await load.run(order.seconds)
        report(_figures(latencies, batches, time.perf_counter() - began, time.process_time() - cpu))


def _figures(latencies: list[float], batches: list[BatchReport], seconds: float, cpu: float) -> Figures:
    return figures(
        latencies,
        seconds,
        cpu,
        batch_size=sum(batch.requests for batch in batches) / len(batches) if batches else 0.0,
        in_batches_share=sum(batch.total_seconds for batch in batches) / seconds,
        waiting_for_lock_share=sum(batch.lock_seconds for batch in batches) / seconds,
        processor_share=cpu / seconds,
    )


if __name__ == "__main__":
    quiet_logs()
    uvloop.run(measure(CommandsOrder(**orjson.loads(sys.argv[1]))))
