"""How fast one worker on Kafka makes every read model of public events, beside what Faust alone hands out in that run.

`python -m bench.faust [--quick] [--rounds 3] [--events 60000]`
"""

import argparse
import asyncio
import re
import secrets
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

import uvloop

from adapters.faust.app import FaustConsumption
from adapters.kafka.connecting import Cluster
from adapters.kafka.outlet import KafkaOutlet
from adapters.kafka.topics import KafkaTopics
from adapters.postgres.connections import pool
from adapters.postgres.event_store import PostgresStore
from adapters.postgres.following import PostgresLeadership
from adapters.postgres.migrate import migrate
from bench.append import a_server
from bench.load.saying import machine, promise
from domain.consuming import Chunk, Place
from domain.kernel import EVENT_TYPES
from domain.log import StoredEvent
from domain.values import derived_id
from faults.crew.sending import quiet_logs
from projections.projector import PROJECTIONS
from streams.partitioned import KafkaViews, stays_on_the_log
from streams.relay import Relay
from streams.topics import Topics
from tests.projections.town import town
from tests.streams.kafka_following import append
from tests.support.kafka_broker import a_broker
from tests.support.postgres import fresh_database
from toybox import inventory
from toybox.serving.collector import spare_what_stands

BAR = 5_000
TOWN = 6_000
"""Events of one town."""
UUIDS: Final = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass
class Counting:
    """Takes everything and does nothing with it."""

    records: int = 0
    began: float = 0.0

    async def resume(self, places: Collection[Place]) -> Mapping[Place, int]:
        """From the beginning."""
        return dict.fromkeys(places, 0)

    async def take(self, chunks: Sequence[Chunk]) -> None:
        """Count."""
        self.began = self.began or time.perf_counter()
        self.records += sum(len(each.records) for each in chunks)


async def log_of(count: int) -> list[StoredEvent]:
    """Events of one busy town, then of its twins, in which every id is another one."""
    events = (await town(min(TOWN, count))).events
    made: list[StoredEvent] = []
    for number in range(-(-count // len(events))):
        made += [_of_twin(each, number, len(made)) for each in events]
    return made


def _of_twin(stored: StoredEvent, number: int, after: int) -> StoredEvent:
    def other(found: re.Match[bytes]) -> bytes:
        return str(derived_id("twin", number, found[0].decode())).encode()

    return replace(
        stored,
        position=after + stored.position,
        stream_id=derived_id("twin", number, stored.stream_id),
        project_id=stored.project_id and derived_id("twin", number, stored.project_id),
        command_id=derived_id("twin", number, stored.command_id),
        data=UUIDS.sub(other, stored.data),
    )


async def relay_all(store: PostgresStore, cluster: Cluster, conninfo: str, topics: Topics) -> None:
    """Everything to Kafka."""
    relay = Relay(
        KafkaOutlet(cluster, f"{topics.events.name}.relay"),
        reader=store,
        leadership=PostgresLeadership(conninfo),
        topics=topics,
    )
    task = asyncio.create_task(relay.run())
    head = await store.head()
    while relay.state.position != head:  # noqa: ASYNC110 -- not what is measured
        await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.wait([task])


async def client_alone(cluster: Cluster, topics: Topics, count: int) -> float:
    """Events a second that Faust hands to somebody who does nothing with them."""
    taker, names = Counting(), [topics.events.name, topics.relay_position.name]
    task = asyncio.create_task(FaustConsumption(cluster, names, group=f"{topics.events.name}.alone").run(taker))
    while taker.records < count:  # noqa: ASYNC110 -- what is waited for tells nobody
        await asyncio.sleep(0.01)
    seconds = time.perf_counter() - taker.began
    task.cancel()
    await asyncio.wait([task])
    return count / seconds


async def worker(conninfo: str, cluster: Cluster, events: Sequence[StoredEvent]) -> tuple[float, float, float]:
    """Events a second through every projection, processor microseconds each, and what Faust alone hands out."""
    topics = Topics.named(f"bench-{secrets.token_hex(4)}")
    names = [topics.events.name, topics.relay_position.name]
    shown = [each for each in PROJECTIONS.values() if not stays_on_the_log(each)]
    await migrate(conninfo)
    async with pool(conninfo, size=8) as opened:
        store = PostgresStore(conninfo, opened)

        def views() -> KafkaViews:
            return KafkaViews(
                FaustConsumption(cluster, names, group=f"{topics.events.name}.views"),
                KafkaTopics(cluster),
                reader=store,
                connections=opened,
                topics=topics,
                projections=shown,
            )

        await append(store, events[:1])
        await relay_all(store, cluster, conninfo, topics)
        first = views()
        first.start()
        await first.wait_for([each.name for each in shown], 1, 60)
        while first.state.phase != "following":  # noqa: ASYNC110 -- not what is measured
            await asyncio.sleep(0.05)
        await asyncio.sleep(1)
        await first.stop()
        await append(store, events[1:])
        await relay_all(store, cluster, conninfo, topics)
        spare_what_stands()
        measured = views()
        measured.start()
        while measured.state.phase != "following":  # noqa: ASYNC110 -- joining the group is not what is measured
            await asyncio.sleep(0.005)
        began, used = time.perf_counter(), time.process_time()
        await measured.wait_for([each.name for each in shown], len(events), 600)
        seconds, cost = time.perf_counter() - began, time.process_time() - used
        await measured.stop()
        alone = await client_alone(cluster, topics, sum(1 for each in events if is_public(each)))
    return len(events) / seconds, cost / len(events) * 1e6, alone


def is_public(stored: StoredEvent) -> bool:
    """Whether it is on Kafka."""
    return not EVENT_TYPES[stored.type].PRIVATE


async def measure(server: str, address: str, asked: argparse.Namespace) -> None:
    """Round after round, each on a database and topics of its own."""
    events = await log_of(asked.events)
    found: list[tuple[float, float, float]] = []
    for number in range(asked.rounds):
        with fresh_database(server) as conninfo:
            found.append(await worker(conninfo, Cluster(address), events))
        print(f"round {number + 1}: worker {found[-1][0]:,.0f}/s, Faust alone {found[-1][2]:,.0f}/s", flush=True)
    rate, cost, alone = (median(each) for each in zip(*found, strict=True))
    count = sum(1 for each in PROJECTIONS.values() if not stays_on_the_log(each))
    print(f"\n{len(events):,} events, {count} projections, one worker")
    print(f"{'worker, Kafka to Postgres':28}{rate:>12,.0f}/s{cost:>10.1f} µs of CPU each")
    print(f"{'Faust alone':28}{alone:>12,.0f}/s")
    print(promise(f"worker ≥ {BAR:,} events/s: {rate:,.0f}", kept=rate >= BAR))


def main() -> None:
    """Measure what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(prog="python -m bench.faust", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--events", type=int, default=60_000)
    parser.add_argument("--quick", action="store_true", help="one round of 12,000: shows that it works, no more")
    asked = parser.parse_args()
    if asked.quick:
        asked.rounds, asked.events = 1, 12_000
    quiet_logs()
    inventory.load()
    with a_broker() as broker, a_server(None) as server:
        print(machine())
        uvloop.run(measure(server.conninfo, broker.address, asked))


if __name__ == "__main__":
    main()
