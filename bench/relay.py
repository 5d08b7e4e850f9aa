"""How fast the relay brings the log to Kafka, beside what kafka-python alone writes to the same broker in the same run.

`python -m bench.relay [--quick] [--rounds 3] [--events 100000] [--batch 500] [--most 2000] [--compression gzip|none]`
"""

import argparse
import asyncio
import secrets
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from statistics import median

import uvloop

from adapters.kafka.connecting import Cluster
from adapters.kafka.outlet import KafkaOutlet
from adapters.postgres.event_store import PostgresStore
from adapters.postgres.following import PostgresLeadership
from adapters.postgres.migrate import migrate
from bench.append import a_server
from bench.load.saying import machine, promise
from domain.relaying import Record
from faults.crew.sending import quiet_logs
from streams.relay import BATCH, MOST, Relay
from streams.relay.batching import pack
from streams.relay.marker import Marker
from streams.relay.state import Relayed
from streams.topics import Topics, init
from tests.streams.relaying import open_store, write
from tests.support.kafka_broker import a_broker
from toybox import inventory
from toybox.serving.collector import spare_what_stands

BAR = 10_000


@dataclass(frozen=True, slots=True)
class Taken:
    """What one round took: by the clock, which the machine's other work tells against, and of its processors."""

    seconds: float
    processor_seconds: float

    def of(self, events: int) -> tuple[float, float]:
        """Events per second, microseconds of this process for each."""
        return events / self.seconds, self.processor_seconds / events * 1e6


async def taken(work: Awaitable[float]) -> Taken:
    """The seconds that the work answers, and what it cost."""
    began = time.process_time()
    seconds = await work
    return Taken(seconds, time.process_time() - began)


async def relay(
    store: PostgresStore, cluster: Cluster, conninfo: str, sizes: tuple[int, int], compression: str | None
) -> float:
    """Seconds from the first batch to the last, into topics of its own; topics and the first look are not counted."""
    prefix, began, head = f"bench-{secrets.token_hex(4)}", 0.0, await store.head()
    done = asyncio.Event()

    def observe(relayed: Relayed) -> None:
        nonlocal began
        began = began or time.perf_counter() - relayed.seconds
        if relayed.up_to == head:
            done.set()

    outlet = KafkaOutlet(cluster, f"{prefix}.relay", compression=compression)
    task = asyncio.create_task(
        Relay(
            outlet,
            reader=store,
            leadership=PostgresLeadership(conninfo),
            topics=Topics.named(prefix),
            batch=sizes[0],
            most=sizes[1],
            observe=observe,
        ).run()
    )
    await done.wait()
    seconds = time.perf_counter() - began
    task.cancel()
    await asyncio.wait([task])
    return seconds


async def client_alone(
    batches: Sequence[Sequence[Record]], cluster: Cluster, topics: Topics, compression: str | None
) -> float:
    """Seconds for the same records, made beforehand, in the same transactions: nothing but client and broker."""
    outlet = KafkaOutlet(cluster, f"{topics.events.name}.bench", compression=compression)
    await outlet.open()
    began = time.perf_counter()
    for each in batches:
        await outlet.send(each)
    seconds = time.perf_counter() - began
    await outlet.discard()
    return seconds


async def prepared(store: PostgresStore, topics: Topics, batch: int) -> list[list[Record]]:
    """All transactions of the log, as a relay makes them that is behind."""
    marker, found = Marker("bench"), list[list[Record]]()
    while events := await store.read(marker.position, batch):
        made = pack(events, marker, topics)
        marker = made.marker
        found.append(made.records)
    return found


async def measure(conninfo: str, address: str, asked: argparse.Namespace) -> None:
    """Both, round after round."""
    compression = None if asked.compression == "none" else asked.compression
    cluster, events = Cluster(address), asked.events
    found: dict[str, list[tuple[float, float]]] = {"relay, Postgres to Kafka": [], "kafka-python alone": []}
    async with open_store(conninfo) as store:
        await write(store, events)
        spare_what_stands()
        for number in range(asked.rounds):
            topics = Topics.named(f"bench-{secrets.token_hex(4)}")
            await init(KafkaOutlet(cluster, "bench"), topics, replication=1)
            batches = await prepared(store, topics, asked.most)
            rounds = (
                relay(store, cluster, conninfo, (asked.batch, asked.most), compression),
                client_alone(batches, cluster, topics, compression),
            )
            for measured, work in zip(found.values(), rounds, strict=True):
                measured.append((await taken(work)).of(events))
            print(f"round {number + 1}: " + ", ".join(f"{name} {each[-1][0]:,.0f}/s" for name, each in found.items()))
    print(f"\nevents of {events:,} (a tenth of them private), transactions of {asked.batch}, {asked.most} when behind")
    print(f"{'':28}{'per second':>12}{'µs of CPU each':>18}")
    rates: list[float] = []
    for name, each in found.items():
        rates.append(median(rate for rate, _ in each))
        print(f"{name:28}{rates[-1]:>12,.0f}{median(cost for _, cost in each):>18.1f}")
    whole, alone = rates
    print(f"relay / client alone: {whole / alone:.2f}")
    print(promise(f"relay ≥ {BAR:,} events/s: {whole:,.0f}", kept=whole >= BAR))


def main() -> None:
    """Measure what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(prog="python -m bench.relay", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--most", type=int, default=MOST)
    parser.add_argument("--compression", default="gzip", choices=("gzip", "none"))
    parser.add_argument("--quick", action="store_true", help="one round of 20,000: shows that it works, no more")
    asked = parser.parse_args()
    if asked.quick:
        asked.rounds, asked.events = 1, 20_000
    quiet_logs()
    inventory.load()
    with a_broker() as broker, a_server(None) as server:
        asyncio.run(migrate(server.conninfo))
        print(machine())
        uvloop.run(measure(server.conninfo, broker.address, asked))


if __name__ == "__main__":
    main()
