"""Faust's Kafka transport with three changes: committed records only, offsets from Postgres, records in chunks.

Faust spends some 75 µs on every message. So what one poll brings of a partition is handed on as one message, which
carries its records. The hooks are private to Faust: tests/adapters/faust/test_transport.py says so when they move.
"""

import contextlib
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, cast

from aiokafka import AIOKafkaConsumer
from faust.transport.drivers import aiokafka as driver
from faust.types.tuples import ConsumerMessage

from domain.consuming import Chunk, Message, Place

Resume = Callable[[Collection[Place]], Awaitable[Mapping[Place, int]]]


class ChunkMessage(ConsumerMessage):
    """What Faust takes for one message; its offset is that of the last record."""

    __slots__ = ("chunk",)
    chunk: Chunk


class SeekingThread(driver.AIOKafkaConsumerThread):
    """Reads what is committed, from where whoever takes it says."""

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        # Faust has no setting for it. The fetcher is made from this attribute when the consumer starts.
        consumer._isolation_level = "read_committed"  # noqa: SLF001 -- the only way in
        return consumer

    async def on_thread_stop(self) -> None:
        """A stop that a crash breaks off, or a broker that is away, must not leave connections to a closed loop."""
        try:
            with contextlib.suppress(Exception):  # it may raise anything, and there is nothing left to save
                await super().on_thread_stop()
        finally:
            if self._consumer is not None:
                await self._consumer._client.close()  # noqa: SLF001 -- its own stop does nothing when called again

    async def seek_to_committed(self) -> Mapping[Any, int]:
        """Instead of the group's offsets, which Faust commits too early, those that stand beside what was made."""
        consumer = self._ensure_consumer()
        assigned = {Place(each.topic, each.partition): each for each in consumer.assignment()}
        found = await cast("SeekingTransport", self.transport).resume(list(assigned))
        offsets = {assigned[place]: offset for place, offset in found.items()}
        await self.call_thread(self._seek_all, offsets)
        return offsets

    async def _seek_all(self, offsets: Mapping[Any, int]) -> None:
        consumer = self._ensure_consumer()
        for partition, offset in offsets.items():
            if partition in consumer.assignment():  # it may have been taken away meanwhile
                consumer.seek(partition, offset)


class ChunkConsumer(driver.Consumer):
    """One message per partition and poll."""

    def _new_consumer_thread(self) -> SeekingThread:
        return SeekingThread(self, loop=self.loop, beacon=self.beacon)

    async def _getmany(self, active_partitions: Any, timeout: float) -> Any:  # noqa: ASYNC109 -- Faust's signature
        records = await super()._getmany(active_partitions, timeout)
        return {partition: [found] for partition, found in records.items() if found}

    def _to_message(self, tp: Any, record: Any) -> ChunkMessage:
        last = record[-1]
        message = ChunkMessage(
            last.topic,
            last.partition,
            last.offset,
            last.timestamp / 1000,
            last.timestamp_type,
            None,
            None,
            b"",
            None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )
        place = Place(last.topic, last.partition)
        message.chunk = Chunk(place, [Message(each.offset, each.key, each.value) for each in record])
        return message


class SeekingTransport(driver.Transport):
    """What an application is given before it starts; `resume` is asked at each assignment."""

    Consumer = ChunkConsumer
    resume: Resume
