"""One job as this process knows it, for all who watch it here: its events, and its text as far as it was written."""

import asyncio
from collections.abc import Iterable
from decimal import Decimal
from typing import Final
from uuid import UUID

import structlog

from api.streaming.messages import Said, said
from commands.objects import Objects
from commands.ports import Keyring
from domain.costs import Cost
from domain.drafting import Wanted
from domain.errors import NotFound
from domain.ids import attempt_id, cost_id
from domain.kernel import evolve
from domain.llm_jobs import LlmJob
from domain.log import LogReader, StoredEvent
from domain.pricing import Usage
from domain.values import Text, money_text

ENDS: Final = frozenset({"completed", "failed", "cancelled"})
_ENDING: Final = frozenset({LlmJob.Completed.TYPE, LlmJob.Failed.TYPE, LlmJob.Cancelled.TYPE})
log = structlog.get_logger("toybox.streams")


class Watched:
    """Everybody reads from here at their own pace: nothing is kept for anybody in particular."""

    def __init__(self, job_id: UUID, reader: LogReader, keyring: Keyring, objects: Objects) -> None:
        self.job_id = job_id
        self.said: list[Said] = []
        """Its events; the number of each is its version."""
        self.status = "unknown"
        """Where the job stands, once everything up to there can be told."""
        self.attempt = 0
        self.text = ""
        """Of this attempt, without a hole, from its first character on."""
        self.whole: str | None = None
        """The answer as the log has it, once it does; also None where it was erased."""
        self.is_near = False
        """Whether its text is heard in this process, piece by piece: then nothing needs to be looked for."""
        self.must_be_read = False
        self.watchers = 0
        self.changed = asyncio.Event()
        self._reader, self._keyring, self._objects = reader, keyring, objects
        self._job: LlmJob | None = None
        self._refreshing = asyncio.Lock()

    @property
    def is_over(self) -> bool:
        """Whether it has its outcome, and nothing was asked of it since."""
        return self.status in ENDS

    @property
    def position(self) -> int:
        """Of its last event."""
        return self.said[-1].stored.position if self.said else 0

    @property
    def wanted(self) -> Wanted | None:
        """What is to be looked for among the drafts; None while nothing is written."""
        return Wanted(self.attempt, len(self.text)) if self.status == "running" and not self.is_near else None

    def wake(self) -> None:
        """Let everybody look again."""
        self.changed.set()
        self.changed = asyncio.Event()

    async def refresh(self) -> None:
        """Read what the log has more of it. NotFound where it has no such job."""
        async with self._refreshing:
            found = await self._reader.read_stream(self.job_id, after=len(self.said))
            if not self.said and not (found and found[0].type == LlmJob.Queued.TYPE):
                raise NotFound(f"there is no job {self.job_id}: POST /api/llm-jobs makes one")
            for stored in found:
                await self._take(stored)
        if found:
            self.wake()

    def take_drafts(self, drafts: Iterable[tuple[int, int, str]]) -> bool:
        """Attempts, starts and texts, in order; whether there is a hole before one of them."""
        for attempt, start, text in drafts:
            if attempt != self.attempt or self.whole is not None:
                continue
            if start > len(self.text):
                return True
            # A piece that was written again may reach further than what was read of it.
            self.text += text[len(self.text) - start :]
        self.wake()
        return False

    async def _take(self, stored: StoredEvent) -> None:
        """Whatever may fail comes first, so that a second try finds everything as it was."""
        more: dict[str, object] = {}
        whole: str | None = None
        if stored.type == LlmJob.Completed.TYPE:
            whole = await self._answer(stored)
            output = stored.payload()["output"]
            more["output"] = {"digest": output["digest"], "size": output["size"]}
            more |= {"erased": True} if whole is None else {}
            usage = stored.payload()["usage"]
            counted = Usage.model_validate(usage) if usage else None
            more["input_tokens"] = counted and counted.input_tokens
            more["output_tokens"] = counted and counted.output_tokens
        if stored.type in _ENDING:
            more["spent"] = await self._spent()
        event = await said(stored, self._keyring, **more)
        job = evolve(self._job, stored)
        assert isinstance(job, LlmJob)  # noqa: S101 -- its first event said so
        if stored.type == LlmJob.Started.TYPE:
            self.attempt, self.text, self.is_near = job.attempt, "", False
        self.whole = whole if whole is not None or stored.type == LlmJob.Started.TYPE else self.whole
        self.said.append(event)
        self._job, self.status = job, job.status

    async def _answer(self, stored: StoredEvent) -> str | None:
        output = Text.model_validate(stored.payload()["output"])
        if output.sealed:
            return (await self._keyring.unseal([output.sealed]))[0]
        try:
            found = await self._objects.read(stored.project_id or self.job_id, output.digest)
        except NotFound as gone:
            log.warning("an answer is not there", job=str(self.job_id), reason=str(gone))
            return None
        return found.decode(errors="replace")

    async def _spent(self) -> str:
        """What all of its attempts have cost so far, as the log has it."""
        attempts = self._job.attempt if self._job else 0
        entries = [cost_id(attempt_id(self.job_id, number)) for number in range(1, attempts + 1)]
        total = Decimal(0)
        for history in (await self._reader.read_streams(entries)).values():
            cost: Cost | None = None
            for stored in history:
                cost = evolve(cost, stored)
            total += cost.amount if cost else 0
        return money_text(total)
