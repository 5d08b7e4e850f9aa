"""The relay's way out to Kafka: transactions under a watchdog, and what they left behind, read as committed."""

import contextlib
import time
from collections.abc import Sequence
from typing import Any, Final

from adapters.kafka.client import client, make
from adapters.kafka.connecting import Cluster
from adapters.kafka.lane import Lane
from adapters.kafka.saying import away
from adapters.kafka.topics import KafkaTopics
from adapters.kafka.transactions import Transactions
from domain.relaying import BrokerAway, OutcomeUnknown, Record

WATCHDOG_SECONDS: Final = 15.0
"""For a commit, which in kafka-python can block for ever."""
WRITE_SECONDS: Final = 60.0
"""For all that comes before it: longer than every timeout within."""
OPEN_SECONDS: Final = 45.0
CLOSE_SECONDS: Final = 5.0
READ_SECONDS: Final = 30.0
WINDOW: Final = 64
"""The marker is nearly always among this many offsets from the end; what else is there are commits and aborts."""
READER: Final[dict[str, Any]] = {
    "group_id": None,
    "enable_auto_commit": False,
    "allow_auto_create_topics": False,
    "metrics_enabled": False,
}


class KafkaOutlet(KafkaTopics):
    """One transactional producer at a time."""

    transactions = Transactions

    def __init__(
        self,
        cluster: Cluster,
        transactional_id: str,
        *,
        compression: str | None = "gzip",
        watchdog_seconds: float = WATCHDOG_SECONDS,
    ) -> None:
        super().__init__(cluster)
        self._transactional_id, self._compression = transactional_id, compression
        self._watchdog_seconds = watchdog_seconds
        self._lane: Lane | None = None
        self._producer: Transactions | None = None
        self.hung = 0
        """Threads left behind in a call that did not return. Each costs a little memory until this process ends."""

    async def open(self) -> None:
        """A new producer, which fences all earlier ones and settles their transactions."""
        await self.discard()
        lane = self._lane = Lane("kafka-relay")

        def make() -> None:
            made = self.transactions(self._cluster, self._transactional_id, self._compression)
            if self._lane is lane:
                self._producer = made
            else:  # given up meanwhile
                made.close()

        with away():
            await lane.run(make, seconds=OPEN_SECONDS)

    async def send(self, records: Sequence[Record]) -> Sequence[int]:
        """One transaction."""
        lane, producer = self._lane, self._producer
        if lane is None or producer is None:
            raise BrokerAway("the producer was given up: open a new one")
        try:
            with away():
                return await self._watched(lane, producer, records)
        except BrokerAway:
            await self.discard()
            raise

    async def _watched(self, lane: Lane, producer: Transactions, records: Sequence[Record]) -> Sequence[int]:
        try:
            offsets = await lane.run(lambda: producer.write(records), seconds=WRITE_SECONDS)
            await lane.run(producer.commit, seconds=self._watchdog_seconds)
        except TimeoutError:
            self.hung += 1
            raise OutcomeUnknown(
                "Kafka did not answer a transaction in time; what became of it is read from the marker"
            ) from None
        return offsets

    async def discard(self) -> None:
        """Close the producer from another thread: its own may be stuck in a call that never returns."""
        lane, producer = self._lane, self._producer
        self._lane = self._producer = None
        if lane is not None:
            lane.leave()
        if producer is not None:
            closing = Lane("kafka-closing")
            with contextlib.suppress(Exception):  # it is given up, whatever it says
                await closing.run(producer.close, seconds=CLOSE_SECONDS)
            closing.leave()

    async def last(self, topic: str, key: bytes) -> bytes | None:
        """The last committed value of a key: first among the newest, then from the beginning."""
        return await self._read(lambda consumer: _last(consumer, topic, key), "read_committed")

    async def holds_records(self, topic: str) -> bool:
        """Whether any partition has an offset, be it an aborted record's."""
        return await self._read(lambda consumer: _holds_records(consumer, topic), "read_uncommitted")

    async def _read(self, question: Any, isolation: str) -> Any:
        def ask() -> Any:
            consumer = make(
                "KafkaConsumer",
                {
                    **READER,
                    "isolation_level": isolation,
                    **self._cluster.options(client_id="toybox-relay-marker"),
                },
            )
            try:
                return question(consumer)
            finally:
                consumer.close()

        lane = Lane("kafka-marker")
        try:
            with away():
                return await lane.run(ask, seconds=READ_SECONDS + 15)
        finally:
            lane.leave()


def _last(consumer: Any, topic: str, key: bytes) -> bytes | None:
    only = client().TopicPartition(topic, 0)
    consumer.assign([only])
    start, end = consumer.beginning_offsets([only])[only], consumer.end_offsets([only])[only]
    near = max(start, end - WINDOW)
    found = _last_between(consumer, only, key, near, end) or _last_between(consumer, only, key, start, near)
    return found.value if found else None


def _last_between(consumer: Any, only: Any, key: bytes, start: int, end: int) -> Any:
    """The record, be it a tombstone.

    Reads on until the position passes `end`: it also moves past what is aborted and past the ends themselves.
    """
    found = None
    consumer.seek(only, start)
    until = time.monotonic() + READ_SECONDS
    while consumer.position(only) < end:
        if time.monotonic() > until:
            raise BrokerAway(f"Kafka does not hand out {only.topic} up to offset {end} within {READ_SECONDS:.0f} s")
        for records in consumer.poll(timeout_ms=500).values():
            for record in records:
                if record.key == key and record.offset < end:
                    found = record
    return found


def _holds_records(consumer: Any, topic: str) -> bool:
    partitions = consumer.partitions_for_topic(topic) or ()
    ends = consumer.end_offsets([client().TopicPartition(topic, each) for each in partitions])
    return any(end > 0 for end in ends.values())
