"""One transactional producer of kafka-python, believed only as far as it proves: blocking, for a thread of its own.

kafka-python 3.0.12 can commit a transaction without a record that failed, and forget a commit that it is about to
make. Both happen only while records are on their way, so all of them are settled and looked at before the commit.
"""

import zlib
from collections.abc import Sequence
from typing import Any, Final

from adapters.kafka.client import client, make
from adapters.kafka.connecting import Cluster
from domain.relaying import OutcomeUnknown, Record

FLUSH_SECONDS: Final = 35.0
"""Longer than the delivery of a record may take: every record is settled, one way or the other, before this is over."""
MAX_REQUEST_BYTES: Final = 17 * 1024 * 1024
TUNING: Final[dict[str, Any]] = {
    "acks": "all",
    "batch_size": 262_144,  # one batch per partition and round trip: small ones would cap the throughput
    "linger_ms": 0,
    "max_in_flight_requests_per_connection": 5,
    "max_request_size": MAX_REQUEST_BYTES,
    "delivery_timeout_ms": 30_000,
    "max_block_ms": 10_000,
    "transaction_timeout_ms": 30_000,  # how long a dead relay's open transaction hides newer records from readers
    "allow_auto_create_topics": False,
    "metrics_enabled": False,
}
_GZIP_LEVEL: Final = 3
"""A seventh of what the client's level costs, which it has no setting for, and a tenth larger."""
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS


def _compressed(payload: bytes) -> bytes:
    stream = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    return stream.compress(payload) + stream.flush()


class Transactions:
    """A producer from its fencing of all earlier ones to its first doubt."""

    def __init__(self, cluster: Cluster, transactional_id: str, compression: str | None) -> None:
        client("kafka.record.default_records").gzip_encode = _compressed
        options = {**TUNING, "transactional_id": transactional_id, "compression_type": compression}
        self._last_offsets: dict[Any, int] = {}
        self._producer = make("KafkaProducer", {**options, **cluster.options(client_id="toybox-relay")})
        try:
            self._producer.init_transactions()
        except BaseException:  # its threads run already, whatever went wrong
            self.close()
            raise

    def write(self, records: Sequence[Record]) -> list[int]:
        """Begin a transaction with all of these records; their offsets, once every one is acknowledged."""
        producer = self._producer
        producer.begin_transaction()
        sent = [
            producer.send(
                each.topic,
                value=each.value,
                key=each.key,
                headers=each.headers,
                partition=each.partition,
                timestamp_ms=each.timestamp_ms,
            )
            for each in records
        ]
        self.settle(sent)
        return [each.value.offset if each.succeeded() else -1 for each in sent]

    def commit(self) -> None:
        """End the transaction. May block for ever."""
        self._producer.commit_transaction()

    def settle(self, sent: Sequence[Any]) -> None:
        """Wait until every record is acknowledged, and refuse to go on when one is not."""
        self._producer.flush(FLUSH_SECONDS)
        for each in sent:
            if not each.succeeded():
                raise each.exception or OutcomeUnknown("a record is neither acknowledged nor refused")
            at = each.value
            if at.offset <= self._last_offsets.get(at.topic_partition, -1):
                raise OutcomeUnknown(f"{at.topic} was made anew while records were on their way to it")
            self._last_offsets[at.topic_partition] = at.offset

    def close(self) -> None:
        """End its threads; what is on its way is left to its fate."""
        try:
            self._producer.close(timeout=1)
        except client("kafka.errors").KafkaTimeoutError:
            # It flushes first, and with records that cannot be delivered it gives up before anything is closed.
            self._producer._sender.force_close()  # noqa: SLF001 -- the public close would flush once more
            self._producer.close(timeout=1)
