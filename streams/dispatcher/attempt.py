"""One attempt of one job: prepare, admit, call, record. The only code that spends money."""

import asyncio
import time
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Protocol, TypedDict
from uuid import UUID

import orjson
import structlog

from commands.handling import Caller, Command, Commands, Principal
from commands.llm_jobs import AdmitLlmJob, CompleteAttempt, DenyLlmJob, FailAttempt, LoseAttempt
from commands.models import LanguageModel, Message, ModelError, ModelReply, ModelRequest, Rates, TextDelta
from commands.objects import Objects
from domain.costs import CostLine
from domain.errors import NotFound, Refused, ToyboxError, Unavailable
from domain.ids import attempt_id
from domain.llm_jobs import LlmJob
from domain.log import LogReader, StoredEvent
from domain.rates import Rate, UnknownRate, bound_of, lines_of
from domain.values import INLINE_TEXT, Text, TokenUsage
from streams.prompts import Prompts

LEASE_SECONDS = 10
GRACE_SECONDS = 60
"""How much longer than the attempt's deadline its hold lasts: time to record the outcome, also after a restart."""
RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)
log = structlog.get_logger("toybox.dispatcher")


class Models(Protocol):
    """Providers by name."""

    async def get(self, provider: str) -> LanguageModel:
        """The provider's client; Refused when it is not registered or has no key."""
        ...


@dataclass(frozen=True, slots=True)
class Spending:
    """What it takes to spend: commands to ask for permission, and everything that makes and prices a request."""

    commands: Commands
    reader: LogReader
    prompts: Prompts
    models: Models
    rates: Rates
    objects: Objects


class _Address(TypedDict):
    job_id: UUID
    project_id: UUID | None
    phase: str | None
    agent_id: UUID | None
    attempt: int


class _Bill(TypedDict):
    usage: TokenUsage | None
    lines: list[CostLine]
    amount: Decimal | None


@dataclass(frozen=True, slots=True)
class _Prepared:
    model: LanguageModel
    request: ModelRequest
    rate: Rate
    bound: Decimal


class AttemptRun:
    """An attempt in this worker, from the queue to its outcome in the log."""

    def __init__(self, spending: Spending, worker: str, job: LlmJob, attempt: int, queued: StoredEvent) -> None:
        self._with = spending
        self._worker = worker
        self._principal = Principal(f"worker:{worker}", frozenset({"*"}))
        self._queued = queued
        self._started_at = 0.0
        self._first_token_at: float | None = None
        self._task: asyncio.Task[None] | None = None
        self._aborted = False
        self.job = job
        self.attempt = attempt

    @classmethod
    async def of(cls, spending: Spending, worker: str, job_id: UUID, attempt: int | None = None) -> "AttemptRun":
        """The next attempt of a job as the log has it now, or the one with this number."""
        job = await spending.prompts.job(job_id)
        queued = (await spending.reader.read_stream(job_id))[0]
        return cls(spending, worker, job, job.attempt + 1 if attempt is None else attempt, queued)

    def abort(self) -> None:
        """Give up the call: its job was cancelled, or given to another worker."""
        if self._task and not self._aborted:
            self._aborted = True
            self._task.cancel()

    async def lose(self) -> None:
        """Say that this attempt's worker fell silent."""
        await self._send(LoseAttempt(**self._address()), f"lose|{self.job.id}|{self.attempt}")

    async def run(self) -> bool:
        """See it through. False when the job could not be admitted now, for instance because its project is paused."""
        if self.job.status != "queued":
            return True
        self._task = asyncio.current_task()
        try:
            prepared = await self._prepare()
        except (Refused, NotFound) as problem:
            kind = "price_unknown" if isinstance(problem, UnknownRate) else "invalid_request"
            denial = DenyLlmJob(**self._address(), kind=kind, reason=str(problem))
            return await self._send(denial, f"deny|{self.job.id}|{self.job.version}")
        # The job's version is part of the key: after parking it is admitted anew under the same attempt number.
        if not await self._send(await self._admission(prepared), f"admit|{self.job.id}|{self.job.version}"):
            return False
        admitted = await self._with.reader.read_stream(self.job.id)
        if admitted[-1].type == LlmJob.Parked.TYPE:
            return True
        queue_ms = _milliseconds(admitted[-1].recorded_at, self._queued.recorded_at)
        self._started_at = time.monotonic()
        deadline = self._started_at + self.job.timeout_seconds
        await self._call(prepared.model, replace(prepared.request, deadline=deadline), prepared.rate, queue_ms)
        return True

    # --- before the call ---

    async def _prepare(self) -> _Prepared:
        job = self.job
        model = await self._with.models.get(job.provider)
        messages = await self._with.prompts.messages(job)
        rate = self._with.rates.rate(job.provider, job.model, self._queued.recorded_at.date())
        request = ModelRequest(
            attempt_id=attempt_id(job.id, self.attempt),
            model=job.model,
            messages=messages,
            max_output_tokens=job.max_output_tokens,
            temperature=job.temperature,
            deadline=0,
        )
        return _Prepared(model, request, rate, bound_of(request.input_upper_bound, job.max_output_tokens, rate))

    async def _admission(self, prepared: _Prepared) -> Command:
        return AdmitLlmJob(
            **self._address(),
            worker=self._worker,
            provider=self.job.provider,
            model=self.job.model,
            bound=prepared.bound,
            rate_id=prepared.rate.rate_id,
            request=await self._keep(_as_json(prepared.request.messages)),
            hold_seconds=self.job.timeout_seconds + GRACE_SECONDS,
            lease_seconds=LEASE_SECONDS,
        )

    # --- the call and its outcome ---

    async def _call(self, model: LanguageModel, request: ModelRequest, rate: Rate, queue_ms: int) -> None:
        try:
            reply = await self._stream(model, request)
        except ModelError as failure:
            await self._record(self._failure(failure, rate))
        except asyncio.CancelledError as stopped:
            # Cancelled because nobody wants the answer: what the call cost until now still counts.
            if not self._aborted or self._task is None:
                raise
            self._task.uncancel()
            how_far = stopped.__cause__
            if not isinstance(how_far, ModelError):
                how_far = ModelError("cancelled", "the job was cancelled during its call", sent=True)
            await self._record(self._failure(how_far, rate))
        else:
            await self._record(await self._completion(reply, rate, queue_ms))

    async def _stream(self, model: LanguageModel, request: ModelRequest) -> ModelReply:
        async with aclosing(model.stream(request)) as pieces:
            async for piece in pieces:
                if not isinstance(piece, TextDelta):
                    return piece
                self._first_token_at = self._first_token_at or time.monotonic()
        raise ModelError("cut_stream", "the provider's answer ended without a result", sent=True)

    async def _completion(self, reply: ModelReply, rate: Rate, queue_ms: int) -> Command:
        ended_at, first = time.monotonic(), self._first_token_at
        return CompleteAttempt(
            **self._address(),
            **_bill(reply.usage, self._rate_of(reply.model, rate)),
            output=await self._keep(reply.text),
            model=reply.model,
            response_id=reply.response_id,
            finish_reason=reply.finish_reason,
            queue_ms=queue_ms,
            first_token_ms=None if first is None else round((first - self._started_at) * 1000),
            total_ms=round((ended_at - self._started_at) * 1000),
        )

    def _rate_of(self, model: str, admitted: Rate) -> Rate:
        """The rate of the model that answered, where it is known by its own name: aliases resolve to dated models."""
        try:
            return self._with.rates.rate(self.job.provider, model, self._queued.recorded_at.date())
        except UnknownRate:
            return admitted

    def _failure(self, failure: ModelError, rate: Rate) -> Command:
        return FailAttempt(
            **self._address(),
            **_bill(failure.usage if failure.may_cost else None, rate),
            kind=failure.kind,
            reason=str(failure),
            retryable=failure.retryable,
            retry_after_seconds=failure.retry_after,
            sent=failure.may_cost,
        )

    async def _record(self, outcome: Command) -> None:
        """The outcome must reach the log: nobody else knows it. Tried until it does, or this worker ends."""
        number = 0
        while True:
            try:
                taken = await self._send(outcome, f"outcome|{self.job.id}|{self.attempt}")
            except Unavailable as away:
                log.warning("an outcome waits", job=str(self.job.id), reason=str(away))
                await asyncio.sleep(RETRY_SECONDS[min(number, len(RETRY_SECONDS) - 1)])
                number += 1
            else:
                if not taken and isinstance(outcome, CompleteAttempt):
                    # Its text cannot be kept, for instance because the project's key was destroyed; its cost can.
                    await self._send(_cost_only(outcome), f"cost|{self.job.id}|{self.attempt}")
                return

    # --- words to the write side ---

    async def _send(self, command: Command, key: str) -> bool:
        caller = Caller(
            self._principal,
            "worker",
            key,
            correlation_id=self._queued.correlation_id,
            causation_id=self._queued.command_id,
            trace_id=self._queued.trace_id,
        )
        try:
            await self._with.commands.send(command, caller)
        except Unavailable:
            raise
        except ToyboxError as refusal:
            log.info("refused", job=str(self.job.id), command=type(command).__name__, because=str(refusal))
            return False
        return True

    async def _keep(self, text: str) -> str | Text:
        """Short text travels in the event; an agent's result and long text lie in the object store."""
        body = text.encode()
        if self.job.agent_id is None and len(body) <= INLINE_TEXT:
            return text
        stored = await self._with.objects.put(self.job.project_id or self.job.id, body)
        return Text(digest=stored.digest, size=stored.size)

    def _address(self) -> _Address:
        return {
            "job_id": self.job.id,
            "project_id": self.job.project_id,
            "phase": self.job.phase,
            "agent_id": self.job.agent_id,
            "attempt": self.attempt,
        }


def _as_json(messages: tuple[Message, ...]) -> str:
    return orjson.dumps([{"role": each.role, "content": each.content} for each in messages]).decode()


def _bill(usage: TokenUsage | None, rate: Rate) -> _Bill:
    if usage is None:
        return {"usage": None, "lines": [], "amount": None}
    lines = [CostLine(**asdict(line)) for line in lines_of(usage, rate)]
    return {"usage": usage, "lines": lines, "amount": sum((line.amount for line in lines), Decimal(0))}


def _cost_only(done: CompleteAttempt) -> FailAttempt:
    return FailAttempt(
        job_id=done.job_id,
        project_id=done.project_id,
        phase=done.phase,
        agent_id=done.agent_id,
        attempt=done.attempt,
        usage=done.usage,
        lines=done.lines,
        amount=done.amount,
        kind="not_kept",
        reason="the answer could not be recorded",
        retryable=False,
        sent=True,
    )


def _milliseconds(later: datetime, earlier: datetime) -> int:
    return max(0, round((later - earlier).total_seconds() * 1000))
