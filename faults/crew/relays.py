"""A relay process, to be killed and started again."""

import asyncio
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
import uvloop

from adapters.kafka.connecting import Cluster
from adapters.kafka.outlet import KafkaOutlet
from adapters.postgres.connections import pool
from adapters.postgres.event_store import PostgresStore
from adapters.postgres.following import PostgresLeadership
from faults.crew.fleet import ROOT
from faults.crew.sending import quiet_logs
from streams.relay import Relay
from streams.topics import Topics
from tests.commands.counter import Counter
from toybox import inventory


@dataclass(frozen=True, slots=True)
class RelayOrder:
    """All that a relay process is told."""

    conninfo: str
    address: str
    prefix: str
    batch: int
    errors: str


class RelayProcess:
    """One relay through all of its incarnations."""

    def __init__(self, order: RelayOrder) -> None:
        self._order = order
        self._process: subprocess.Popen[bytes] | None = None
        self.kills = 0

    def start(self) -> "RelayProcess":
        """The next incarnation."""
        told = orjson.dumps(asdict(self._order)).decode()
        with Path(self._order.errors).open("ab") as said:
            command = [sys.executable, "-m", "faults.crew.relays", told]
            self._process = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said)
        return self

    def check(self) -> None:
        """A relay never ends by itself: one that has is a finding."""
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(f"the relay ended by itself: {Path(self._order.errors).read_text()[-3000:]}")

    def kill(self) -> None:
        """Kill -9, then start the next incarnation."""
        self.check()
        self.end()
        self.kills += 1
        self.start()

    def end(self) -> None:
        """Make sure that it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


async def relay(order: RelayOrder) -> None:
    """Relay until killed."""
    inventory.load()
    assert Counter.TOPIC, "the campaign's own events are known to this process"
    async with pool(order.conninfo, size=3) as opened:
        store = PostgresStore(order.conninfo, opened)
        store.listen()
        await Relay(
            KafkaOutlet(Cluster(order.address), f"{order.prefix}.relay"),
            reader=store,
            leadership=PostgresLeadership(order.conninfo),
            topics=Topics.named(order.prefix),
            batch=order.batch,
        ).run()


if __name__ == "__main__":
    quiet_logs()
    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    with runner:
        runner.run(relay(RelayOrder(**orjson.loads(sys.argv[1]))))
