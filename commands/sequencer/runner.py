"""One transaction per batch: lock, load, decide, append, answer. The only writer of the event log in a process."""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from commands.ports import Batch, ConnectionLost, EventStore, Opened, Snapshot
from commands.sequencer.round import Answer, Loaded, Offender, Request, Round
from commands.work import Need
from domain import kernel
from domain.errors import Unavailable
from domain.kernel import AGGREGATE_OF, Aggregate

SNAPSHOT_EVERY = 200
"""Events between two snapshots of one aggregate: about 3 ms of replay."""
RECONNECT_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What one batch did, for metrics. Times in seconds."""

    requests: int
    events: int
    lock_seconds: float
    total_seconds: float


class Sequencer:
    """Takes commands from everywhere in the process and appends them batch by batch."""

    def __init__(
        self,
        store: EventStore,
        *,
        queue_limit: int = 10_000,
        batch_limit: int = 512,
        cached_aggregates: int = 20_000,
        observe: Callable[[BatchReport], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._queue: deque[Request] = deque()
        self._queue_limit = queue_limit
        self._batch_limit = batch_limit
        self._cached_aggregates = cached_aggregates
        self._cache: OrderedDict[UUID, Aggregate] = OrderedDict()
        self._observe = observe
        self._wake = asyncio.Event()
        self._stopping = False
        self._runner: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._snapshot_at: dict[UUID, int] = {}

    @property
    def queued(self) -> int:
        """Requests that wait for a batch."""
        return len(self._queue)

    def start(self) -> None:
        """Begin to take batches."""
        self._runner = asyncio.create_task(self._run(), name="sequencer")

    async def stop(self) -> None:
        """Refuse new requests, finish those that wait, end."""
        self._stopping = True
        self._wake.set()
        if self._runner:
            await self._runner
        if self._background:
            await asyncio.wait(self._background, timeout=5)

    async def submit(self, request: Request) -> Answer:
        """Wait for the command's outcome: its answer, or the error that refused it."""
        if self._stopping:
            msg = "this process is stopping; send the command again"
            raise Unavailable(msg)
        if len(self._queue) >= self._queue_limit:
            msg = f"{len(self._queue)} commands are waiting; try again in a moment"
            raise Unavailable(msg, code="overloaded")
        loop = asyncio.get_running_loop()
        request.future = loop.create_future()
        request.give_up_at = loop.time() + request.patience
        self._queue.append(request)
        self._wake.set()
        return await request.future

    async def _run(self) -> None:
        while True:
            while not self._queue:
                if self._stopping:
                    return
                self._wake.clear()
                await self._wake.wait()
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), self._batch_limit))]
            await self._carry_out([request for request in batch if not request.future.done()])

    async def _carry_out(self, batch: list[Request]) -> None:
        """See every request of a batch to its outcome, whatever happens to the store or to one of them."""
        attempt = 0
        while batch:
            try:
                await self._one_transaction(batch)
            except Offender as broken:
                _fail(broken.request, broken.error)
                batch = [request for request in batch if request is not broken.request]
            except ConnectionLost as lost:
                # The old backend may still commit. Its command ids, asked for under the lock, will tell.
                await asyncio.sleep(RECONNECT_SECONDS[min(attempt, len(RECONNECT_SECONDS) - 1)])
                attempt += 1
                batch = self._expire(batch, lost)
            except asyncio.CancelledError:
                for request in batch:
                    _fail(request, Unavailable("this process was stopped; send the command again with the same key"))
                raise
            except Exception as error:  # noqa: BLE001 -- whatever it is must reach its caller and spare the others
                if len(batch) == 1:
                    _fail(batch[0], error)
                    return
                for request in batch:
                    if not request.future.done():  # whoever has an answer must not be decided again
                        await self._carry_out([request])
                return
            else:
                return

    @staticmethod
    def _expire(batch: list[Request], lost: ConnectionLost) -> list[Request]:
        now = asyncio.get_running_loop().time()
        for request in batch:
            if now > request.give_up_at:
                msg = (
                    f"the database is away ({lost}); whether this command took effect is not known: "
                    "send it again with the same Idempotency-Key"
                )
                _fail(request, Unavailable(msg, retry_after=2, code="outcome_unknown"))
        return [request for request in batch if not request.future.done()]

    async def _one_transaction(self, batch: Sequence[Request]) -> None:
        began = time.perf_counter()
        loaded = Loaded(self._cache)
        streams = {stream for request in batch for stream in request.streams}
        committed = False
        try:
            await self._from_snapshots(streams)
            async with self._store.batch() as transaction:
                opened = await transaction.open([request.command_id for request in batch], self._after(streams))
                loaded.take(streams, opened.events)
                token = kernel.NOW.set(opened.now)
                try:
                    round_ = await self._decide_all(transaction, opened, loaded, batch)
                finally:
                    kernel.NOW.reset(token)
                if round_.rows:
                    await transaction.commit(round_.events, round_.rows)
                committed = True
        finally:
            if not committed:
                for stream in loaded.all():
                    self._cache.pop(stream, None)
        for request, outcome in round_.outcomes:
            if isinstance(outcome, Answer):
                _answer(request, outcome)
            else:
                _fail(request, outcome)
        if round_.events:
            self._later(self._store.announce(round_.events[-1].position))
        self._tidy(loaded.all())
        self._observe(BatchReport(len(batch), len(round_.events), opened.lock_seconds, time.perf_counter() - began))

    async def _decide_all(self, transaction: Batch, opened: Opened, loaded: Loaded, batch: Sequence[Request]) -> Round:
        round_ = Round(opened.head, opened.now, dict(opened.known))
        for request in batch:
            while True:
                try:
                    round_.decide(request, loaded)
                    break
                except Need as need:
                    missing = need.stream_ids - loaded.all()
                    loaded.take(missing, await transaction.load(self._after(missing)))
        return round_

    def _after(self, streams: Iterable[UUID]) -> dict[UUID, int]:
        return {stream: cached.version if (cached := self._cache.get(stream)) else 0 for stream in streams}

    async def _from_snapshots(self, streams: Iterable[UUID]) -> None:
        missing = [stream for stream in streams if stream not in self._cache]
        if not missing:
            return
        for snapshot in await self._store.snapshots(missing):
            kind = _kind(snapshot.aggregate)
            if kind is None or snapshot.fold != kind.FOLD:
                continue
            # Another release may have written it, and it is only a cache: what cannot be read is replayed.
            with suppress(ValueError, KeyError):
                restored = kind.from_snapshot(snapshot.stream_id, snapshot.version, snapshot.body)
                self._cache[snapshot.stream_id] = restored
                self._snapshot_at[snapshot.stream_id] = snapshot.version

    def _tidy(self, streams: Iterable[UUID]) -> None:
        """After the commit, off its path: snapshot what has grown, forget what was not used for long."""
        snapshots: list[Snapshot] = []
        for stream in streams:
            aggregate = self._cache.get(stream)
            if aggregate is None:
                continue
            self._cache.move_to_end(stream)
            if aggregate.version - self._snapshot_at.get(stream, 0) >= SNAPSHOT_EVERY:
                self._snapshot_at[stream] = aggregate.version
                kind = type(aggregate)
                snapshots.append(Snapshot(stream, aggregate.version, kind.TOPIC, kind.FOLD, aggregate.snapshot()))
        if snapshots:
            self._later(self._store.save_snapshots(snapshots))
        while len(self._cache) > self._cached_aggregates:
            stream, _ = self._cache.popitem(last=False)
            self._snapshot_at.pop(stream, None)

    def _later(self, work: Coroutine[None, None, None]) -> None:
        async def quietly() -> None:
            # A lost announcement or snapshot costs a poll or a longer replay, never an event.
            with suppress(ConnectionLost):
                await work

        task = asyncio.create_task(quietly())
        self._background.add(task)
        task.add_done_callback(self._background.discard)


_KINDS: dict[str, type[Aggregate]] = {}


def _kind(name: str) -> type[Aggregate] | None:
    found = _KINDS.get(name) or next((kind for kind in AGGREGATE_OF.values() if name == kind.TOPIC), None)
    if found:
        _KINDS[name] = found
    return found


def _answer(request: Request, answer: Answer) -> None:
    if not request.future.done():
        request.future.set_result(answer)


def _fail(request: Request, error: Exception) -> None:
    if not request.future.done():
        request.future.set_exception(error)
