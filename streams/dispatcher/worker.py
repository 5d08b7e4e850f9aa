"""The worker: takes jobs from the queue into its slots, shows that it lives, takes over from workers that do not."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import ClassVar
from uuid import UUID

import structlog

from commands.gathering import Gathering
from domain.errors import Unavailable
from domain.following import JobQueue, Leases, LostJob
from domain.llm_jobs import LlmJob
from domain.log import StoredEvent
from domain.projects import Project
from streams.dispatcher.attempt import BEHIND_SECONDS, AttemptRun, Spending
from streams.dispatcher.targets import NEWS

LOOKS = (0.02, 0.05, 0.1, 0.2, 0.5)
"""Pauses after news: the queue's read model follows the log a moment later, so one look is not enough."""
GATHER_SECONDS = 0.005
"""A busy worker looks again after so long: one look for all the slots that became free meanwhile."""
LISTEN_SECONDS = 0.02
"""Between two looks at what was appended, however much it is: so much later is a call given up."""
IN_VAIN_SECONDS = 0.1
"""Pause at least, when all that was looked at lately has to wait: thousands may stand behind the same rate limit."""
SWEEP_SECONDS = 3_600.0
"""How often leases of workers that died are cleared away."""
DEAD_SECONDS = 86_400.0
"""How stale a lease is that nobody will ever ask for again."""
log = structlog.get_logger("toybox.dispatcher")


class Dispatcher:
    """A worker: up to `slots` calls at once. Any number of workers may share a queue.

    `worker` must never have been used before, not even by an earlier life of this process: it stands in command ids.
    """

    ATTEMPT: ClassVar[type[AttemptRun]] = AttemptRun

    def __init__(self, *, worker: str, spending: Spending, queue: JobQueue, leases: Leases, slots: int = 16) -> None:
        self._worker = worker
        self._spending = spending
        self._pace = spending.pace
        self._queue = queue
        self._leases = leases
        self._slots = slots
        self._running: dict[UUID, AttemptRun | None] = {}
        self._grants: dict[UUID, int] = {}
        """Fences of the leases that this worker holds."""
        self._leased_at: dict[UUID, float] = {}
        self._left_alone: dict[UUID, float] = {}
        self._in_vain = 0
        """Jobs in a row that could not start yet."""
        self._freed = asyncio.Event()
        self._idle = asyncio.Event()
        self._draining = False
        self._give_back: Gathering[UUID, None] = Gathering(self._release)

    @property
    def busy(self) -> int:
        """Calls that are under way."""
        return len(self._running)

    async def run(self) -> None:
        """Work until cancelled; calls in flight are then given up, and what they may cost stays held."""
        self._running.clear()
        self._grants.clear()
        self._leased_at.clear()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._take_jobs(group))
            group.create_task(self._heartbeat())
            group.create_task(self._watch_events())
            group.create_task(self._recover_lost())
            group.create_task(self._sweep_leases())

    async def drain(self, seconds: float) -> None:
        """Take no more jobs and let the calls in flight end, for so long at most."""
        self._draining = True
        if self._running:
            self._idle.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._idle.wait()

    # --- taking jobs ---

    async def _take_jobs(self, group: asyncio.TaskGroup) -> None:
        looks = 0
        while not self._draining:
            self._freed.clear()
            try:
                seen = await self._spending.reader.head()
                if await self._start_some(group):
                    looks = 0
                    await asyncio.sleep(GATHER_SECONDS)
                    if self._in_vain > self._slots:
                        await asyncio.sleep(IN_VAIN_SECONDS)
                        await self._spending.reader.wait(seen, LOOKS[-1])
                elif len(self._running) >= self._slots:
                    await self._freed.wait()
                    await asyncio.sleep(GATHER_SECONDS)
                else:
                    pause = LOOKS[looks] if looks < len(LOOKS) else self._pace.poll_seconds
                    pause = self._no_longer_than(pause, await self._queue.seconds_to_next())
                    looks = 0 if await self._news(seen, pause) else looks + 1
            except Unavailable as away:
                log.warning("the queue is away", reason=str(away))
                await asyncio.sleep(away.retry_after)

    def _no_longer_than(self, pause: float, to_next: float | None) -> float:
        """Not past the moment when a job that was left alone may be looked at again, or one for later may start."""
        now = time.monotonic()
        again = min([pause, *(until - now for until in self._left_alone.values())])
        return max(0.02, again) if to_next is None else max(0.001, min(max(0.02, again), to_next))

    async def _news(self, seen: int, pause: float) -> bool:
        """Whether, within the pause, a slot became free or something was appended to the log."""
        waits = {
            asyncio.create_task(self._freed.wait()),
            asyncio.create_task(self._spending.reader.wait(seen, pause)),
        }
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
        await asyncio.gather(*(each for each in waits if each not in done), return_exceptions=True)
        return any(each.result() is True or each.result() > seen for each in done)

    async def _start_some(self, group: asyncio.TaskGroup) -> int:
        free = self._slots - len(self._running)
        if free <= 0:
            return 0
        now = time.monotonic()
        self._left_alone = {job: until for job, until in self._left_alone.items() if until > now}
        ready = await self._queue.ready(free, skipping=[*self._running, *self._left_alone])
        claimed = await self._leases.claim(ready, self._worker, self._pace.lease_seconds) if ready else {}
        if self._draining:  # since it was asked
            await self._leases.release(claimed)
            return 0
        for job_id, fence in claimed.items():
            self._running[job_id] = None
            self._grants[job_id] = fence
            self._leased_at[job_id] = now
            group.create_task(self._work_on(job_id), name=f"job {job_id}")
        return len(claimed)

    async def _work_on(self, job_id: UUID) -> None:
        try:
            attempt = self._running[job_id] = await self._attempt(job_id)
            seconds = await attempt.run()
            self._leave_alone(job_id, seconds)
            self._in_vain = 0 if seconds <= BEHIND_SECONDS else self._in_vain + 1
        except Unavailable as away:
            log.warning("a job waits", job=str(job_id), reason=str(away))
            self._leave_alone(job_id, away.retry_after)
        except Exception:
            # A bug with one job must not end the worker; its lease runs out and it is tried again.
            log.exception("a job failed unexpectedly", job=str(job_id))
            self._leave_alone(job_id, self._pace.lease_seconds)
        finally:
            self._running.pop(job_id, None)
            self._leased_at.pop(job_id, None)
            with suppress(Unavailable):
                await self._give_back(job_id)
            self._freed.set()
            if not self._running:
                self._idle.set()

    async def _release(self, jobs: Sequence[UUID]) -> dict[UUID, None]:
        await self._leases.release({job: self._grants.pop(job) for job in jobs})
        return dict.fromkeys(jobs)

    async def _attempt(self, job_id: UUID, number: int | None = None) -> AttemptRun:
        return await self.ATTEMPT.of(
            self._spending, self._worker, job_id, attempt=number, is_leased=partial(self._is_leased, job_id)
        )

    def _is_leased(self, job_id: UUID) -> bool:
        """Whether no other worker can think, until a request has arrived at its provider, that this one is dead."""
        leased_at = self._leased_at.get(job_id)
        return leased_at is not None and time.monotonic() - leased_at < self._pace.lease_seconds / 2

    def _leave_alone(self, job_id: UUID, seconds: float) -> None:
        self._left_alone[job_id] = time.monotonic() + seconds

    # --- living and dying ---

    async def _heartbeat(self) -> None:
        """Of the jobs that are really worked on: a lease that nobody could give back must run out."""
        while True:
            await asyncio.sleep(self._pace.heartbeat_seconds)
            if held := dict(self._grants):
                now = time.monotonic()
                with suppress(Unavailable):
                    for job_id in await self._leases.renew(held, self._pace.lease_seconds):
                        if job_id in self._leased_at:
                            self._leased_at[job_id] = now

    async def _watch_events(self) -> None:
        """Hear of jobs that were cancelled or given to another worker, of projects that go on, and of circuits."""
        types = {LlmJob.Cancelled.TYPE, LlmJob.AttemptLost.TYPE, Project.Resumed.TYPE, *NEWS}
        reader = self._spending.reader
        position: int | None = None
        while True:
            try:
                if position is None:
                    position = await reader.head()
                    self._spending.circuits.forget_all()
                head = await reader.wait(position, self._pace.poll_seconds * 5)
                for stored in await reader.read(position, 1_000_000, types=types, up_to=head):
                    self.heard(stored)
                position = max(position, head)
                await asyncio.sleep(LISTEN_SECONDS)
            except Unavailable as away:
                await asyncio.sleep(away.retry_after)

    def heard(self, stored: StoredEvent) -> None:
        """A job was cancelled, or an attempt lost: the call for it is aborted, where it runs here.

        The job's next attempt, which may already run here, is not the one that was lost. A project that was resumed
        need not wait for what was left alone because it was paused, nor jobs for a circuit that was open.
        """
        if stored.type in NEWS:
            self._spending.circuits.heard(stored)
        if stored.type == Project.Resumed.TYPE or stored.type in NEWS:
            self._left_alone.clear()
            self._in_vain = 0
            self._freed.set()
            return
        attempt = self._running.get(stored.stream_id)
        if attempt and stored.payload().get("attempt", attempt.attempt) == attempt.attempt:
            attempt.abort()

    async def _recover_lost(self) -> None:
        """Give jobs of silent workers back to the queue; the decide lets only one of us do it."""
        while True:
            await asyncio.sleep(self._pace.heartbeat_seconds)
            try:
                for lost in await self._queue.lost(self._pace.lease_seconds):
                    await self._recover(lost)
            except Unavailable as away:
                await asyncio.sleep(away.retry_after)

    async def _recover(self, lost: LostJob) -> None:
        try:
            await (await self._attempt(lost.job_id, lost.attempt)).lose()
        except Unavailable:
            raise
        except Exception:
            # Whatever is wrong with one, the calls of this worker go on, and so do the others that were lost.
            log.exception("a lost job cannot be given back", job=str(lost.job_id))

    async def _sweep_leases(self) -> None:
        """A job that was settled behind a dead worker's back leaves that worker's lease behind."""
        while True:
            with suppress(Unavailable):
                await self._leases.sweep(DEAD_SECONDS)
            await asyncio.sleep(SWEEP_SECONDS)
