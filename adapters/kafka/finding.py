"""Finds an event in Kafka by its position, where nobody wrote down its offset."""

import time
from typing import Any, Final

from adapters.kafka.client import client, make
from adapters.kafka.connecting import Cluster
from adapters.kafka.lane import Lane
from adapters.kafka.saying import away
from domain.relaying import BrokerAway

FIND_SECONDS: Final = 10.0
POSITION: Final = "toybox-position"
READER: Final[dict[str, Any]] = {
    "group_id": None,
    "enable_auto_commit": False,
    "allow_auto_create_topics": False,
    "metrics_enabled": False,
    "isolation_level": "read_committed",
}


class KafkaFinder:
    """Asks the broker where a record's time begins, and reads the few records of that time."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def offset_of(self, topic: str, partition: int, position: int, *, timestamp_ms: int) -> int | None:
        """Its offset as a reader of committed records sees it; BrokerAway when Kafka does not say in time."""
        lane = Lane("kafka-finder")
        try:
            with away():
                return await lane.run(
                    lambda: self._ask(topic, partition, position, timestamp_ms), seconds=FIND_SECONDS + 5
                )
        finally:
            lane.leave()

    def _ask(self, topic: str, partition: int, position: int, timestamp_ms: int) -> int | None:
        consumer = make("KafkaConsumer", {**READER, **self._cluster.options(client_id="toybox-finder")})
        try:
            if partition not in (consumer.partitions_for_topic(topic) or ()):
                return None
            return _offset(consumer, client().TopicPartition(topic, partition), position, timestamp_ms)
        finally:
            consumer.close()


def _offset(consumer: Any, at: Any, position: int, timestamp_ms: int) -> int | None:
    """Records lie in the order of their positions, and so of their times."""
    consumer.assign([at])
    start = consumer.offsets_for_times({at: timestamp_ms})[at]
    if start is None:
        return None
    end = consumer.end_offsets([at])[at]
    consumer.seek(at, start.offset)
    until = time.monotonic() + FIND_SECONDS
    while consumer.position(at) < end:
        if time.monotonic() > until:
            raise BrokerAway(f"Kafka does not hand out {at.topic} up to offset {end} within {FIND_SECONDS:.0f} s")
        for record in consumer.poll(timeout_ms=200).get(at, ()):
            found = _position_of(record)
            if found == position:
                return record.offset
            if found is not None and found > position:
                return None
    return None


def _position_of(record: Any) -> int | None:
    for name, value in record.headers:
        if name == POSITION and value and value.isdigit():
            return int(value)
    return None
