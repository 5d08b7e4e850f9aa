"""What `toybox doctor` finds on Kafka's side: the broker, the topics, how far the relay is, what keeps it back."""

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import httpx

from adapters.kafka.topics import KafkaTopics
from domain.errors import ToyboxError
from domain.log import LogReader
from domain.relaying import BrokerAway
from streams import topics
from streams.relay.marker import RelayHalted
from toybox.findings import Finding
from toybox.relaying import relay_of, topics_of
from toybox.serving.address import live_server
from toybox.settings import Settings

FAR_BEHIND = 5000
"""Events that the relay may lag before somebody should look: half a second of its work."""
PATIENCE_SECONDS = 5.0
PROCESSES = {
    "relay": "relay process",
    "products": "state products",
    "views": "views on Kafka",
    "reactions": "reactions on Kafka",
}
"""What a server's own answer says, and what it is called here."""
PUT_RIGHT = "see that its brokers run, and that TOYBOX_KAFKA and the settings beside it are right"
IS_RUNNING = "is a process with the role relay running? toybox up --role relay"


async def examine_broker(settings: Settings) -> AsyncIterator[Finding]:
    """The broker and its topics."""
    if settings.kafka is None:
        return
    where = f"{settings.kafka} ({settings.kafka_security})"
    wanted = topics_of(settings)
    try:
        admin = KafkaTopics(settings.cluster())
        there = await admin.describe([each.name for each in wanted])
        found = await topics.check(admin, wanted, replication=settings.kafka_replication)
    except ToyboxError as error:
        yield Finding("kafka", "problem", f"{where}: {error}", PUT_RIGHT)
        return
    yield Finding("kafka", "ok", where)
    if not there:
        said = f"none under {settings.kafka_prefix} yet: the first relay makes them, or toybox kafka init"
        yield Finding("topics", "note", said)
        return
    for each in found:
        said = f"{each.topic}: {each.setting} is {each.found}, not {each.expected}"
        yield Finding("topics", "problem" if each.fatal else "warning", said, each.remedy)
    if not found:
        yield Finding("topics", "ok", f"{len(there)}, as they should be")


async def examine_relay(settings: Settings, reader: LogReader, conninfo: str) -> AsyncIterator[Finding]:
    """How far Kafka is behind the log by its own marker, and what this data directory's server says of its work."""
    if settings.kafka is None:
        return
    for each in _of_the_server(settings):
        yield each
    try:
        marker = await relay_of(settings, reader, conninfo).look()
    except RelayHalted as halted:
        if halted.code != "relay_topics_wrong":  # those were told one by one
            yield Finding("relay", "problem", f"it must not go on ({halted.code})", str(halted))
        return
    except BrokerAway:  # told already
        return
    head = await reader.head()
    lag = head - marker.position
    said = f"Kafka holds the log up to position {marker.position}, {lag} events behind the head"
    yield Finding("relay", "warning", said, IS_RUNNING) if lag > FAR_BEHIND else Finding("relay", "ok", said)


def _of_the_server(settings: Settings) -> Iterator[Finding]:
    server = live_server(settings.address_dir)
    if server is None:
        return
    try:
        told = httpx.get(f"{server.url}/ready", timeout=PATIENCE_SECONDS, trust_env=False).json()
    except (httpx.HTTPError, ValueError):
        return  # it is not ready for a reason of its own, which is told elsewhere
    for name, what in PROCESSES.items():
        if said := told.get(name):
            yield _standing(what, said)


def _standing(what: str, said: Mapping[str, Any]) -> Finding:
    counted = f", {said['transactions']} transactions since its start" if "transactions" in said else ""
    standing = f"{said['phase']}{counted}"
    if said["alarm"]:
        level = "problem" if said["alarm"]["halted"] else "warning"
        return Finding(what, level, f"{standing}; {said['alarm']['code']}", said["alarm"]["text"])
    last = f"; last trouble, overcome: {said['last_error']}" if said["last_error"] else ""
    return Finding(what, "ok", f"{standing}{last}")
