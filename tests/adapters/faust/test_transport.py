"""The hooks into Faust: private to it, so each upgrade must pass here before anything else is believed."""

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

import pytest
from aiokafka import AIOKafkaConsumer
from faust.transport.consumer import Consumer, ThreadDelegateConsumer
from faust.transport.drivers import aiokafka as driver
from mode.threads import ServiceThread

from adapters.faust.app import FaustConsumption, create
from adapters.faust.transport import ChunkConsumer, SeekingThread, SeekingTransport
from adapters.kafka.connecting import Cluster
from adapters.kafka.outlet import KafkaOutlet
from domain.consuming import Chunk, Place
from domain.relaying import BrokerAway, Record, TopicFacts

RECORDS = 100


@dataclass
class Taker:
    """Remembers what it was given; begins where the test says."""

    begin: int = 0
    fails: bool = False
    taken: list[Chunk] = field(default_factory=list[Chunk])
    asked: int = 0

    async def resume(self, places: Collection[Place]) -> Mapping[Place, int]:
        self.asked += 1
        return dict.fromkeys(places, self.begin)

    async def take(self, chunks: Sequence[Chunk]) -> None:
        if self.fails:
            raise ValueError("cannot")
        self.taken += chunks

    @property
    def values(self) -> list[bytes | None]:
        return [message.value for chunk in self.taken for message in chunk.records]

    async def has(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.values) < count:  # noqa: ASYNC110 -- what is waited for tells nobody
                await asyncio.sleep(0.02)


@pytest.fixture
async def outlet(kafka_server: str, kafka_prefix: str) -> AsyncIterator[KafkaOutlet]:
    made = KafkaOutlet(Cluster(kafka_server), f"{kafka_prefix}.writer")
    await made.create([TopicFacts(kafka_prefix, 2, 1)])
    await made.open()
    yield made
    await made.discard()


async def write(outlet: KafkaOutlet, topic: str) -> None:
    await outlet.send([Record(topic, 0, b"key", b"%d" % number, [], 1_700_000_000_000) for number in range(RECORDS)])


def member(address: str, topic: str) -> FaustConsumption:
    return FaustConsumption(Cluster(address), [topic], group=f"{topic}.group")


def test_the_hooks_are_where_they_were() -> None:
    moved = f"faust-streaming {version('faust-streaming')} has moved what adapters/faust overrides: look at its driver"
    hooks = {
        driver.AIOKafkaConsumerThread: ("_create_worker_consumer", "seek_to_committed", "_ensure_consumer"),
        driver.Consumer: ("_new_consumer_thread", "_to_message"),
        ThreadDelegateConsumer: ("_getmany",),
        Consumer: ("perform_seek",),
        ServiceThread: ("_stopped_set",),
    }
    for kind, names in hooks.items():
        for name in names:
            assert inspect.isroutine(vars(kind).get(name)), f"{kind.__name__}.{name}: {moved}"
    assert "_isolation_level" in inspect.getsource(AIOKafkaConsumer.start), moved
    assert "self.seek_to_committed()" in inspect.getsource(Consumer.perform_seek), moved
    assert SeekingTransport.Consumer is ChunkConsumer


async def test_an_application_is_made_with_the_settings_that_were_measured(kafka_prefix: str) -> None:
    conf = create(Cluster("127.0.0.1:9"), [kafka_prefix], Taker(), group="any", instance="one").conf
    assert (conf.web_enabled, conf.topic_disable_leader, conf.topic_allow_declare) == (False, True, False)
    assert (conf.stream_wait_empty, str(conf.processing_guarantee)) == (False, "ProcessingGuarantee.AT_LEAST_ONCE")
    assert conf.consumer_group_instance_id == "one"
    assert conf.agent_supervisor.__name__ == "CrashingSupervisor"


async def test_records_come_from_where_the_taker_says_and_never_aborted_ones(
    kafka_server: str, kafka_prefix: str, outlet: KafkaOutlet, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels: list[str] = []
    hook = SeekingThread._create_worker_consumer

    def spied(self: SeekingThread, transport: object) -> AIOKafkaConsumer:
        made = hook(self, transport)
        levels.append(made._isolation_level)
        return made

    monkeypatch.setattr(SeekingThread, "_create_worker_consumer", spied)
    await write(outlet, kafka_prefix)
    taker = Taker(begin=40)
    task = asyncio.create_task(member(kafka_server, kafka_prefix).run(taker))
    await taker.has(60)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert taker.values == [b"%d" % number for number in range(40, 100)]
    assert levels == ["read_committed"]
    # The group's own offsets are of no account: a member that comes later begins where its taker says.
    again = Taker(begin=90)
    task = asyncio.create_task(member(kafka_server, kafka_prefix).run(again))
    await again.has(10)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert again.values == [b"%d" % number for number in range(90, 100)]


async def test_what_the_taker_raises_ends_the_run_and_leaves_no_thread(
    kafka_server: str, kafka_prefix: str, outlet: KafkaOutlet
) -> None:
    await write(outlet, kafka_prefix)
    before = threading.active_count()
    with pytest.raises(ValueError, match="cannot"):
        await member(kafka_server, kafka_prefix).run(Taker(fails=True))
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("fails", "waiting"), [(True, "MethodQueueWorker"), (False, "Event.wait")], ids=["crashed", "cancelled"]
)
async def test_a_run_leaves_nothing_behind_that_waits_for_ever(
    kafka_server: str, kafka_prefix: str, outlet: KafkaOutlet, fails: bool, waiting: str
) -> None:
    await write(outlet, kafka_prefix)
    before = asyncio.all_tasks()
    taker = Taker(fails=fails)
    task = asyncio.create_task(member(kafka_server, kafka_prefix).run(taker))
    if not fails:
        await taker.has(100)
        task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0.1)  # what was told to end has its turn
    assert not [each for each in map(str, asyncio.all_tasks() - before) if waiting in each]


async def test_a_run_that_is_cancelled_while_it_starts_leaves_no_member_behind(
    kafka_server: str, kafka_prefix: str, outlet: KafkaOutlet
) -> None:
    await write(outlet, kafka_prefix)
    before = threading.active_count()
    task = asyncio.create_task(member(kafka_server, kafka_prefix).run(Taker()))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert threading.active_count() == before


async def test_a_broker_that_is_away_reads_as_away(kafka_prefix: str) -> None:
    with pytest.raises(BrokerAway):
        await member("127.0.0.1:9", kafka_prefix).run(Taker())


async def test_offsets_are_found_by_time_and_never_too_late(
    kafka_server: str, kafka_prefix: str, outlet: KafkaOutlet
) -> None:
    await outlet.send([Record(kafka_prefix, 0, b"key", b"x", [], 1_700_000_000_000 + number) for number in range(50)])
    asked = member(kafka_server, kafka_prefix)
    assert await asked.offsets_at(kafka_prefix, 1_700_000_000_020) == {0: 20, 1: 0}
    assert (await asked.offsets_at(kafka_prefix, 1_900_000_000_000))[0] >= 50
