"""A Faust application that lives in our event loop: made, started and stopped as one member of a consumer group."""

import asyncio
import contextlib
import ssl
from collections.abc import Collection, Coroutine, Mapping, Sequence
from typing import Any, Final, TypeVar

import faust
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from faust.auth import SASLCredentials, SSLCredentials
from mode import CrashingSupervisor
from yarl import URL

from adapters.faust.transport import SeekingTransport
from adapters.kafka.connecting import Cluster
from domain.consuming import Chunk, Place, Taker
from domain.relaying import BrokerAway

R = TypeVar("R")
START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 15.0
CHUNKS: Final = 26
"""Taken at a time: what two polls bring of twelve partitions and the marker."""
WITHIN_SECONDS: Final = 0.01
RECORDS: Final = 3000
"""Of one poll."""


def credentials(cluster: Cluster) -> Any:
    """As Faust wants to be told; None without security."""
    context: ssl.SSLContext | None = None
    if cluster.security.endswith("SSL"):
        context = ssl.create_default_context(cafile=cluster.ca_file)
        if cluster.certificate_file:
            context.load_cert_chain(cluster.certificate_file, cluster.key_file)
    if cluster.security.startswith("SASL"):
        return SASLCredentials(
            username=cluster.username, password=cluster.password, mechanism=cluster.mechanism, ssl_context=context
        )
    return SSLCredentials(context) if context else None


def create(
    cluster: Cluster, topics: Collection[str], taker: Taker, *, group: str, instance: str | None = None, **more: Any
) -> faust.App:
    """An application that hands everything from these topics to the taker. It keeps nothing: no tables, no topics."""
    app = faust.App(
        group,
        broker=[URL(f"kafka://{each}") for each in cluster.servers.split(",")],
        broker_credentials=credentials(cluster),
        store="memory://",
        autodiscover=False,
        origin=None,
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=instance,
        processing_guarantee="at_least_once",
        stream_wait_empty=False,
        stream_buffer_maxsize=CHUNKS,
        agent_supervisor=CrashingSupervisor,
        broker_session_timeout=15,
        broker_heartbeat_interval=3,
        broker_rebalance_timeout=30,
        broker_request_timeout=30,
        broker_commit_interval=2.0,
        broker_max_poll_records=RECORDS,
        consumer_metadata_max_age_ms=5_000,  # a topic that is made at this moment is noticed no sooner
        **more,
    )
    transport = SeekingTransport(app.conf.broker_consumer, app, loop=app.loop)
    transport.resume = taker.resume
    app.transport = transport
    channel = app.topic(*topics, key_serializer="raw", value_serializer="raw", value_type=bytes)

    async def hand_over(stream: Any) -> None:
        async for events in stream.take_events(CHUNKS, within=WITHIN_SECONDS):
            await taker.take([each.message.chunk for each in events])

    app.agent(channel, name=f"{group}.taker")(hand_over)
    return app


async def end_thread(thread: Any) -> None:
    """After a crash Faust leaves its consumer's thread behind: a member of the group that drops what it is given.

    The thread is told to stop its consumer, and then to end; whatever of that fails, its end is waited for.
    """
    worker, loop, consumer = thread._thread, thread.thread_loop, thread._consumer  # noqa: SLF001 -- not told otherwise
    if worker is not None and worker.is_alive():
        if consumer is not None and loop.is_running():
            with contextlib.suppress(Exception, asyncio.CancelledError):
                async with asyncio.timeout(STOP_SECONDS):
                    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(consumer.stop(), loop))
        with contextlib.suppress(RuntimeError):  # its loop is closed: it is about to end by itself
            thread._stopped_set()  # noqa: SLF001 -- what its own stop does first, and a crash skips
        async with asyncio.timeout(STOP_SECONDS):
            while worker.is_alive():  # noqa: ASYNC110 -- a thread tells nobody
                await asyncio.sleep(0.02)
    if not loop.is_closed():
        loop.close()


async def _closed(producer: AIOKafkaProducer) -> None:
    """A stop that was broken off half-way leaves connections open, and says that it has closed them."""
    await producer.stop()
    await producer.client.close()


async def _to_its_end(task: "asyncio.Task[None]") -> None:
    """Wait for it, however often we are cancelled meanwhile: a consumer left behind would outlive the loop."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as again:
            cancelled = again
    if cancelled:
        raise cancelled


class _Told:
    """A taker whose first failure is kept: Faust would only say that something crashed, and not always that."""

    def __init__(self, taker: Taker) -> None:
        self._taker = taker
        self.failed: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    async def resume(self, places: Collection[Place]) -> Mapping[Place, int]:
        """Where to go on."""
        return await self._keeping(self._taker.resume(places))

    async def take(self, chunks: Sequence[Chunk]) -> None:
        """What came."""
        await self._keeping(self._taker.take(chunks))

    async def _keeping(self, call: Coroutine[Any, Any, R]) -> R:
        try:
            return await call
        except Exception as error:  # whatever it is, who runs the consumer raises it: Faust would only log it
            if not self.failed.done():
                self.failed.set_result(error)
            raise


class FaustConsumption:
    """One member of a group; a new application for each run."""

    def __init__(
        self, cluster: Cluster, topics: Collection[str], *, group: str, instance: str | None = None, **more: Any
    ) -> None:
        self._cluster, self._topics, self._group, self._instance, self._more = cluster, topics, group, instance, more
        self._app: faust.App | None = None

    async def run(self, taker: Taker) -> None:
        """Consume until cancelled or until something fails."""
        told = _Told(taker)
        app = self._app = create(
            self._cluster, self._topics, told, group=self._group, instance=self._instance, **self._more
        )
        starting = asyncio.create_task(app.start(), name=f"{self._group} starts")
        stopped: asyncio.Task[None] | None = None
        try:
            try:
                async with asyncio.timeout(START_SECONDS):
                    await asyncio.shield(starting)
            except Exception as error:  # the client raises all kinds
                raise BrokerAway(f"Kafka is away or refuses: {error!r}"[:300]) from error
            stopped = asyncio.create_task(app.wait_until_stopped())
            await asyncio.wait([stopped, told.failed], return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _to_its_end(asyncio.create_task(self._stop(app, starting)))
            if stopped:
                # Not earlier: cancelled, it would leave a task of its own behind that waits for ever.
                await asyncio.wait([stopped], timeout=STOP_SECONDS)
                stopped.cancel()
        if told.failed.done():
            raise told.failed.result()
        raise BrokerAway(f"Faust stopped: {app.crash_reason!r}"[:300]) from app.crash_reason

    async def _stop(self, app: faust.App, starting: "asyncio.Task[Any]") -> None:
        """An application that is stopped while it starts would leave a member of the group behind."""
        self._app = None
        await asyncio.wait([starting], timeout=START_SECONDS)
        starting.cancel()
        # Taken before the stop, which forgets them.
        producer: AIOKafkaProducer | None = getattr(app.producer, "_producer", None)
        thread: Any = getattr(app._consumer, "_thread", None)  # noqa: SLF001 -- the property would make a new one
        calls: Any = getattr(app._consumer, "_method_queue", None)  # noqa: SLF001 -- the same
        # A broker that is away must not keep us. A cancellation in here is one that Faust's services give one another
        # when they crash: nobody else knows of this task.
        with contextlib.suppress(Exception, asyncio.CancelledError):
            async with asyncio.timeout(STOP_SECONDS):
                await app.stop()
        with contextlib.suppress(Exception, asyncio.CancelledError):
            if calls is not None:  # a consumer that crashed does not stop it: its tasks would wait for ever
                await calls.stop()
        with contextlib.suppress(Exception, asyncio.CancelledError):
            if thread is not None:
                await end_thread(thread)
        with contextlib.suppress(Exception, asyncio.CancelledError):
            if producer is not None:
                async with asyncio.timeout(STOP_SECONDS):
                    await _closed(producer)

    async def send(self, topic: str, key: bytes | None, value: bytes, headers: Mapping[str, bytes]) -> None:
        """Write one record and wait until it is acknowledged."""
        app = self._app
        if app is None:
            raise BrokerAway("this process is not connected to Kafka")
        try:
            await app.producer.send_and_wait(topic, key, value, None, None, dict(headers))
        except Exception as error:  # the client raises all kinds
            raise BrokerAway(f"Kafka did not take a record for {topic}: {error!r}"[:300]) from error

    async def offsets_at(self, topic: str, timestamp_ms: int) -> Mapping[int, int]:
        """By partition; the ends are asked first, so that what comes meanwhile is not passed over."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self._cluster.servers, **_security(self._cluster))
        try:
            await consumer.start()
            numbers = await consumer._client._wait_on_metadata(topic)  # noqa: SLF001 -- asks the brokers, unlike the public call
            partitions = [TopicPartition(topic, each) for each in numbers]
            ends = await consumer.end_offsets(partitions)
            found = await consumer.offsets_for_times(dict.fromkeys(partitions, timestamp_ms))
        except Exception as error:  # the client raises all kinds
            raise BrokerAway(f"Kafka is away or refuses: {error!r}"[:300]) from error
        finally:
            await consumer.stop()
        return {each.partition: found[each].offset if found[each] else ends[each] for each in partitions}


def _security(cluster: Cluster) -> Mapping[str, Any]:
    context = credentials(cluster)
    told: dict[str, Any] = {"security_protocol": cluster.security}
    if context is not None:
        told["ssl_context"] = getattr(context, "ssl_context", None) or getattr(context, "context", None)
    if cluster.security.startswith("SASL"):
        told |= {
            "sasl_mechanism": cluster.mechanism,
            "sasl_plain_username": cluster.username,
            "sasl_plain_password": cluster.password,
        }
    return told
