"""Workers on Kafka under fire, with relay and broker, while writers run: views and reactions must come out right.

`python -m faults.faust_chaos --events 200000 --worker-kills 5 --relay-kills 10 --broker-kills 2 --broker-stops 3`

Beside the writers a busy town's history is told again (`--history`), so that views of the product have what they show.
"""

import asyncio
import random
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from psycopg_pool import AsyncConnectionPool

from adapters.postgres.connections import pool
from adapters.postgres.event_store import PostgresStore
from adapters.postgres.following import PostgresCursors
from adapters.postgres.migrate import migrate
from commands.handling import Caller
from domain.log import StoredEvent
from faults.crew.faust_workers import WorkerOrder, WorkerProcess
from faults.crew.history import SHIPPED, public_history, tell
from faults.crew.journals import Work, counter_id
from faults.crew.mirror import MIRROR, PROJECTIONS, Counts, mirror_of
from faults.crew.relays import RelayOrder, RelayProcess
from faults.crew.sending import insist, sending
from faults.crew.tormenting import run, servers, shuffled, take_away
from projections.projector import parked_keys, reached, rebuild
from streams.topics import Topics
from tests.commands.counter import OpenCounter
from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_reading import committed, complaints
from tests.support.story import OWNER

Kind = Literal["kill worker", "kill relay", "kill broker", "stop broker"]
PATIENCE_SECONDS = 300.0
TOLD_AT_ONCE = 20
VIEWS: Final = (*PROJECTIONS, *SHIPPED)
"""What is compared with a fresh build at the end."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """How much of everything. Each person's event brings forth one more, by the reaction."""

    events: int = 200_000
    history: int = 12_000
    worker_kills: int = 5
    relay_kills: int = 10
    broker_kills: int = 2
    broker_stops: int = 3
    workers: int = 2
    callers: int = 64
    counters: int = 200
    seed: int = 1


@dataclass(slots=True)
class Verdict:
    """What came of it."""

    events: int = 0
    counted: int = 0
    mirrored: int = 0
    seconds: float = 0.0
    blows: dict[Kind, int] = field(default_factory=dict[Kind, int])
    views: dict[str, int] = field(default_factory=dict[str, int])
    """Rows of every table that was compared with a fresh build."""
    complaints: list[str] = field(default_factory=list[str])

    @property
    def clean(self) -> bool:
        """Whatever was counted was counted once more, and the views are what the log says."""
        return not self.complaints and self.mirrored == self.counted > 0

    def lines(self) -> list[str]:
        """For people."""
        told = ", ".join(f"{count} × {kind}" for kind, count in self.blows.items())
        head = (
            f"{self.events:,} events after {self.seconds:.0f} s; {told}; {self.mirrored:,} of {self.counted:,} mirrored"
        )
        views = ", ".join(f"{table} {rows:,}" for table, rows in self.views.items())
        well = f"views equal a fresh build ({views}), every reaction took effect once"
        return [head, *(self.complaints or [well])]


class Run:
    """One campaign on a fresh database and a fresh broker."""

    def __init__(
        self, campaign: Campaign, conninfo: str, broker: KafkaBroker, folder: Path, tell: Callable[[str], None]
    ) -> None:
        self._campaign, self._conninfo, self._broker, self._tell = campaign, conninfo, broker, tell
        self._rng = random.Random(campaign.seed)
        prefix = f"chaos-{secrets.token_hex(4)}"
        self._topics = Topics.named(prefix)
        self._relay = RelayProcess(RelayOrder(conninfo, broker.address, prefix, 500, str(folder / "relay.said")))
        self._workers = [
            WorkerProcess(
                WorkerOrder(
                    conninfo,
                    broker.address,
                    prefix,
                    f"worker{number}",
                    str(folder / f"worker{number}.said"),
                    shipped=True,
                )
            )
            for number in range(campaign.workers)
        ]
        self._sent = self._allowed = 0

    async def __call__(self) -> Verdict:
        """Let loose, beat, wait until the last event is answered, judge."""
        began, verdict = time.monotonic(), Verdict()
        history = await public_history(self._campaign.history)
        await migrate(self._conninfo)
        async with pool(self._conninfo, size=4) as opened, sending(self._conninfo) as (commands, store):
            for counter in range(self._campaign.counters):
                for each in (counter_id(counter), mirror_of(counter_id(counter))):
                    await commands.send(OpenCounter(counter_id=each), Caller(OWNER, "http", f"open {each}"))
            self._relay.start()
            for each in self._workers:
                each.start()
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._write())
                    group.create_task(self._tell_history(store, history))
                    group.create_task(self._beat(verdict, opened))
                verdict.events = await self._quiet(opened, store)
            finally:
                for each in (*self._workers, self._relay):
                    each.end()
            verdict.seconds = time.monotonic() - began
            await self._judge(verdict, opened, store)
        return verdict

    async def _write(self) -> None:
        async with sending(self._conninfo) as (commands, _):

            async def call() -> None:
                while self._sent < self._campaign.events // 2:
                    if self._sent >= self._allowed:
                        await asyncio.sleep(0.01)
                        continue
                    self._sent += 1
                    counter = self._rng.randrange(self._campaign.counters)
                    await insist(commands, Work(f"work-{self._sent}", counter, 1, None))

            async with asyncio.TaskGroup() as callers:
                for _ in range(self._campaign.callers):
                    callers.create_task(call())

    async def _tell_history(self, store: PostgresStore, history: Sequence[StoredEvent]) -> None:
        """A few events at a time, spread as the writers' are over the whole campaign."""
        told = 0
        while told < len(history):
            if told * self._campaign.events // 2 >= self._allowed * len(history):
                await asyncio.sleep(0.01)
                continue
            await tell(store, history[told : told + TOLD_AT_ONCE])
            told += TOLD_AT_ONCE

    async def _beat(self, verdict: Verdict, opened: AsyncConnectionPool[Any]) -> None:
        chosen = self._campaign
        counts: dict[Kind, int] = {
            "kill worker": chosen.worker_kills,
            "kill relay": chosen.relay_kills,
            "kill broker": chosen.broker_kills,
            "stop broker": chosen.broker_stops,
        }
        blows = shuffled(counts, self._rng)
        seen = 0
        for number, blow in enumerate(blows, 1):
            # The writers would be done before the first blow: after each they may go on by one share.
            self._allowed = chosen.events // 2 * number // (len(blows) + 1)
            seen = await self._moving(opened, seen)
            verdict.blows[blow] = verdict.blows.get(blow, 0) + 1
            self._tell(f"{self._sent:,} commands sent, views at {seen:,}: {blow}")
            await self._strike(blow)
        self._allowed = chosen.events

    async def _strike(self, blow: Kind) -> None:
        if blow == "kill worker":
            self._rng.choice(self._workers).kill()
        elif blow == "kill relay":
            self._relay.kill()
        else:
            await take_away(self._broker, self._rng, kill=blow == "kill broker")

    async def _moving(self, opened: AsyncConnectionPool[Any], seen: int) -> int:
        """Until the views have passed where they were: then the rest of the share is on its way."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (position := min(await _positions(opened))) <= seen:
                for each in (*self._workers, self._relay):
                    each.check()
                await asyncio.sleep(0.05)
        return position

    async def _quiet(self, opened: AsyncConnectionPool[Any], store: PostgresStore) -> int:
        """Until views and reactions stand at the head, and the head stands still; answers it."""
        cursors, name = PostgresCursors(opened), next(iter(MIRROR))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                head = await store.head()
                reacted = (await cursors.load([name])).get(name, 0)
                if {reacted, *await _positions(opened), await store.head()} == {head}:
                    return head
                await asyncio.sleep(0.2)

    async def _judge(self, verdict: Verdict, opened: AsyncConnectionPool[Any], store: PostgresStore) -> None:
        counters = [counter_id(number) for number in range(self._campaign.counters)]
        async with opened.connection() as connection:
            if parked := await parked_keys(connection):
                verdict.complaints.append(f"{len(parked)} keys are parked, the first because {parked[0].reason}")
            sums = {row.key: row.view.count for row in await Counts.many(connection, counters)}
            twins = [mirror_of(each) for each in counters]
            mirrors = {row.key: row.view.count for row in await Counts.many(connection, twins)}
        verdict.counted, verdict.mirrored = sum(sums.values()), sum(mirrors.values())
        if wrong := [each for each in counters if sums.get(each) != mirrors.get(mirror_of(each))]:
            verdict.complaints.append(f"{len(wrong)} mirrors differ, the first that of {wrong[0]}")
        if aside := await PostgresCursors(opened).parked():
            verdict.complaints.append(f"{len(aside)} answers are set aside, the first because {aside[0].reason}")
        for each in VIEWS:
            comparison = (await rebuild(opened, store, each)).comparison
            verdict.views |= comparison.built.rows
            if not comparison.comparable or not comparison.equal:
                verdict.complaints.append(f"{each.name} is not what the log says: {comparison.differences()}")
        found = await asyncio.to_thread(committed, self._broker.address, self._topics.events.name)
        verdict.complaints += complaints(found, range(1, verdict.events + 1))


async def _positions(opened: AsyncConnectionPool[Any]) -> list[int]:
    async with opened.connection() as connection:
        live = await reached(connection, [each.name for each in VIEWS])
    return [live.get(each.name, 0) for each in VIEWS]


async def torment(campaign: Campaign, home: Path, tell: Callable[[str], None] = lambda _: None) -> Verdict:
    """Run one campaign on servers of its own; `home` is thrown away."""
    async with servers(home) as (conninfo, broker, folder):
        return await Run(campaign, conninfo, broker, folder, tell)()


if __name__ == "__main__":
    sys.exit(run("faust_chaos", __doc__, Campaign(), torment))
