"""A stream that is cut anywhere and goes on in any process adds up to the stored answer; and bugs that break it."""

import asyncio
from contextlib import aclosing
from pathlib import Path
from random import Random

import pytest

from adapters.objects.local import LocalObjects
from api.streaming import Board, Cursor, JobListener
from api.streaming import board as board_module
from api.streaming import listening as listening_module
from commands.llm_jobs import RequeueLlmJob
from domain.llm_jobs import LlmJob
from streams.dispatcher import drafting
from streams.dispatcher.drafting import Drafter
from tests.commands.staging import admit, complete, fail, queue
from tests.support.answering import Reader, parsed
from tests.support.drafts import BadDrafts
from tests.support.examples import seeds
from tests.support.story import Story

LETTERS = 'abc äöü€ 漢字 🦊🎻\n\u2028"\\'
CUTS = 50


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small messages, so that there is something to cut; and no patience."""
    monkeypatch.setattr(listening_module, "PIECE", 5)
    monkeypatch.setattr(listening_module, "CHUNK", 600)
    monkeypatch.setattr(board_module, "LOOK_SECONDS", 0.005)
    monkeypatch.setattr(drafting, "AWAY_SECONDS", 0.001)


class World:
    """One log, one table of drafts, a worker, and two processes with an API."""

    def __init__(self, story: Story, folder: Path, seed: int) -> None:
        self.story, self.random = story, Random(seed)
        self.drafts = BadDrafts(self.random)
        self.drafter = Drafter(self.drafts, story.keyring, pause=0)
        self.objects = LocalObjects(folder, story.keyring)
        self.boards = [
            Board(story.store, story.keyring, self.objects, self.drafts, nearby=nearby)
            for nearby in (None, self.drafter.nearby)
        ]
        self.job = story.id("job", seed)
        self.reader = Reader()
        self.cuts = 0

    async def work(self, failures: int) -> str:
        """What a worker does: attempts, of which the last one answers."""
        pieces = list[str]()
        for attempt in range(1, failures + 2):
            await self.story.send(admit(self.job, attempt=attempt, bound="0.01"))
            add = self.drafter.begin(self.story.state(LlmJob, self.job), attempt)
            pieces = [self.piece() for _ in range(self.random.randrange(300, 400))]
            for each in pieces:
                add(each)
                await asyncio.sleep(self.random.choice([0, 0, 0.0005]))
            if attempt <= failures:
                await self.story.send(fail(self.job, attempt=attempt, kind="cut_stream", retryable=True))
                self.story.clock.advance(120)
                await self.story.send(RequeueLlmJob(job_id=self.job))
        text = "".join(pieces)
        await self.story.send(complete(self.job, attempt=failures + 1, output=text))
        return text

    def piece(self) -> str:
        """As a model might cut its words."""
        return "".join(self.random.choices(LETTERS, k=self.random.randrange(0, 9)))

    async def read(self) -> None:
        """Connect here or there, get so many bytes, lose the connection in the middle of one."""
        while not self.reader.is_over:
            cursor = Cursor.of(self.reader.last_id or "")
            listener = JobListener(self.random.choice(self.boards), self.job, cursor)
            left, got = self.random.randrange(0, self.random.choice([200, 200, 200, 200, 2_500])), b""
            async with asyncio.timeout(5), aclosing(listener.chunks()) as chunks:
                async for chunk in chunks:
                    got += chunk[:left]
                    left -= len(chunk)
                    if left <= 0:
                        break
            for each in parsed(got):
                self.reader.take(each)
            self.cuts += 1

    async def check(self, failures: int = 1) -> None:
        """The whole of it."""
        await self.story.send(queue(self.job))
        writing = asyncio.create_task(self.drafter.run())
        try:
            text, _ = await asyncio.gather(self.work(failures), self.read())
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            for each in self.boards:
                await each.close()
        assert self.reader.text == text
        attempts = [each.data["attempt"] for each in self.reader.told if each.name in ("started", "restarted")]
        assert attempts == list(range(1, failures + 2)), "no attempt is told twice"
        versions = [each.id for each in self.reader.told]
        assert len(set(versions)) == len(versions), "no message is told twice"


@pytest.mark.parametrize("seed", seeds(8, fast=3))
async def test_fifty_cuts_anywhere_add_up_to_the_stored_text(story: Story, tmp_path: Path, seed: int) -> None:
    world = World(story, tmp_path, seed)
    await world.check(failures=seed % 3)
    assert world.cuts >= CUTS
    kinds = {each.name for each in world.reader.told}
    assert {"queued", "admitted", "started", "delta", "completed"} <= kinds
    assert ("restarted" in kinds) == (seed % 3 > 0)


def ids_that_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Cursor.after_text
    monkeypatch.setattr(Cursor, "after_text", lambda at, text: real(real(at, text), "x"))


def ids_that_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Cursor.after_text
    monkeypatch.setattr(Cursor, "after_text", lambda at, text: real(at, text[:-1]) if len(text) > 1 else real(at, text))


def restarts_that_keep_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def begun(at: Cursor, attempt: int) -> Cursor:
        return Cursor(at.version, attempt, at.characters, at.check)

    monkeypatch.setattr(Cursor, "begun", begun)


def events_that_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Cursor.after_event
    monkeypatch.setattr(Cursor, "after_event", lambda at: real(at) if at.version != 1 else real(real(at)))


@pytest.mark.thorough
@pytest.mark.parametrize(
    "plant", [ids_that_skip, ids_that_lag, restarts_that_keep_their_place, events_that_are_forgotten]
)
async def test_a_planted_bug_is_caught(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plant: object
) -> None:
    assert callable(plant)
    plant(monkeypatch)
    with pytest.raises((AssertionError, TimeoutError)):
        async with asyncio.timeout(3):
            await World(story, tmp_path, 1).check()


async def test_a_reader_whose_text_is_not_the_answer_begins_anew(story: Story, tmp_path: Path) -> None:
    """Whatever went wrong elsewhere: the log has the last word."""
    world = World(story, tmp_path, 3)
    await story.send(queue(world.job))
    text = await world.work(0)
    wrong = Cursor(3, 1).after_text("not what was said")
    async with aclosing(JobListener(world.boards[0], world.job, wrong).chunks()) as chunks:
        for each in parsed(b"".join([chunk async for chunk in chunks])):
            world.reader.take(each)
    assert world.reader.told[0].name == "restarted"
    assert world.reader.told[0].data["void"] == {"attempt": 1, "characters": 17}
    assert world.reader.text == text


def test_the_ids_that_are_told_are_read_as_they_were() -> None:
    at = Cursor().after_event().after_event().begun(1).after_text("Grüße 🦊")
    assert Cursor.of(at.id) == at
    assert at.id.startswith("2.1.7.")
    assert at.fits("Grüße 🦊 und mehr")
    assert not at.fits("Grüße ")
    assert not at.fits("Grüsse 🦊")
