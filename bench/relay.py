"""How fast the relay brings the log to Kafka, beside what kafka-python alone writes to the same broker in the same run.

`python -m bench.relay [--quick] [--rounds 3] [--events 100000] [--batch 500] [--compression gzip|none]`
"""

import argparse
import asyncio
import os
import secrets
import shutil
import time
from collections.abc import Sequence
from statistics import median

import uvloop

from adapters.kafka.connecting import Cluster
from adapters.kafka.outlet import KafkaOutlet
from adapters.postgres.event_store import PostgresStore
from adapters.postgres.following import PostgresLeadership
from adapters.postgres.migrate import migrate
from bench.append import a_server
from domain.relaying import Record
from faults.crew.sending import quiet_logs
from streams.relay import Relay
from streams.relay.batching import pack
from streams.relay.marker import Marker
from streams.relay.state import Relayed
from streams.topics import Topics, init
from tests.streams.relaying import open_store, write
from tests.support.kafka_broker import KafkaBroker, broker_folder
from toybox import inventory

BAR = 10_000


async def relay(store: PostgresStore, cluster: Cluster, conninfo: str, batch: int, compression: str | None) -> float:
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
            batch=batch,
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
    """All transactions of the log."""
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
    async with open_store(conninfo) as store:
        await write(store, events)
        rates: dict[str, list[float]] = {"relay, Postgres to Kafka": [], "kafka-python alone": []}
        for number in range(asked.rounds):
            seconds = await relay(store, cluster, conninfo, asked.batch, compression)
            rates["relay, Postgres to Kafka"].append(events / seconds)
            topics = Topics.named(f"bench-{secrets.token_hex(4)}")
            await init(KafkaOutlet(cluster, "bench"), topics, replication=1)
            batches = await prepared(store, topics, asked.batch)
            seconds = await client_alone(batches, cluster, topics, compression)
            rates["kafka-python alone"].append(events / seconds)
            print(f"round {number + 1}: " + ", ".join(f"{name}: {each[-1]:,.0f}/s" for name, each in rates.items()))
    whole, alone = (median(each) for each in rates.values())
    print(f"\nevents per second of {events:,} (a tenth of them private), transactions of {asked.batch}")
    for name, each in rates.items():
        print(f"{name:28}{median(each):>10,.0f}")
    print(f"relay / client alone: {whole / alone:.2f}")
    print(f"  {'kept  ' if whole >= BAR else 'MISSED'}  relay ≥ {BAR:,} events/s: {whole:,.0f}")


def main() -> None:
    """Measure what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(prog="python -m bench.relay", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--compression", default="gzip", choices=("gzip", "none"))
    parser.add_argument("--quick", action="store_true", help="one round of 20,000: shows that it works, no more")
    asked = parser.parse_args()
    if asked.quick:
        asked.rounds, asked.events = 1, 20_000
    quiet_logs()
    inventory.load()
    broker = KafkaBroker(broker_folder())
    try:
        broker.start()
        with a_server(None) as server:
            asyncio.run(migrate(server.conninfo))
            print(f"{os.cpu_count()} processors, load average {os.getloadavg()[0]:.1f} before: trust the ratios")
            uvloop.run(measure(server.conninfo, broker.address, asked))
    finally:
        broker.kill()
        shutil.rmtree(broker.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
