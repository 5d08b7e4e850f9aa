"""A worker process that follows Kafka, projections and reactions, to be killed and started again."""

import asyncio
import contextlib
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
import uvloop

from adapters.faust.app import FaustConsumption
from adapters.kafka.connecting import Cluster
from adapters.kafka.topics import KafkaTopics
from adapters.postgres.connections import pool
from adapters.postgres.following import PostgresCursors, PostgresLeadership
from adapters.postgres.partitioning import PostgresPartitionCursors
from faults.crew.fleet import ROOT
from faults.crew.history import SHIPPED
from faults.crew.mirror import MIRROR, PROJECTIONS
from faults.crew.sending import quiet_logs, sending
from streams.partitioned import KafkaReactions, KafkaViews
from streams.reactor import Reactor
from streams.topics import Topics
from toybox import inventory

LEAVE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class WorkerOrder:
    """All that a worker process is told."""

    conninfo: str
    address: str
    prefix: str
    name: str
    errors: str
    static: bool = True
    """Whether it comes back to its partitions after an absence; else they are others' as soon as it leaves."""
    shipped: bool = False
    """Whether it keeps views of the product too, not only the campaign's own."""


class WorkerProcess:
    """One worker through all of its incarnations; its name, and with it its partitions, stays."""

    def __init__(self, order: WorkerOrder) -> None:
        self._order = order
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "WorkerProcess":
        """The next incarnation."""
        told = orjson.dumps(asdict(self._order)).decode()
        with Path(self._order.errors).open("ab") as said:
            command = [sys.executable, "-m", "faults.crew.faust_workers", told]
            self._process = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said)
        return self

    def check(self) -> None:
        """A worker never ends by itself: one that has is a finding."""
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(f"the worker ended by itself: {Path(self._order.errors).read_text()[-3000:]}")

    def kill(self) -> None:
        """Kill -9, then start the next incarnation."""
        self.check()
        self.end()
        self.start()

    def leave(self) -> None:
        """As somebody does who has fewer of them from now on."""
        self.check()
        if self._process is not None:
            self._process.terminate()
            self._process.wait(LEAVE_SECONDS)
            self._process = None

    def end(self) -> None:
        """Make sure that it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


async def work(order: WorkerOrder) -> None:
    """Follow until killed, or until told to leave."""
    inventory.load()
    cluster, topics = Cluster(order.address), Topics.named(order.prefix)
    names = [topics.events.name, topics.relay_position.name]

    def member(what: str) -> FaustConsumption:
        group = f"{order.prefix}.{what}"
        instance = f"{group}.{order.name}" if order.static else None
        return FaustConsumption(cluster, names, group=group, instance=instance)

    async with pool(order.conninfo, size=6) as opened, sending(order.conninfo) as (commands, store):
        views = KafkaViews(
            member("views"),
            KafkaTopics(cluster),
            reader=store,
            connections=opened,
            topics=topics,
            projections=[*PROJECTIONS, *SHIPPED] if order.shipped else PROJECTIONS,
        )
        reactor = Reactor(
            MIRROR,
            reader=store,
            commands=commands,
            cursors=PostgresCursors(opened),
            leadership=PostgresLeadership(order.conninfo),
        )
        reactions = KafkaReactions(
            MIRROR,
            member("reactions"),
            KafkaTopics(cluster),
            reactor=reactor,
            reader=store,
            cursors=PostgresPartitionCursors(opened),
            connections=opened,
            topics=topics,
        )
        views.start()
        answering = asyncio.create_task(reactions.run())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, answering.cancel)
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await answering
        finally:
            await views.stop()


if __name__ == "__main__":
    quiet_logs()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work(WorkerOrder(**orjson.loads(sys.argv[1]))))
