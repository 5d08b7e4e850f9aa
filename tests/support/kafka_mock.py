"""A broker that fails to order: the mock cluster inside librdkafka, for errors that no real broker gives on demand.

It knows neither isolation nor fencing, and it is reached by way of the library that confluent-kafka carries.
"""

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import confluent_kafka

PRODUCE: Final = 0
INIT_PRODUCER_ID: Final = 22
ADD_PARTITIONS: Final = 24
END_TRANSACTION: Final = 26
NOT_LEADER: Final = 6
OUT_OF_ORDER_SEQUENCE: Final = 45
INVALID_PRODUCER_EPOCH: Final = 47
CONCURRENT_TRANSACTIONS: Final = 51
PRODUCER_FENCED: Final = 90
_PRODUCER: Final = 0
UNCHECKED: Final[dict[str, Any]] = {"check_crcs": False}
"""For consumers: the mock's commit markers carry no checksum."""


class MockCluster:
    """Brokers that do as they are told."""

    def __init__(self, library: Any, cluster: Any, brokers: int, address: str) -> None:
        self._library, self._cluster, self._brokers, self.address = library, cluster, range(1, brokers + 1), address

    def topic(self, name: str, partitions: int) -> None:
        """Make a topic."""
        assert self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1) == 0

    def lead(self, name: str, partitions: int, leader: int) -> None:
        """Give a topic to one broker; takes long for many partitions."""
        for partition in range(partitions):
            assert (
                self._library.rd_kafka_mock_partition_set_leader(
                    self._cluster, name.encode(), ctypes.c_int32(partition), ctypes.c_int32(leader)
                )
                == 0
            )

    def fail(self, request: int, errors: Sequence[int]) -> None:
        """Answer the next requests of this kind with these errors."""
        array = (ctypes.c_int * len(errors))(*errors)
        self._library.rd_kafka_mock_push_request_errors_array(
            self._cluster, ctypes.c_int16(request), ctypes.c_size_t(len(errors)), array
        )

    def fail_at(self, broker: int, request: int, error: int, *, late_ms: int = 0) -> None:
        """One broker answers its next request of this kind with this error, after a while."""
        self._library.rd_kafka_mock_broker_push_request_error_rtts(
            self._cluster,
            ctypes.c_int32(broker),
            ctypes.c_int16(request),
            ctypes.c_size_t(1),
            ctypes.c_int(error),
            ctypes.c_int(late_ms),
        )

    def heal(self, request: int) -> None:
        """Forget the errors that are still to come from the cluster, not those of one broker."""
        self._library.rd_kafka_mock_clear_request_errors(self._cluster, ctypes.c_int16(request))

    def down(self) -> None:
        """Refuse and close connections."""
        for broker in self._brokers:
            assert self._library.rd_kafka_mock_broker_set_down(self._cluster, ctypes.c_int32(broker)) == 0

    def up(self) -> None:
        """Take connections again."""
        for broker in self._brokers:
            assert self._library.rd_kafka_mock_broker_set_up(self._cluster, ctypes.c_int32(broker)) == 0


@contextmanager
def mock_cluster(brokers: int = 1) -> Iterator[MockCluster]:
    """A mock cluster that lives as long as the block."""
    library = _library()
    said = ctypes.create_string_buffer(512)
    handle = library.rd_kafka_new(_PRODUCER, library.rd_kafka_conf_new(), said, ctypes.c_size_t(512))
    assert handle, said.value
    handle = ctypes.c_void_p(handle)
    cluster = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(handle, brokers))
    try:
        yield MockCluster(library, cluster, brokers, library.rd_kafka_mock_cluster_bootstraps(cluster).decode())
    finally:
        library.rd_kafka_mock_cluster_destroy(cluster)
        library.rd_kafka_destroy(handle)


def _library() -> Any:
    package = Path(confluent_kafka.__file__).parent
    found = sorted([*package.parent.glob("confluent_kafka.libs/librdkafka*"), *package.glob(".dylibs/librdkafka*")])
    assert found, "confluent-kafka was to carry librdkafka: install it from its wheel"
    library = ctypes.CDLL(str(found[0]))
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
        getattr(library, name).restype = ctypes.c_void_p
    library.rd_kafka_new.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    return library
