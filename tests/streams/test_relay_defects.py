"""What kafka-python does wrong in transactions, made to happen one by one: the relay loses nothing.

Each guard is taken away once, to see that it is the guard that does it. A test of a guard reads what the mock holds: it
keeps aborted records, too, so a record that is there twice says nothing here; the real broker judges that elsewhere.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from kafka.net.connection import KafkaConnection

from adapters.kafka import outlet, transactions
from adapters.kafka.connecting import Cluster
from adapters.kafka.outlet import KafkaOutlet
from adapters.kafka.transactions import Transactions
from adapters.memory import MemoryStore
from domain.relaying import Record, TopicFacts
from streams.relay import Relay
from streams.topics import Topics
from tests.golden.examples import MOMENT
from tests.streams.relaying import event_at, is_public, running, until
from tests.support.kafka_mock import (
    ADD_PARTITIONS,
    CONCURRENT_TRANSACTIONS,
    INIT_PRODUCER_ID,
    INVALID_PRODUCER_EPOCH,
    NOT_LEADER,
    OUT_OF_ORDER_SEQUENCE,
    PRODUCE,
    PRODUCER_FENCED,
    UNCHECKED,
    MockCluster,
    mock_cluster,
)

TOPICS = Topics.named("mocked")
BATCH = 50


class Trusting(Transactions):
    """Believes that a record that was sent has arrived: what T1 asks for."""

    def settle(self, sent: Sequence[Any]) -> None:
        self._producer.flush(30)


class Watched(Transactions):
    """As it is, and somebody looks at each record again when its commit has returned as if all were well."""

    believed = 0
    """Commits of transactions with a record that was refused."""
    sent: Sequence[Any] = ()

    def settle(self, sent: Sequence[Any]) -> None:
        self.sent = sent
        super().settle(sent)

    def commit(self) -> None:
        super().commit()
        Watched.believed += not all(each.succeeded() for each in self.sent)


class Hasty(Watched):
    """Goes to commit while records are on their way: what T2 asks for."""

    def settle(self, sent: Sequence[Any]) -> None:
        self.sent = sent


class Loyal(Transactions):
    """Stays with its producer whatever happened: what T5 asks for."""

    kept: dict[str, Any] = {}  # noqa: RUF012 -- shared on purpose

    def __init__(self, cluster: Cluster, transactional_id: str, compression: str | None) -> None:
        if "producer" not in self.kept:
            super().__init__(cluster, transactional_id, compression)
            self.kept["producer"] = self._producer
        self._producer, self._last_offsets = self.kept["producer"], {}

    def close(self) -> None:
        return


class MockOutlet(KafkaOutlet):
    """The mock can neither describe nor make topics: they are there, and as they should be."""

    proven: Counter[int]
    """Positions in transactions that it called committed, and how often."""

    async def send(self, records: Sequence[Record]) -> Sequence[int]:
        offsets = await super().send(records)
        events = (each for each in records if each.topic == TOPICS.events.name)
        self.proven.update(int(dict(each.headers)["toybox-position"]) for each in events)
        return offsets

    async def describe(self, names: Collection[str]) -> Mapping[str, TopicFacts]:
        there = {each.name: each.facts(1) for each in TOPICS}
        return {name: there[name] for name in names}


class Isolating(MockOutlet):
    """The mock shows markers of transactions that were never committed, too; this one shows what a broker would."""

    marker: bytes | None = None

    async def send(self, records: Sequence[Record]) -> Sequence[int]:
        offsets = await super().send(records)
        self.marker = records[-1].value
        return offsets

    async def last(self, topic: str, key: bytes) -> bytes | None:
        return self.marker


class Alone:
    """Leads: there is nobody else."""

    @asynccontextmanager
    async def leading(self, what: str) -> AsyncIterator[None]:
        yield

    async def check(self, what: str) -> None:
        return


class Stage:
    """A mock broker, a log in memory, a relay between them."""

    def __init__(self, mock: MockCluster) -> None:
        self.mock = mock
        self.store = MemoryStore(lambda: MOMENT)
        self.proven: Counter[int] = Counter()
        for each in TOPICS:
            mock.topic(each.name, each.partitions)

    async def write(self, count: int = BATCH) -> None:
        head = len(self.store.events)
        self.store.append([event_at(position) for position in range(head + 1, head + count + 1)], [])
        await self.store.announce(head + count)

    def relay(self, kind: type[Transactions] = Transactions, *, watchdog_seconds: float = 2.0, **client: Any) -> Relay:
        return self._relay(MockOutlet, kind, watchdog_seconds, client)

    def isolating_relay(self, kind: type[Transactions], **client: Any) -> Relay:
        """A relay that reads its markers as a real broker would show them."""
        return self._relay(Isolating, kind, 2.0, client)

    def _relay(
        self, outlet: type[MockOutlet], kind: type[Transactions], watchdog_seconds: float, client: dict[str, Any]
    ) -> Relay:
        cluster = Cluster(self.mock.address, client={"retry_backoff_ms": 10, **client})
        made = outlet(cluster, "mocked.relay", compression=None, watchdog_seconds=watchdog_seconds)
        made.transactions, made.proven = kind, self.proven
        return Relay(made, reader=self.store, leadership=Alone(), topics=TOPICS, batch=BATCH)

    async def lost(self) -> list[int]:
        """Positions of public events that Kafka does not hold in any form."""
        there = set(await asyncio.to_thread(_positions, self.mock.address, TOPICS.events.name))
        return [each.position for each in self.store.events if is_public(each) and each.position not in there]

    async def wrong(self) -> list[str]:
        """What is lost, and what is in two transactions that were both called committed."""
        doubled = [position for position, times in self.proven.items() if times > 1]
        lost = await self.lost()
        return [f"{what}: {found}" for what, found in (("lost", lost), ("doubled", doubled)) if found]


def _positions(address: str, topic: str) -> list[int]:
    import kafka

    consumer: Any = kafka.KafkaConsumer(bootstrap_servers=address, check_crcs=False, group_id=None)
    try:
        partitions = [kafka.TopicPartition(topic, each) for each in range(12)]  # pyright: ignore[reportAttributeAccessIssue]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        ends = consumer.end_offsets(partitions)
        found: list[int] = []
        while any(consumer.position(each) < ends[each] for each in partitions):
            for records in consumer.poll(timeout_ms=300).values():
                found += [int(dict(each.headers)["toybox-position"]) for each in records]
        return found
    finally:
        consumer.close()


@pytest.fixture(params=[1])
def stage(request: pytest.FixtureRequest, loopback: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A stage with a mock of that many brokers; it answers the newest request for versions illegibly."""
    begin = KafkaConnection.__init__

    def begin_lower(self: Any, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        self._api_versions_idx = 2

    monkeypatch.setattr(KafkaConnection, "__init__", begin_lower)
    monkeypatch.setattr(outlet, "READER", {**outlet.READER, **UNCHECKED})
    Loyal.kept.clear()
    with mock_cluster(request.param) as mock:
        yield Stage(mock)
    for each in Loyal.kept.values():
        each._sender.force_close()


async def at(relay: Relay, position: int, seconds: float = 90.0) -> None:
    """Longer than the client's delivery timeout of 30 s, which some of the errors here are only noticed by."""
    await until(lambda: relay.state.position == position, seconds)


async def test_without_errors_everything_arrives(stage: Stage) -> None:
    await stage.write(230)
    relay = stage.relay()
    async with running(relay):
        await at(relay, 230)
    assert await stage.wrong() == []
    assert relay.state.discarded == 0


@pytest.mark.parametrize("stage", [2], indirect=True)
@pytest.mark.parametrize("kind", [Transactions, Trusting])
async def test_t1_a_record_that_could_not_be_delivered_is_not_committed_around(
    stage: Stage, kind: type[Transactions], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(transactions.TUNING, "delivery_timeout_ms", 1200)
    stage.mock.lead(TOPICS.events.name, TOPICS.events.partitions, leader=1)
    stage.mock.lead(TOPICS.relay_position.name, 1, leader=2)
    await stage.write()
    relay = stage.isolating_relay(kind, request_timeout_ms=600)
    async with running(relay):
        await at(relay, BATCH)
        # The broker of the events takes nothing for a while, that of the marker does: what comes after is out of order.
        for _ in range(300):
            stage.mock.fail_at(1, PRODUCE, NOT_LEADER)
        await stage.write()
        await at(relay, 2 * BATCH)
        await stage.write()
        await at(relay, 3 * BATCH)
    assert bool(await stage.wrong()) == (kind is Trusting)
    assert (relay.state.discarded > 0) == (kind is Transactions)


@pytest.mark.parametrize(("kind", "rounds"), [(Watched, 4), (Hasty, 20)])
async def test_t2_a_record_refused_while_a_commit_waits_is_not_committed_around(
    stage: Stage, kind: type[Watched], rounds: int
) -> None:
    Watched.believed = 0
    relay = stage.isolating_relay(kind)
    async with running(relay):
        for batches in range(1, rounds + 1):  # without the guard it is a race how a commit goes wrong: it may also hang
            await stage.write()
            await at(relay, batches * BATCH)
            if Watched.believed:
                break
            stage.mock.fail_at(1, PRODUCE, OUT_OF_ORDER_SEQUENCE, late_ms=300)
    assert bool(Watched.believed) == (kind is Hasty)
    if kind is Watched:
        assert await stage.wrong() == []
        assert relay.state.discarded > 0


class Unplugged(Transactions):
    """The broker goes away between the last acknowledgement and the commit, and comes back a little later."""

    mock: MockCluster
    times = 0

    def commit(self) -> None:
        if Unplugged.times:
            Unplugged.times -= 1
            self.mock.down()
            asyncio.run_coroutine_threadsafe(self._plug_in(), Unplugged.loop)
        super().commit()

    async def _plug_in(self) -> None:
        await asyncio.sleep(1.0)
        self.mock.up()

    loop: asyncio.AbstractEventLoop


async def test_t3_a_commit_that_never_returns_is_left_behind(stage: Stage) -> None:
    Unplugged.mock, Unplugged.loop = stage.mock, asyncio.get_running_loop()
    await stage.write()
    relay = stage.relay(Unplugged)
    async with running(relay):
        await at(relay, BATCH)
        Unplugged.times = 1
        await stage.write()
        await at(relay, 2 * BATCH)
        await stage.write()
        await at(relay, 3 * BATCH)
    assert Unplugged.times == 0
    assert await stage.wrong() == []


async def test_t3_without_its_guard_the_relay_waits_for_ever(stage: Stage) -> None:
    Unplugged.mock, Unplugged.loop = stage.mock, asyncio.get_running_loop()
    relay, stuck = stage.relay(Unplugged, watchdog_seconds=3600.0), 0
    async with running(relay):
        for batches in range(1, 8):  # on a busy machine the client may notice in time and send its request again
            await stage.write()
            try:
                await at(relay, batches * BATCH, seconds=8.0)
            except TimeoutError:
                stuck = batches
                break
            Unplugged.times = 1
        assert relay.state.phase == "relaying", "it believes that all is well"
    assert stuck > 1


async def test_t4_transactions_that_follow_closely_do_not_wait_long(stage: Stage) -> None:
    took: dict[int, float] = {}
    for backoff, batches in ((10, 1), (100, 2)):
        relay = stage.relay(retry_backoff_ms=backoff)
        async with running(relay):
            await until(lambda relay=relay: relay.state.phase == "relaying")
            stage.mock.fail(ADD_PARTITIONS, [CONCURRENT_TRANSACTIONS] * 20)
            began = asyncio.get_running_loop().time()
            await stage.write()
            await at(relay, batches * BATCH)
            took[backoff] = asyncio.get_running_loop().time() - began
    assert took[10] < took[100] / 2, took
    assert Cluster("any:1").options(client_id="any")["retry_backoff_ms"] == 10
    assert await stage.wrong() == []


@pytest.mark.parametrize("kind", [Transactions, Loyal])
async def test_t5_a_producer_that_was_fenced_is_replaced(stage: Stage, kind: type[Transactions]) -> None:
    await stage.write()
    relay = stage.relay(kind)
    async with running(relay):
        await at(relay, BATCH)
        stage.mock.fail(PRODUCE, [INVALID_PRODUCER_EPOCH])
        stage.mock.fail(INIT_PRODUCER_ID, [PRODUCER_FENCED])
        await stage.write()
        await until(lambda: relay.state.discarded > 0)
        if kind is Loyal:
            with pytest.raises(TimeoutError):
                await at(relay, 2 * BATCH, seconds=5.0)
            return
        await at(relay, 2 * BATCH)
    assert await stage.wrong() == []
