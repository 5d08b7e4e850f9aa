"""Writes answers down while they come, beside the call and never in its way: a courtesy to those who watch."""

import asyncio
from collections.abc import Callable
from uuid import UUID

import structlog

from commands.ports import Keyring
from domain.drafting import Draft, Drafts, Hear
from domain.errors import ToyboxError, Unavailable
from domain.llm_jobs import LlmJob

PAUSE_SECONDS = 0.02
"""Between two writes of a process: a first piece goes out at once, what comes meanwhile of all calls goes together."""
KEPT_CHARACTERS = 256 * 1024
"""How much of one answer may wait to be written. An answer that is further ahead is not watched any more, but told
whole once it is there."""
AWAY_SECONDS = 0.5
Add = Callable[[str], None]
log = structlog.get_logger("toybox.drafts")


def unwatched(_job: LlmJob, _attempt: int) -> Add:
    """Nobody can watch this answer."""
    return lambda _: None


class _Answer:
    """One attempt's text on its way out."""

    __slots__ = ("_drafter", "_flying", "_pieces", "_size", "attempt", "is_given_up", "job_id", "start", "subject")

    def __init__(self, drafter: "Drafter", job: LlmJob, attempt: int) -> None:
        self._drafter = drafter
        self.job_id, self.attempt = job.id, attempt
        self.subject: UUID = job.project_id or job.id
        self.start = 0
        """How many characters were written."""
        self.is_given_up = False
        self._pieces: list[str] = []
        self._flying = ""
        self._size = 0

    def add(self, text: str) -> None:
        """The next piece; takes no time."""
        if not text or self.is_given_up:
            return
        if not _is_whole(text):
            self.give_up()
            return
        self._drafter.say(self, self.start + self._size, text)
        self._pieces.append(text)
        self._size += len(text)
        if self._size > KEPT_CHARACTERS:
            self.give_up()
        else:
            self._drafter.offer(self)

    def take(self) -> str:
        """What is to be written; what was taken and not written is taken again, and may have grown."""
        self._flying += "".join(self._pieces)
        self._pieces.clear()
        return self._flying

    def written(self) -> None:
        """What was taken is there."""
        self.start += len(self._flying)
        self._size -= len(self._flying)
        self._flying = ""

    def give_up(self) -> None:
        """With a hole in it, the rest is of no use."""
        self.is_given_up = True
        self._pieces.clear()
        self._flying = ""


class Drafter:
    """One for all calls of a process: many answers, one write."""

    def __init__(self, drafts: Drafts, keyring: Keyring, *, pause: float = PAUSE_SECONDS) -> None:
        self._drafts = drafts
        self._keyring = keyring
        self._pause = pause
        self.nearby: list[Hear] = []
        """Who hears every piece at once, because they are in the same process; they come and go as they like."""
        self._waiting: dict[tuple[UUID, int], _Answer] = {}
        self._offered = asyncio.Event()

    def begin(self, job: LlmJob, attempt: int) -> Add:
        """An attempt begins to answer: give its pieces to what this returns."""
        return _Answer(self, job, attempt).add

    def offer(self, answer: _Answer) -> None:
        """It has something to write."""
        self._waiting[answer.job_id, answer.attempt] = answer
        self._offered.set()

    def say(self, answer: _Answer, start: int, text: str) -> None:
        """To those who are near."""
        for hear in self.nearby:
            try:
                hear(answer.job_id, answer.attempt, start, text)
            except Exception:
                # A bug of somebody who watches must not end a call that costs money.
                log.exception("an answer was not heard", job=str(answer.job_id))

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._offered.wait()
            self._offered.clear()
            taken, self._waiting = list(self._waiting.values()), {}
            try:
                await self._write(taken)
            except Unavailable as away:
                log.warning("answers in the making cannot be written; they go on", reason=str(away))
                for each in taken:
                    self.offer(each)
                await asyncio.sleep(AWAY_SECONDS)
            else:
                await asyncio.sleep(self._pause)

    async def _write(self, answers: list[_Answer]) -> None:
        taken = [(each, text) for each in answers if (text := each.take())]
        drafts = [(each, draft) for each, text in taken if (draft := await self._sealed(each, text))]
        if drafts:
            await self._drafts.write([draft for _, draft in drafts])
        for each, _ in drafts:
            each.written()

    async def _sealed(self, answer: _Answer, text: str) -> Draft | None:
        try:
            sealer = await self._keyring.sealer(answer.subject, create=False)
            return Draft(answer.job_id, answer.attempt, answer.start, sealer.seal(text))
        except Unavailable:
            raise
        except ToyboxError as problem:  # its key was destroyed
            log.info("an answer is not shown while it comes", job=str(answer.job_id), reason=str(problem))
            answer.give_up()
            return None


def _is_whole(text: str) -> bool:
    """Whether it holds no half of a character, which some servers cut in two."""
    return text.isascii() or not any("\ud800" <= each <= "\udfff" for each in text)
