"""The board of all jobs that are watched in this process: one reading of the log and of the drafts for everybody."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import UUID

import structlog

from api.streaming.watched import Watched
from commands.objects import Objects
from commands.ports import Keyring
from domain.drafting import Audience, Drafts, Hear, Wanted
from domain.errors import Unavailable
from domain.kernel import EVENT_TYPES
from domain.log import LogReader

MOST_WATCHERS: Final = 2_000
"""Connections at once; each job's text is held once, however many watch it."""
KEPT_CHARACTERS: Final = 1024 * 1024
"""How far a client that had caught up may fall behind before it is cut."""
CHUNK = 1_000
WAIT_SECONDS = 5.0
REST_SECONDS = 0.005
"""Between two readings of the log: it may have a thousand batches a second."""
LOOK_SECONDS = 1.0
"""How late a piece of text may be whose notification was lost."""
ATTEND_SECONDS = 1.0
REVOKED = "access_key.revoked"
log = structlog.get_logger("toybox.streams")


class Board:
    """With nobody watching it rests and keeps nothing."""

    def __init__(
        self,
        reader: LogReader,
        keyring: Keyring,
        objects: Objects,
        drafts: Drafts | None = None,
        audience: Audience | None = None,
        *,
        nearby: list[Hear] | None = None,
        kept: int = KEPT_CHARACTERS,
    ) -> None:
        self.kept = kept
        self.closing = False
        self._reader, self._keyring, self._objects = reader, keyring, objects
        self._drafts, self._audience = drafts, audience
        self._nearby: list[Hear] = [] if nearby is None else nearby
        self._jobs: dict[UUID, Watched] = {}
        self._shut_out: set[Callable[[UUID], None]] = set()
        self._noted: set[UUID] = set()
        self._note = asyncio.Event()
        self._position = 0
        self._watchers = 0
        self._runner: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()

    @asynccontextmanager
    async def watching(self, job_id: UUID, revoked: Callable[[UUID], None] | None = None) -> AsyncGenerator[Watched]:
        """The job as it is, and from now on as it changes; `revoked` hears of access keys that are no more."""
        if self._watchers >= MOST_WATCHERS:
            msg = f"{MOST_WATCHERS} streams are open here: poll GET /api/llm-jobs/{job_id}, or come back"
            raise Unavailable(msg, code="too_many_streams", retry_after=5)
        self._watchers += 1
        if revoked:
            self._shut_out.add(revoked)
        try:
            await self._begin()
            watched = self._jobs.get(job_id)
            if watched is None:
                watched = self._jobs[job_id] = Watched(job_id, self._reader, self._keyring, self._objects)
            watched.watchers += 1
            try:
                await watched.refresh()
                watched.must_be_read = self._audience is not None and await self._audience.expected(job_id)
                self._notice({job_id})
                yield watched
            finally:
                watched.watchers -= 1
                if not watched.watchers:
                    self._jobs.pop(job_id, None)
        finally:
            self._watchers -= 1
            if revoked:
                self._shut_out.discard(revoked)
            await self._rest()

    async def glance(self, job_id: UUID) -> Watched:
        """The job as it is now, without what is being written. NotFound where there is none."""
        watched = Watched(job_id, self._reader, self._keyring, self._objects)
        await watched.refresh()
        return watched

    async def ended(self, job_id: UUID, seconds: float) -> int | None:
        """The position of the job's end, if that comes in time."""
        async with self.watching(job_id) as watched:
            try:
                async with asyncio.timeout(seconds):
                    while not watched.is_over and not self.closing:
                        await watched.changed.wait()
            except TimeoutError:
                return None
            return watched.position if watched.is_over else None

    async def close(self) -> None:
        """Say goodbye to everybody: the process is stopping."""
        self.closing = True
        for each in self._jobs.values():
            each.wake()
        async with self._starting:
            await self._stop()

    # --- what runs while somebody watches ---

    async def _begin(self) -> None:
        async with self._starting:
            if self._runner is None:
                self._position = await self._reader.head()
                self._nearby.append(self._hear)
                self._runner = asyncio.create_task(self._run(), name="job-streams")

    async def _rest(self) -> None:
        async with self._starting:
            if not self._watchers:
                await self._stop()

    async def _stop(self) -> None:
        runner, self._runner = self._runner, None
        if runner:
            self._nearby.remove(self._hear)
            runner.cancel()
            await asyncio.gather(runner, return_exceptions=True)

    async def _run(self) -> None:
        duties: list[Callable[[], Any]] = [self._follow_log]
        if self._drafts:
            duties += [self._hear_of_drafts, self._read_drafts]
        if self._audience:
            duties.append(self._attend)
        async with asyncio.TaskGroup() as group:
            for each in duties:
                group.create_task(self._keep_on(each))

    async def _keep_on(self, duty: Callable[[], Any]) -> None:
        while True:
            try:
                await duty()
            except Unavailable as away:
                log.warning("job streams wait", reason=str(away))
                await asyncio.sleep(away.retry_after)
            except Exception:
                # A bug with one job must not leave all others without news; whoever watches hears again in a second.
                log.exception("job streams failed")
                await asyncio.sleep(LOOK_SECONDS)

    async def _follow_log(self) -> None:
        types = {REVOKED, *(each for each in EVENT_TYPES if each.startswith("llm_job."))}
        for watched in list(self._jobs.values()):  # after a failure: whatever was missed
            await watched.refresh()
        while True:
            head = await self._reader.wait(self._position, WAIT_SECONDS)
            if head <= self._position:
                continue
            found = await self._reader.read(self._position, CHUNK, types=types, up_to=head)
            for stored in found:
                if stored.type == REVOKED:
                    for each in list(self._shut_out):
                        each(stored.stream_id)
            for job_id in {each.stream_id for each in found} & self._jobs.keys():
                if watched := self._jobs.get(job_id):
                    await watched.refresh()
                    self._notice({job_id})
            self._position = found[-1].position if len(found) == CHUNK else head
            await asyncio.sleep(REST_SECONDS)

    def _notice(self, jobs: set[UUID] | frozenset[UUID]) -> None:
        if news := jobs & self._jobs.keys():
            self._noted |= news
            self._note.set()

    def _hear(self, job_id: UUID, attempt: int, start: int, text: str) -> None:
        """A piece that came to this very process."""
        if watched := self._jobs.get(job_id):
            has_hole = watched.take_drafts([(attempt, start, text)])
            watched.is_near = attempt == watched.attempt and not has_hole
            if has_hole:
                self._notice({job_id})

    async def _hear_of_drafts(self) -> None:
        assert self._drafts  # noqa: S101 -- else this is no duty
        async with self._drafts.listening() as heard:
            self._notice(set(self._jobs))  # what was written before it listened
            async for jobs in heard:
                self._notice(jobs)

    async def _read_drafts(self) -> None:
        while True:
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._note.wait()
            except TimeoutError:
                self._noted.update(self._jobs)
            self._note.clear()
            noted, self._noted = self._noted, set()
            asked = {each: wanted for each in noted if (job := self._jobs.get(each)) and (wanted := job.wanted)}
            if asked:
                await self._fetch(asked)

    async def _fetch(self, asked: dict[UUID, Wanted]) -> None:
        holes = await self._take(asked)
        if holes:  # a piece may have been written again, longer, after it was read
            await self._take({each: Wanted(asked[each].attempt, 0) for each in holes})

    async def _take(self, asked: dict[UUID, Wanted]) -> set[UUID]:
        assert self._drafts  # noqa: S101 -- else nobody asks
        drafts = await self._drafts.read(asked)
        texts = await self._keyring.unseal([each.sealed for each in drafts])
        found: dict[UUID, list[tuple[int, int, str]]] = {}
        for each, text in zip(drafts, texts, strict=True):
            if text is not None:  # its key was destroyed meanwhile
                found.setdefault(each.job_id, []).append((each.attempt, each.start, text))
        return {each for each, pieces in found.items() if each in self._jobs and self._jobs[each].take_drafts(pieces)}

    async def _attend(self) -> None:
        assert self._audience  # noqa: S101 -- else this is no duty
        while True:
            if present := [each.job_id for each in self._jobs.values() if each.must_be_read]:
                await self._audience.present(present)
            await asyncio.sleep(ATTEND_SECONDS)
