"""Writing answers down while they come: many in one write, never in the way, given up where it makes no sense."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from commands.llm_jobs import CancelLlmJob
from domain.drafting import Wanted
from domain.errors import Unavailable
from domain.llm_jobs import LlmJob
from streams import watching
from streams.dispatcher import drafting
from streams.dispatcher.drafting import Drafter
from streams.watching import Watch
from tests.commands.staging import queue
from tests.streams.workshop import Workshop
from tests.support.drafts import MemoryAudience, MemoryDrafts
from tests.support.story import Story


class Counting(MemoryDrafts):
    """Counts its writes, and fails as often as it is told."""

    writes = 0
    fails = 0

    async def write(self, drafts: object) -> None:
        self.writes += 1
        if self.fails:
            self.fails -= 1
            raise Unavailable("away")
        await super().write(drafts)  # type: ignore[arg-type]


class Desk:
    """A drafter that runs, and the jobs it writes for."""

    def __init__(self, story: Story) -> None:
        self.story, self.drafts = story, Counting()
        self.drafter = Drafter(self.drafts, story.keyring, pause=0.01)

    async def job(self, name: str = "job") -> LlmJob:
        job = self.story.id(name)
        await self.story.given(queue(job))
        return self.story.state(LlmJob, job)

    async def text(self, job: UUID) -> str:
        found = await self.drafts.read({job: Wanted(1, 0)})
        assert [each.start for each in found] == sorted({each.start for each in found})
        return "".join([str(await self.story.unsealed(each.sealed)) for each in found])

    async def until(self, job: UUID, text: str) -> None:
        async with asyncio.timeout(3):
            while await self.text(job) != text:  # noqa: ASYNC110 -- tables tell nobody
                await asyncio.sleep(0.005)


@pytest.fixture
async def desk(story: Story, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    monkeypatch.setattr(drafting, "AWAY_SECONDS", 0.01)
    made = Desk(story)
    running = asyncio.create_task(made.drafter.run())
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_what_comes_together_is_written_together(desk: Desk) -> None:
    jobs = [await desk.job(str(number)) for number in range(20)]
    adds = [desk.drafter.begin(each, 1) for each in jobs]
    for piece in ("The ", "", "answer", "."):
        for add in adds:
            add(piece)
    for each in jobs:
        await desk.until(each.id, "The answer.")
    assert desk.drafts.writes == 1


async def test_a_write_that_fails_is_made_again_with_what_came_since(desk: Desk) -> None:
    job = await desk.job()
    desk.drafts.fails = 2
    add = desk.drafter.begin(job, 1)
    for number in range(10):
        add(f"{number} ")
        await asyncio.sleep(0.004)
    await desk.until(job.id, "".join(f"{number} " for number in range(10)))


async def test_an_answer_that_is_too_far_ahead_is_not_kept_in_memory(desk: Desk) -> None:
    job = await desk.job()
    desk.drafts.fails = 1_000_000
    add = desk.drafter.begin(job, 1)
    for _ in range(drafting.KEPT_CHARACTERS // 1_000 + 1):
        add("x" * 1_000)
    assert add.__self__.is_given_up  # type: ignore[attr-defined]
    desk.drafts.fails = 0
    await asyncio.sleep(0.05)
    assert await desk.text(job.id) == ""


async def test_half_a_character_and_a_destroyed_key_end_the_draft_and_nothing_else(desk: Desk) -> None:
    broken, erased, whole = [await desk.job(name) for name in ("broken", "erased", "whole")]
    await desk.story.keyring.destroy(erased.id)
    for job in (broken, erased, whole):
        add = desk.drafter.begin(job, 1)
        add("\ud83e" if job is broken else "begun")
        add(" and ended")
    await desk.until(whole.id, "begun and ended")
    assert {each.job_id for each in desk.drafts.rows.values()} == {whole.id}


async def test_who_is_near_hears_each_piece_with_its_place(desk: Desk) -> None:
    job = await desk.job()
    heard: list[tuple[UUID, int, int, str]] = []
    desk.drafter.nearby.append(lambda *piece: heard.append(piece))
    add = desk.drafter.begin(job, 1)
    for piece in ("one ", "two ", "three"):
        add(piece)
        await asyncio.sleep(0.02)
    assert [(start, text) for _, _, start, text in heard] == [(0, "one "), (4, "two "), (8, "three")]


async def test_a_listener_with_a_bug_does_not_break_the_call(desk: Desk) -> None:
    def bug(*_: object) -> None:
        raise ZeroDivisionError

    job = await desk.job()
    desk.drafter.nearby.append(bug)
    desk.drafter.begin(job, 1)("all the same")
    await desk.until(job.id, "all the same")


async def test_a_worker_shows_what_it_is_answered(shop: Workshop) -> None:
    drafts = MemoryDrafts()
    drafter = Drafter(drafts, shop.story.keyring, pause=0)
    object.__setattr__(shop.spending, "draft", drafter.begin)
    running = asyncio.create_task(drafter.run())
    job = await shop.queue_job()
    shop.model.pause = asyncio.Event()
    shop.model.go.set()
    async with shop.worker():
        await shop.until("llm_job.first_token")
        async with asyncio.timeout(3):
            while not drafts.rows:  # noqa: ASYNC110 -- tables tell nobody
                await asyncio.sleep(0.005)
        (row,) = drafts.rows.values()
        assert await shop.story.unsealed(row.sealed) == shop.model.text
        assert (row.job_id, row.attempt) == (job, 1)
        shop.model.pause.set()
        await shop.until("llm_job.completed")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_job_that_is_left_alone_is_cancelled_once_and_one_that_has_ended_is_forgotten(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.005)
    audience = MemoryAudience()
    left, read, ended, never = (story.id(name) for name in ("left", "read", "ended", "never"))
    for job in (left, read, ended):
        await story.given(queue(job))
    await story.given(CancelLlmJob(job_id=ended))
    for job in (left, read, ended, never):
        await audience.expect(job, 10)
    audience.now = 11
    await audience.present([read])
    watch = asyncio.create_task(Watch(MemoryDrafts(), audience, story.commands).run())
    async with asyncio.timeout(3):
        while set(audience.grace) != {read}:  # noqa: ASYNC110 -- tables tell nobody
            await asyncio.sleep(0.005)
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
    cancelled = [each for each in story.events if each.type == "llm_job.cancelled"]
    assert [(each.stream_id, each.payload()["reason"]) for each in cancelled] == [
        (ended, "requested"),
        (left, "disconnected"),
    ]
    assert story.state(LlmJob, read).status == "queued"
