"""A reader of Kafka for checks alone, over librdkafka: another client than the one that wrote, read committed."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, IsolationLevel, KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from streams.envelope import Arrived, unseal

SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Found:
    """One record as a consumer sees it."""

    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: Mapping[str, bytes]
    timestamp_ms: int

    @property
    def position(self) -> int:
        return int(self.headers["toybox-position"])

    @property
    def prev(self) -> int:
        return int(self.headers["toybox-prev"])

    def arrived(self) -> Arrived:
        """The event in it."""
        return unseal(self.value)


def await_settled(address: str, topic: str) -> None:
    """Until no transaction is open on the topic: a commit is promised before all partitions know of it."""
    admin = AdminClient({"bootstrap.servers": address})
    partitions = [TopicPartition(topic, each) for each in admin.list_topics(topic, timeout=10).topics[topic].partitions]
    until = time.monotonic() + SECONDS
    while _ends(admin, partitions, IsolationLevel.READ_COMMITTED) != _ends(
        admin, partitions, IsolationLevel.READ_UNCOMMITTED
    ):
        assert time.monotonic() < until, f"a transaction on {topic} stays open"
        time.sleep(0.05)


def _ends(admin: AdminClient, partitions: Sequence[TopicPartition], isolation: IsolationLevel) -> list[int]:
    wanted: Any = {each: OffsetSpec.latest() for each in partitions}
    asked = admin.list_offsets(wanted, isolation_level=isolation)
    return [asked[each].result(10).offset for each in partitions]


def committed(address: str, topic: str, *, isolation: str = "read_committed") -> list[Found]:
    """All that the topic holds once its transactions are settled, partition by partition, in order of offset."""
    await_settled(address, topic)
    consumer = Consumer(
        {
            "bootstrap.servers": address,
            "group.id": "checks",
            "enable.auto.commit": False,
            "isolation.level": isolation,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 20,
        }
    )
    try:
        return sorted(_all_of(consumer, topic), key=lambda each: (each.partition, each.offset))
    finally:
        consumer.close()


def _all_of(consumer: Any, topic: str) -> Iterator[Found]:
    known = consumer.list_topics(topic, timeout=10).topics[topic]
    assert known.error is None, known.error
    open_partitions = set(known.partitions)
    consumer.assign([TopicPartition(topic, each, OFFSET_BEGINNING) for each in open_partitions])
    until = time.monotonic() + SECONDS
    while open_partitions:
        assert time.monotonic() < until, f"partitions {open_partitions} of {topic} do not end"
        for message in consumer.consume(10_000, timeout=0.2):
            error = message.error()
            if error is None:
                yield Found(
                    partition=message.partition(),
                    offset=message.offset(),
                    key=message.key(),
                    value=message.value(),
                    headers=dict(message.headers() or ()),
                    timestamp_ms=message.timestamp()[1],
                )
            elif error.code() == KafkaError._PARTITION_EOF:
                open_partitions.discard(message.partition())
            else:
                assert error.retriable(), error


def complaints(found: Sequence[Found], expected: Sequence[int]) -> list[str]:
    """What is wrong with the records of the events topic: each position once, in order, its chain unbroken."""
    said: list[str] = []
    last: dict[int, int] = {}
    for each in found:
        before = last.get(each.partition, 0)
        if each.position <= before:
            said.append(f"partition {each.partition}: position {each.position} after {before}")
        elif each.prev != before:
            said.append(f"partition {each.partition}: position {each.position} follows {each.prev}, not {before}")
        last[each.partition] = each.position
    there = [each.position for each in found]
    missing, extra = set(expected) - set(there), set(there) - set(expected)
    if missing:
        said.append(f"{len(missing)} are missing, the first {min(missing)}")
    if extra:
        said.append(f"{len(extra)} should not be there, the first {min(extra)}")
    if len(there) != len(set(there)):
        said.append(f"{len(there) - len(set(there))} are doubled")
    return said
