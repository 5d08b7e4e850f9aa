"""The relay under fire: relays and broker are killed while writers run; Kafka must hold each event once, in order.

`python -m faults.relay_chaos --events 200000 --relay-kills 10 --broker-kills 2 --broker-stops 3 --seed 1`
"""

import asyncio
import random
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from adapters.kafka.connecting import Cluster
from adapters.kafka.outlet import KafkaOutlet
from adapters.postgres.connections import pool
from adapters.postgres.event_store import PostgresStore
from adapters.postgres.migrate import migrate
from commands.handling import Caller
from faults.crew.journals import Work, counter_id
from faults.crew.relays import RelayOrder, RelayProcess
from faults.crew.sending import insist, sending
from faults.crew.tormenting import run, servers, shuffled, take_away
from streams.relay.marker import Marker
from streams.topics import Topics
from tests.commands.counter import OpenCounter
from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_reading import Found, committed, complaints
from tests.support.story import OWNER

Kind = Literal["kill relay", "kill broker", "stop broker"]
PATIENCE_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class Campaign:
    """How much of everything."""

    events: int = 200_000
    relay_kills: int = 10
    broker_kills: int = 2
    broker_stops: int = 3
    relays: int = 2
    callers: int = 64
    counters: int = 400
    batch: int = 500
    seed: int = 1


@dataclass(slots=True)
class Verdict:
    """What came of it."""

    events: int = 0
    records: int = 0
    seconds: float = 0.0
    blows: dict[Kind, int] = field(default_factory=dict[Kind, int])
    complaints: list[str] = field(default_factory=list[str])

    @property
    def clean(self) -> bool:
        """Nothing is missing, doubled or out of order, and something was relayed at all."""
        return not self.complaints and self.events == self.records > 0

    def lines(self) -> list[str]:
        """For people."""
        told = ", ".join(f"{count} × {kind}" for kind, count in self.blows.items())
        head = f"{self.records:,} of {self.events:,} events in Kafka after {self.seconds:.0f} s; {told}"
        return [head, *(self.complaints or ["each position once, in order, no chain broken"])]


class Run:
    """One campaign on a fresh database and a fresh broker."""

    def __init__(
        self, campaign: Campaign, conninfo: str, broker: KafkaBroker, folder: Path, tell: Callable[[str], None]
    ) -> None:
        self._campaign, self._conninfo, self._broker, self._tell = campaign, conninfo, broker, tell
        self._rng = random.Random(campaign.seed)
        self._prefix = f"chaos-{secrets.token_hex(4)}"
        self._topics = Topics.named(self._prefix)
        order = RelayOrder(conninfo, broker.address, self._prefix, campaign.batch, str(folder / "relay.said"))
        self._relays = [RelayProcess(order) for _ in range(campaign.relays)]
        self._sent = self._allowed = self._seen = 0

    async def __call__(self) -> Verdict:
        """Let loose, beat, wait until the last event is through, judge."""
        began = time.monotonic()
        await migrate(self._conninfo)
        verdict = Verdict()
        for each in self._relays:
            each.start()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._write())
                group.create_task(self._beat(verdict))
            head = await self._head()
            await self._through(head)
        finally:
            for each in self._relays:
                each.end()
        found = await asyncio.to_thread(committed, self._broker.address, self._topics.events.name)
        verdict.seconds = time.monotonic() - began
        verdict.events, verdict.records = head, len(found)
        verdict.complaints = complaints(found, range(1, head + 1)) + await self._differences(found)
        return verdict

    async def _write(self) -> None:
        async with sending(self._conninfo) as (commands, _):
            numbers = range(self._campaign.counters)
            opening = (OpenCounter(counter_id=counter_id(number)) for number in numbers)
            await asyncio.gather(
                *(commands.send(each, Caller(OWNER, "http", f"open {each.counter_id}")) for each in opening)
            )
            self._sent = self._campaign.counters

            async def call() -> None:
                while self._sent < self._campaign.events:
                    if self._sent >= self._allowed:
                        await asyncio.sleep(0.01)
                        continue
                    self._sent += 1
                    await insist(commands, Work(f"work-{self._sent}", self._rng.choice(numbers), 1, None))

            async with asyncio.TaskGroup() as callers:
                for _ in range(self._campaign.callers):
                    callers.create_task(call())

    async def _beat(self, verdict: Verdict) -> None:
        chosen = self._campaign
        counts: dict[Kind, int] = {
            "kill relay": chosen.relay_kills,
            "kill broker": chosen.broker_kills,
            "stop broker": chosen.broker_stops,
        }
        blows = shuffled(counts, self._rng)
        for number, blow in enumerate(blows, 1):
            # The writers would be done before the first blow: after each they may go on by one share.
            self._allowed = chosen.events * number // (len(blows) + 1)
            await self._relaying()
            verdict.blows[blow] = verdict.blows.get(blow, 0) + 1
            self._tell(f"{self._sent:,} commands sent, {self._seen:,} events relayed: {blow}")
            await self._strike(blow)
        self._allowed = chosen.events

    async def _strike(self, blow: Kind) -> None:
        if blow == "kill relay":
            self._rng.choice(self._relays).kill()
        else:
            await take_away(self._broker, self._rng, kill=blow == "kill broker")

    async def _relaying(self) -> None:
        """Until some of the newest share is out: then the rest of it is on its way."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (position := await self._position()) <= self._seen:
                for each in self._relays:
                    each.check()
                await asyncio.sleep(0.05)
        self._seen = position

    async def _through(self, head: int) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await self._position() < head:  # noqa: ASYNC110 -- Kafka tells nobody
                await asyncio.sleep(0.2)

    async def _position(self) -> int:
        outlet = KafkaOutlet(Cluster(self._broker.address), "unused")
        topics = self._topics
        if topics.relay_position.name not in await outlet.describe([topics.relay_position.name]):
            return 0
        value = await outlet.last(topics.relay_position.name, topics.events.name.encode())
        return Marker.loads(value).position if value else 0

    async def _head(self) -> int:
        async with pool(self._conninfo, size=1) as opened:
            return await PostgresStore(self._conninfo, opened).head()

    async def _differences(self, found: list[Found]) -> list[str]:
        """Whether what arrived is what the log holds, byte for byte."""
        by_position = {each.position: each for each in found}
        async with pool(self._conninfo, size=1) as opened:
            store, after = PostgresStore(self._conninfo, opened), 0
            while events := await store.read(after, 5000):
                for stored in events:
                    if (there := by_position.get(stored.position)) and there.arrived().event != stored:
                        return [f"event {stored.position} arrived changed"]
                after = events[-1].position
        return []


async def torment(campaign: Campaign, home: Path, tell: Callable[[str], None] = lambda _: None) -> Verdict:
    """Run one campaign on servers of its own; `home` is thrown away."""
    async with servers(home) as (conninfo, broker, folder):
        return await Run(campaign, conninfo, broker, folder, tell)()


if __name__ == "__main__":
    sys.exit(run("relay_chaos", __doc__, Campaign(), torment))
