"""The worker: takes jobs from the queue into its slots, shows that it lives, takes over from workers that do not."""

import asyncio
from contextlib import suppress
from uuid import UUID

import structlog

from domain.errors import Unavailable
from domain.following import JobQueue, Leases
from domain.llm_jobs import LlmJob
from streams.dispatcher.attempt import LEASE_SECONDS, AttemptRun, Spending

HEARTBEAT_SECONDS = 3.0
POLL_SECONDS = 1.0
AGAIN_SECONDS = 2.0
"""How long a job is left alone that could not be admitted, because its project is paused for instance."""
log = structlog.get_logger("toybox.dispatcher")


class Dispatcher:
    """A worker: up to `slots` calls at once. Any number of workers may share a queue."""

    def __init__(self, *, worker: str, spending: Spending, queue: JobQueue, leases: Leases, slots: int = 16) -> None:
        self._worker = worker
        self._spending = spending
        self._queue = queue
        self._leases = leases
        self._slots = slots
        self._running: dict[UUID, AttemptRun | None] = {}
        self._left_alone: dict[UUID, float] = {}
        self._freed = asyncio.Event()
        self._idle = asyncio.Event()
        self._draining = False

    @property
    def busy(self) -> int:
        """Calls that are under way."""
        return len(self._running)

    async def run(self) -> None:
        """Work until cancelled; calls in flight are then given up, and what they may cost stays held."""
        self._running.clear()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._take_jobs(group))
            group.create_task(self._heartbeat())
            group.create_task(self._watch_cancellations())
            group.create_task(self._recover_lost())

    async def drain(self, seconds: float) -> None:
        """Take no more jobs and let the calls in flight end, for so long at most."""
        self._draining = True
        if self._running:
            self._idle.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._idle.wait()

    async def _take_jobs(self, group: asyncio.TaskGroup) -> None:
        reader = self._spending.reader
        while not self._draining:
            self._freed.clear()
            try:
                seen = await reader.head()
                if not await self._start_some(group):
                    await self._until_something_changes(seen)
            except Unavailable as away:
                log.warning("the queue is away", reason=str(away))
                await asyncio.sleep(away.retry_after)

    async def _until_something_changes(self, seen: int) -> None:
        """A slot that became free, or news in the log; the queue's read model may be a little behind either."""
        waits = {
            asyncio.create_task(self._freed.wait()),
            asyncio.create_task(self._spending.reader.wait(seen, POLL_SECONDS)),
        }
        done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for each in pending:
            each.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        for each in done:
            each.result()
        await asyncio.sleep(0.01)

    async def _start_some(self, group: asyncio.TaskGroup) -> int:
        free = self._slots - len(self._running)
        if free <= 0:
            return 0
        now = asyncio.get_running_loop().time()
        self._left_alone = {job: until for job, until in self._left_alone.items() if until > now}
        ready = await self._queue.ready(free, skipping=[*self._running, *self._left_alone])
        claimed = await self._leases.claim(ready, self._worker, LEASE_SECONDS) if ready else set[UUID]()
        for job_id in claimed:
            self._running[job_id] = None
            group.create_task(self._work_on(job_id), name=f"job {job_id}")
        return len(claimed)

    async def _work_on(self, job_id: UUID) -> None:
        try:
            attempt = await AttemptRun.of(self._spending, self._worker, job_id)
            self._running[job_id] = attempt
            if not await attempt.run():
                self._leave_alone(job_id, AGAIN_SECONDS)
        except Unavailable as away:
            log.warning("a job waits", job=str(job_id), reason=str(away))
            self._leave_alone(job_id, away.retry_after)
        except Exception:
            # A bug with one job must not end the worker; its lease runs out and it is tried again.
            log.exception("a job failed unexpectedly", job=str(job_id))
            self._leave_alone(job_id, LEASE_SECONDS)
        finally:
            self._running.pop(job_id, None)
            with suppress(Unavailable):
                await self._leases.release(job_id, self._worker)
            self._freed.set()
            if not self._running:
                self._idle.set()

    def _leave_alone(self, job_id: UUID, seconds: float) -> None:
        self._left_alone[job_id] = asyncio.get_running_loop().time() + seconds

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            if self._running:
                with suppress(Unavailable):
                    await self._leases.renew(self._worker)

    async def _watch_cancellations(self) -> None:
        """Abort a call whose job was cancelled or given to another worker."""
        types = {LlmJob.Cancelled.TYPE, LlmJob.AttemptLost.TYPE}
        reader = self._spending.reader
        position: int | None = None
        while True:
            try:
                position = await reader.head() if position is None else position
                head = await reader.wait(position, POLL_SECONDS * 5)
                for stored in await reader.read(position, 1000, types=types, up_to=head):
                    attempt = self._running.get(stored.stream_id)
                    if attempt:
                        attempt.abort()
                position = head
            except Unavailable as away:
                await asyncio.sleep(away.retry_after)

    async def _recover_lost(self) -> None:
        """Give jobs of silent workers back to the queue; the decide lets only one of us do it."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            try:
                for lost in await self._queue.lost(LEASE_SECONDS):
                    attempt = await AttemptRun.of(self._spending, self._worker, lost.job_id, lost.attempt)
                    await attempt.lose()
            except Unavailable as away:
                await asyncio.sleep(away.retry_after)
