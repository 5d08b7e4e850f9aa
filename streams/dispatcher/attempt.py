"""One attempt of one job: prepare, admit, call, record. The only code that spends money."""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol, TypeVar
from uuid import UUID

import structlog

from commands.gathering import Gathering
from commands.handling import Caller, Command, Commands, Principal
from commands.llm_jobs import AdmitLlmJob, FailAttempt, LoseAttempt
from commands.models import LanguageModel, Message, ModelError, ModelReply, ModelRequest, Prices, TextDelta
from commands.objects import Objects
from commands.sequencer import Answer
from domain.errors import NotFound, Refused, ToyboxError, Unavailable
from domain.ids import attempt_id
from domain.llm_jobs import LlmJob
from domain.log import LogReader, StoredEvent
from domain.pricing import Quote, bound_of
from domain.values import INLINE_TEXT, Text
from streams.dispatcher.billing import Billing, output_price
from streams.dispatcher.drafting import Add, unwatched
from streams.dispatcher.outcomes import Reports, Timing
from streams.dispatcher.pace import Pace
from streams.dispatcher.targets import ELSEWHERE, Circuits, Way, key_of
from streams.prompts import Prompts, as_json, asked_in, job_of

RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)
BEHIND_SECONDS = 0.2
"""How long a job is left alone after it was looked at: the queue's read model may still show it as it was before."""
FIRST_TOKEN_SECONDS = 0.2
"""An answer that is whole so soon after its first token is not announced besides: its completion says when it began."""
T = TypeVar("T")
log = structlog.get_logger("toybox.dispatcher")


async def _no_news() -> bool:
    return False


class Models(Protocol):
    """Providers by name."""

    async def get(self, provider: str, project_id: UUID | None = None) -> LanguageModel:
        """The provider's client, with the key that pays for this project; Refused when there is none of either."""
        ...


@dataclass(frozen=True, slots=True)
class Spending:
    """What it takes to spend: commands to ask for permission, and everything that makes and prices a request."""

    commands: Commands
    reader: LogReader
    prompts: Prompts
    models: Models
    prices: Prices
    objects: Objects
    now: Callable[[], datetime]
    """The worker's clock; prices are those of its day."""
    pace: Pace = field(default_factory=Pace)
    circuits: Circuits = field(default_factory=Circuits)
    draft: Callable[[LlmJob, int], Add] = unwatched
    """Who shows an attempt's answer while it comes."""
    new_prices: Callable[[], Awaitable[bool]] = field(default=_no_news)
    """Looks for prices that are newer than `prices`; answers whether there are any."""
    told: set[str] = field(default_factory=set[str])
    """Oddities of providers' bills that were warned of."""
    history: Gathering[UUID, Sequence[StoredEvent]] = field(init=False, repr=False, compare=False)
    """A job's events as the log has them now; jobs that are asked for at the same time are read at once."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "history", Gathering(self.reader.read_streams))


@dataclass(frozen=True, slots=True)
class _Prepared:
    model: LanguageModel
    request: ModelRequest
    admission: Command


class AttemptRun:
    """An attempt in this worker, from the queue to its outcome in the log."""

    def __init__(
        self,
        spending: Spending,
        worker: str,
        job: LlmJob,
        attempt: int,
        queued: StoredEvent,
        *,
        is_leased: Callable[[], bool] = lambda: True,
        way: Way | None = None,
    ) -> None:
        self._way = way or Way(job.target)
        self._refused_as: str | None = None
        self._key_id: UUID | None = None
        self._with = spending
        self._worker = worker
        self._principal = Principal(f"worker:{worker}", frozenset({"*"}))
        self._queued = queued
        self._is_leased = is_leased
        self._started_at = 0.0
        self._first_token_ms: int | None = None
        self._announcing: asyncio.TimerHandle | None = None
        self._telling: asyncio.Task[None] | None = None
        self._calling: asyncio.Task[Any] | None = None
        self._aborted = False
        self._billing = Billing(spending.prices, self._way.target.provider, spending.now().date(), spending.told)
        self._say = Reports(job, attempt, self._billing, self._way.target)
        self.job = job
        self.attempt = attempt

    @classmethod
    async def of(
        cls,
        spending: Spending,
        worker: str,
        job_id: UUID,
        *,
        attempt: int | None = None,
        is_leased: Callable[[], bool] = lambda: True,
    ) -> "AttemptRun":
        """The next attempt of a queued job as the log has it now, or the one with this number."""
        history = await spending.history(job_id)
        job = job_of(job_id, history)
        if attempt is not None:
            return cls(spending, worker, job, attempt, history[0], is_leased=is_leased)
        way = await spending.circuits.way(
            job, spending.history, spending.now(), lambda provider: spending.models.get(provider, job.project_id)
        )
        return cls(spending, worker, job, job.attempt + 1, history[0], is_leased=is_leased, way=way)

    def abort(self) -> None:
        """Give up the call: its job was cancelled, or given to another worker. What it cost is recorded all the same.

        Only the call itself is interrupted: an admission or an outcome on its way to the log must get there.
        """
        if not self._aborted:
            self._aborted = True
            if self._calling:
                self._calling.cancel()

    async def lose(self) -> None:
        """Say that this attempt's worker fell silent."""
        await self._send(LoseAttempt(**self._say.address), f"lose|{self.job.id}|{self.attempt}")

    async def run(self) -> float:
        """See it through; answers for how many seconds its job is then best left alone."""
        if self.job.status != "queued":
            return BEHIND_SECONDS
        if self._way.wait is not None:
            return self._way.wait
        try:
            prepared = await self._prepare()
        except (Refused, NotFound) as problem:
            return await self._turn_away(problem)
        # Broken off, it may have been granted all the same: given up here, it would be paid for without a call.
        return await _until_available("an admission waits", self.job, lambda: self._admit(prepared))

    async def _turn_away(self, problem: Refused | NotFound) -> float:
        if problem.code == "price_unknown" and await self._with.new_prices():
            return 0  # somebody has approved a price meanwhile: look again
        await self._send(self._say.denied(problem), f"deny|{self.job.id}|{self.job.version}")
        return BEHIND_SECONDS

    async def _admit(self, prepared: _Prepared) -> float:
        # The job's version is part of the key: after parking it is admitted anew under the same attempt number.
        answer = await self._send(prepared.admission, f"admit|{self.job.id}|{self.job.version}")
        if answer is None:
            if self._refused_as in ELSEWHERE:
                self._with.circuits.forget(self.job)
                return BEHIND_SECONDS
            return self._with.pace.again_seconds
        history = [each for each in answer.events if each.stream_id == self.job.id]
        if answer.repeated:  # by a connection that broke behind the commit: much may have happened since
            history = await self._with.history(self.job.id)
        if admitted := _admitted(history, self.attempt):
            self._aborted = self._aborted or history[-1].type != LlmJob.Started.TYPE
            queue_ms = _milliseconds(history[-1].recorded_at, self._queued.recorded_at)
            await self._call(_shaped(prepared, admitted["max_output_tokens"]), queue_ms)
        return BEHIND_SECONDS

    # --- before the call ---

    async def _prepare(self) -> _Prepared:
        job, target = self.job, self._way.target
        model = await self._with.models.get(target.provider, job.project_id)
        self._key_id = key_of(model)
        messages = await self._with.prompts.messages(job, self._queued)
        quote = self._with.prices.quote(target.provider, target.model, self._billing.on)
        request = self._request(messages, job.max_output_tokens, deadline=0)
        conditions, read = model.conditions(request), request.input_upper_bound

        def most(output: int) -> Decimal:
            return bound_of(quote, input_upper_bound=read, max_output_tokens=output, conditions=conditions)

        bound = most(job.max_output_tokens)
        least = bound if job.min_output_tokens is None else most(1)
        return _Prepared(model, request, await self._admission(request, bound, least, quote))

    def _request(self, messages: tuple[Message, ...], output: int, *, deadline: float) -> ModelRequest:
        return ModelRequest(
            attempt_id=attempt_id(self.job.id, self.attempt),
            model=self._way.target.model,
            messages=messages,
            max_output_tokens=output,
            temperature=self.job.temperature,
            deadline=deadline,
            may_leave=lambda: self._withheld() is None,
        )

    async def _admission(self, request: ModelRequest, bound: Decimal, least: Decimal, quote: Quote) -> AdmitLlmJob:
        pace = self._with.pace
        return AdmitLlmJob(
            **self._say.address,
            worker=self._worker,
            **dict(self._way.target),
            bound=bound,
            input_bound=request.input_upper_bound,
            output_bound=request.max_output_tokens,
            output_price=output_price(self.job, bound, least),
            rate_id=quote.name,
            request=await self._record_of(request.messages),
            hold_seconds=self.job.timeout_seconds + pace.grace_seconds,
            lease_seconds=pace.lease_seconds,
        )

    async def _record_of(self, messages: tuple[Message, ...]) -> str | Text:
        """What is sent, word for word: mostly the job's own messages, which were sealed when it was queued."""
        text = as_json(messages)
        own = self.job.messages
        if own is not None and own.digest == hashlib.sha256(text.encode()).hexdigest():
            return asked_in(self._queued) or text
        return await self._keep(text)

    # --- the call and its outcome ---

    async def _call(self, prepared: _Prepared, queue_ms: int) -> None:
        if self._started_at:
            raise AssertionError("an attempt calls once, or it is paid for twice")
        self._started_at = time.monotonic()
        deadline = self._started_at + self.job.timeout_seconds
        asked = prepared.request
        request = self._request(asked.messages, asked.max_output_tokens, deadline=deadline)
        if withheld := self._withheld():
            await self._record(withheld)
            return
        try:
            reply = await self._answer(prepared.model, request)
        except ModelError as failure:
            # A request that was withheld at the last moment says nothing of its provider.
            withheld = None if failure.sent else self._withheld()
            await self._record(withheld or self._say.failed(failure, self._key_id))
        else:
            await self._take(reply, queue_ms)

    def _withheld(self) -> FailAttempt | None:
        """Why the request may not leave; None while it may."""
        if self._aborted:
            return self._say.never_sent("cancelled", retryable=False)
        if self._is_leased():
            return None
        # Whoever was silent for so long may be thought dead: its request could reach the provider after the job's next
        # attempt has been answered.
        return self._say.never_sent("lease_lost", retryable=True)

    async def _answer(self, model: LanguageModel, request: ModelRequest) -> ModelReply:
        """The provider's answer. A call that nobody wants any more ends as a ModelError that says what it may cost."""
        self._calling = asyncio.current_task()
        try:
            return await self._stream(model, request)
        except asyncio.CancelledError as stopped:
            task = asyncio.current_task()
            if not self._aborted or task is None or task.uncancel() > 0:
                raise
            if isinstance(stopped.__cause__, ModelError):
                raise stopped.__cause__ from None
            raise ModelError("cancelled", "the job was cancelled during its call", sent=True) from None
        finally:
            self._calling = None
            if self._announcing:
                self._announcing.cancel()

    async def _stream(self, model: LanguageModel, request: ModelRequest) -> ModelReply:
        draft = self._with.draft(self.job, self.attempt)
        async with aclosing(model.stream(request)) as pieces:
            async for piece in pieces:
                if not isinstance(piece, TextDelta):
                    return piece
                draft(piece.text)
                if self._first_token_ms is None:
                    self._first_token_ms = self._since_start()
                    self._announcing = asyncio.get_running_loop().call_later(FIRST_TOKEN_SECONDS, self._announce)
        raise ModelError("cut_stream", "the provider's answer ended without a result", sent=True)

    async def _take(self, reply: ModelReply, queue_ms: int) -> None:
        """Keep the answer. Where its text cannot be kept, its cost still can."""
        if unfinished := self._say.unfinished(reply):
            await self._record(unfinished)
            return
        timing: Timing = {
            "queue_ms": queue_ms,
            "first_token_ms": self._first_token_ms,
            "total_ms": self._since_start(),
        }
        try:
            output = await _until_available("an answer waits", self.job, lambda: self._keep(reply.text))
            taken = await self._record(self._say.answered(reply, output, timing))
            problem = Refused("it was refused")
        except Refused as no_place:
            taken, problem = False, no_place
        if not taken:
            await self._record(self._say.not_kept(reply, problem), "cost")

    async def _record(self, outcome: Command, key: str = "outcome") -> bool:
        """The outcome must reach the log: nobody else knows it. Tried until it does, or this worker ends."""
        key = f"{key}|{self.job.id}|{self.attempt}"
        if self._telling:
            await asyncio.wait([self._telling])  # how it began stands before how it ended
        return await _until_available("an outcome waits", self.job, lambda: self._send(outcome, key)) is not None

    def _announce(self) -> None:
        # Beside the stream, which must not wait for the log.
        self._telling = asyncio.create_task(self._tell_of_first_token(self._first_token_ms or 0))

    async def _tell_of_first_token(self, milliseconds: int) -> None:
        # Nice to know while the answer goes on, and not worth a second try: the completion says it again.
        with suppress(Unavailable):
            await self._send(self._say.begun(milliseconds), f"first|{self.job.id}|{self.attempt}")

    def _since_start(self) -> int:
        return round((time.monotonic() - self._started_at) * 1000)

    # --- words to the write side ---

    async def _send(self, command: Command, key: str) -> Answer | None:
        """The log's answer; None where it refused."""
        caller = Caller(
            self._principal,
            "worker",
            key,
            correlation_id=self._queued.correlation_id,
            causation_id=self._queued.command_id,
            trace_id=self._queued.trace_id,
        )
        try:
            return await self._with.commands.send(command, caller)
        except Unavailable:
            raise
        except ToyboxError as refusal:
            self._refused_as = refusal.code
            log.info("refused", job=str(self.job.id), command=type(command).__name__, because=str(refusal))
            return None

    async def _keep(self, text: str) -> str | Text:
        """Short text travels in the event; an agent's result and long text lie in the object store."""
        body = text.encode()
        if self.job.agent_id is None and len(body) <= INLINE_TEXT:
            return text
        stored = await self._with.objects.put(self.job.project_id or self.job.id, body)
        return Text(digest=stored.digest, size=stored.size)


async def _until_available(saying: str, job: LlmJob, step: Callable[[], Awaitable[T]]) -> T:
    number = 0
    while True:
        try:
            return await step()
        except Unavailable as away:
            log.warning(saying, job=str(job.id), reason=str(away))
            await asyncio.sleep(RETRY_SECONDS[min(number, len(RETRY_SECONDS) - 1)])
            number += 1


def _admitted(history: Sequence[StoredEvent], attempt: int) -> Mapping[str, Any] | None:
    """What the admission of this attempt says; None where it was not admitted."""
    said = (each.payload() for each in reversed(history) if each.type == LlmJob.Admitted.TYPE)
    return next((each for each in said if each["attempt"] == attempt), None)


def _shaped(prepared: _Prepared, output: int) -> _Prepared:
    """With as many output tokens as were admitted: budgets may have had no room for more."""
    if output == prepared.request.max_output_tokens:
        return prepared
    return replace(prepared, request=replace(prepared.request, max_output_tokens=output))


def _milliseconds(later: datetime, earlier: datetime) -> int:
    return max(0, round((later - earlier).total_seconds() * 1000))
