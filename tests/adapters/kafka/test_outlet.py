"""The way out to a real Kafka: fencing, isolation, the last marker, and nothing left behind when a broker is away."""

import asyncio
import threading

import pytest

from adapters.kafka import transactions
from adapters.kafka.client import client
from adapters.kafka.connecting import Cluster
from adapters.kafka.lane import Lane
from adapters.kafka.outlet import WINDOW, KafkaOutlet
from adapters.kafka.transactions import Transactions
from domain.relaying import BrokerAway, Fenced, Record, TopicFacts
from tests.support.kafka_broker import free_ports
from tests.support.kafka_reading import committed


class NeverCommitted(Transactions):
    """Writes its records and dies."""

    def commit(self) -> None:
        raise ConnectionError("died")


async def an_outlet(address: str, topic: str, partitions: int = 1) -> KafkaOutlet:
    outlet = KafkaOutlet(Cluster(address), f"{topic}.relay")
    await outlet.create([TopicFacts(topic, partitions, 1)])
    return outlet


def a_record(topic: str, value: bytes | None, *, key: bytes = b"key", partition: int = 0) -> Record:
    return Record(topic, partition, key, value, [("toybox-position", value or b"")], 1_795_257_000_000)


async def test_offsets_are_those_of_the_records(kafka_server: str, kafka_prefix: str) -> None:
    outlet = await an_outlet(kafka_server, kafka_prefix, partitions=2)
    await outlet.open()
    assert not await outlet.holds_records(kafka_prefix)
    first = await outlet.send([a_record(kafka_prefix, b"1"), a_record(kafka_prefix, b"2", partition=1)])
    second = await outlet.send([a_record(kafka_prefix, b"3"), a_record(kafka_prefix, b"4")])
    await outlet.discard()
    assert (first, second) == ([0, 0], [2, 3])
    there = {each.value: (each.partition, each.offset) for each in committed(kafka_server, kafka_prefix)}
    assert there == {b"1": (0, 0), b"2": (1, 0), b"3": (0, 2), b"4": (0, 3)}
    assert await outlet.holds_records(kafka_prefix)


async def test_an_older_producer_is_fenced_and_has_written_nothing(kafka_server: str, kafka_prefix: str) -> None:
    older = await an_outlet(kafka_server, kafka_prefix)
    newer = KafkaOutlet(Cluster(kafka_server), f"{kafka_prefix}.relay")
    await older.open()
    await older.send([a_record(kafka_prefix, b"1")])
    await newer.open()
    with pytest.raises(Fenced):
        await older.send([a_record(kafka_prefix, b"2")])
    with pytest.raises(BrokerAway, match="open a new one"):
        await older.send([a_record(kafka_prefix, b"2")])
    await newer.send([a_record(kafka_prefix, b"3")])
    await newer.discard()
    assert [each.value for each in committed(kafka_server, kafka_prefix)] == [b"1", b"3"]


async def test_what_was_not_committed_is_not_the_last_value(kafka_server: str, kafka_prefix: str) -> None:
    outlet = await an_outlet(kafka_server, kafka_prefix)
    assert await outlet.last(kafka_prefix, b"key") is None
    await outlet.open()
    await outlet.send([a_record(kafka_prefix, b"1")])
    await outlet.discard()
    outlet.transactions = NeverCommitted
    await outlet.open()
    with pytest.raises(BrokerAway, match="died"):
        await outlet.send([a_record(kafka_prefix, b"2")])
    outlet.transactions = Transactions
    await outlet.open()
    assert await outlet.last(kafka_prefix, b"key") == b"1"
    await outlet.discard()


async def test_the_last_value_of_a_key_is_found_far_from_the_end(kafka_server: str, kafka_prefix: str) -> None:
    outlet = await an_outlet(kafka_server, kafka_prefix)
    await outlet.open()
    await outlet.send([a_record(kafka_prefix, b"1"), a_record(kafka_prefix, b"2")])
    await outlet.send([a_record(kafka_prefix, b"3", key=b"other") for _ in range(2 * WINDOW)])
    await outlet.open()
    assert await outlet.last(kafka_prefix, b"key") == b"2"
    assert await outlet.last(kafka_prefix, b"other") == b"3"
    assert await outlet.last(kafka_prefix, b"nobody") is None
    await outlet.send([a_record(kafka_prefix, None)])
    assert await outlet.last(kafka_prefix, b"key") is None, "a tombstone says more than what came before it"
    await outlet.discard()


async def test_a_broker_that_is_away_costs_no_thread_however_often_it_is_tried(loopback: str) -> None:
    before = set(threading.enumerate())
    outlet = KafkaOutlet(Cluster(f"{loopback}:{free_ports(1)[0]}", client={"bootstrap_timeout_ms": 200}), "any")
    for call in (outlet.open, lambda: outlet.last("any", b""), lambda: outlet.describe(["any"])) * 2:
        with pytest.raises(BrokerAway, match="Kafka is away"):
            await call()
    await outlet.discard()
    await asyncio.sleep(0.2)
    assert [each.name for each in set(threading.enumerate()) - before if "kafka" in each.name] == []


async def test_what_is_compressed_at_the_relays_own_pace_is_read_by_everybody(
    kafka_server: str, kafka_prefix: str
) -> None:
    codec = client("kafka.record.default_records")
    outlet = await an_outlet(kafka_server, kafka_prefix)
    await outlet.open()
    assert codec.gzip_encode is transactions._compressed
    values = [b"%d " % number * 400 for number in range(200)]
    await outlet.send([a_record(kafka_prefix, value) for value in values])
    await outlet.discard()
    assert [each.value for each in committed(kafka_server, kafka_prefix)] == values


async def test_a_lane_that_hangs_is_left_and_does_not_hold_anybody_up() -> None:
    stuck, lane = threading.Event(), Lane("stuck")
    with pytest.raises(TimeoutError):
        await lane.run(stuck.wait, seconds=0.05)
    lane.leave()
    other = Lane("other")
    assert await other.run(lambda: "free", seconds=5) == "free"
    with pytest.raises(ZeroDivisionError):
        await other.run(lambda: 1 // 0, seconds=5)
    other.leave()
    stuck.set()
