"""One transaction per batch: lock, load, decide, append, answer. The only writer of the event log in a process."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

import structlog

from commands.ports import Batch, ConnectionLost, EventStore, Opened
from commands.sequencer.cache import PAGE, AggregateCache
from commands.sequencer.round import Answer, Behind, Loaded, Offender, Request, Round
from commands.work import Need
from domain import kernel
from domain.errors import Unavailable
from domain.kernel import Aggregate

RECONNECT_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
DECIDE_SECONDS = 0.5
"""How long one batch may go on deciding under the lock; what is left then begins the next."""
log = structlog.get_logger("toybox.sequencer")


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
        self._cache = AggregateCache(store, cached_aggregates)
        self._observe = observe
        self._wake = asyncio.Event()
        self._stopping = False
        self._runner: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()

    @property
    def aggregates(self) -> MutableMapping[UUID, Aggregate]:
        """What this process remembers; forgetting any of it costs a replay and nothing else."""
        return self._cache.aggregates

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
            try:
                await self._carry_out([request for request in batch if not request.future.done()])
            except Exception as error:
                # Without this task every later command would wait for ever.
                log.exception("a batch failed in a way that nobody expected")
                for request in batch:
                    _fail(request, error)

    async def _carry_out(self, batch: list[Request]) -> None:
        """See every request of a batch to its outcome, whatever happens to the store or to one of them."""
        attempt, undoable = 0, False
        while batch:
            try:
                batch = await self._one_transaction(batch, undoable=undoable)
            except Offender:
                undoable = True  # once more from committed state; now every offender's traces can be removed on the way
            except Behind as behind:
                await self._catch_up(behind.streams)
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
                await self._one_by_one(batch, error)
                return

    async def _one_by_one(self, batch: list[Request], error: Exception) -> None:
        """What broke a batch may be the fault of one of its requests; whoever has an answer is not decided again."""
        waiting = [request for request in batch if not request.future.done()]
        if not waiting:
            log.error("something failed after a commit", exc_info=error)
        elif len(batch) == 1:
            _fail(batch[0], error)
        else:
            for request in waiting:
                await self._carry_out([request])

    async def _catch_up(self, streams: Iterable[UUID]) -> None:
        # A store that is away now is away for the batch too, which has the patience for it.
        with suppress(ConnectionLost, Unavailable):
            await self._cache.catch_up(streams)

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

    async def _one_transaction(self, batch: list[Request], *, undoable: bool) -> list[Request]:
        """Decide and append a batch; answer it. What there was no time for comes back."""
        began = time.perf_counter()
        loaded = Loaded(self._cache, undoable=undoable)
        streams = {stream for request in batch for stream in request.streams}
        committed = False
        try:
            await self._cache.restore(streams)
            async with self._store.batch() as transaction:
                opened = await transaction.open(
                    [request.command_id for request in batch], self._cache.after(streams), most=PAGE
                )
                loaded.take(streams, opened.events)
                token = kernel.NOW.set(opened.now)
                try:
                    round_, left = await self._decide_all(transaction, opened, loaded, batch)
                finally:
                    kernel.NOW.reset(token)
                if round_.rows:
                    await transaction.commit(round_.events, round_.rows)
                committed = True
        finally:
            if not committed:
                self._cache.evict(loaded.changed())
        for request, outcome in round_.outcomes:
            if isinstance(outcome, Answer):
                _answer(request, outcome)
            else:
                _fail(request, outcome)
        if round_.events:
            self._later(self._store.announce(round_.events[-1].position))
        if snapshots := self._cache.tidy(loaded.all()):
            self._later(self._store.save_snapshots(snapshots))
        total = time.perf_counter() - began
        self._observe(BatchReport(len(round_.outcomes), len(round_.events), opened.lock_seconds, total))
        return left

    async def _decide_all(
        self, transaction: Batch, opened: Opened, loaded: Loaded, batch: list[Request]
    ) -> tuple[Round, list[Request]]:
        round_ = Round(opened.head, opened.now, dict(opened.known))
        until = time.perf_counter() + DECIDE_SECONDS
        for number, request in enumerate(batch):
            if number and time.perf_counter() > until:
                return round_, batch[number:]
            while True:
                try:
                    round_.decide(request, loaded)
                    break
                except Need as need:
                    missing = need.stream_ids - loaded.all()
                    loaded.take(missing, await transaction.load(self._cache.after(missing), most=PAGE))
                except Offender as broken:
                    if not loaded.undoable:
                        raise
                    loaded.undo(broken.touched, round_.events)
                    round_.outcomes.append((request, broken.error))
                    break
        return round_, []

    def _later(self, work: Coroutine[None, None, None]) -> None:
        async def quietly() -> None:
            # A lost announcement or snapshot costs a poll or a longer replay, never an event.
            with suppress(ConnectionLost):
                await work

        task = asyncio.create_task(quietly())
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _answer(request: Request, answer: Answer) -> None:
    if not request.future.done():
        request.future.set_result(answer)


def _fail(request: Request, error: Exception) -> None:
    if isinstance(error, StopIteration):  # a future refuses it
        error = RuntimeError("a handler let StopIteration escape")
    if not request.future.done():
        request.future.set_exception(error)
