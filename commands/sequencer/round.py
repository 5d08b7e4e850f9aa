"""The decisions of one batch: requests in, events and answers out, each decision seeing the ones before it."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from commands.ports import CommandRow, KnownCommand, Sealer
from commands.sequencer.cache import PAGE, AggregateCache
from commands.work import Need, UnitOfWork
from domain.errors import Conflict, NotFound, Refused, ToyboxError
from domain.kernel import Aggregate, payload_bytes
from domain.log import StoredEvent


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command did: where in the log, and the version of each aggregate it changed.

    `position` is the last event's, or the log's head for a command that needed no event: a reader that has reached
    it sees this command's effect.
    """

    command_id: UUID
    position: int
    first: int | None
    versions: Mapping[UUID, int]
    repeated: bool = False
    events: Sequence[StoredEvent] = ()
    """What it appended; of a repeated command the log has to be asked."""

    @property
    def subject(self) -> UUID | None:
        """The aggregate that the command was about: the one that its first event belongs to."""
        return next(iter(self.versions), None)


@dataclass(slots=True)
class Request:
    """One command on its way through the sequencer."""

    command_id: UUID
    digest: bytes
    actor: str
    decide: Callable[[UnitOfWork], None]
    streams: Sequence[UUID] = ()
    expected: Mapping[UUID, int] = field(default_factory=dict[UUID, int])
    correlation_id: UUID | None = None
    causation_id: UUID | None = None
    trace_id: str | None = None
    key_id: UUID | None = None
    sealer: Sealer | None = None
    patience: float = 10.0
    future: asyncio.Future[Answer] = field(init=False)
    give_up_at: float = field(init=False)


class Offender(Exception):
    """A request broke the rules of deciding: what it touched may hold decisions that nobody took."""

    def __init__(self, request: Request, error: Exception, touched: Iterable[UUID]) -> None:
        super().__init__(str(error))
        self.request, self.error, self.touched = request, error, frozenset(touched)


class Behind(Exception):
    """Too much happened in these streams to be folded under the lock: catch up, then begin again."""

    def __init__(self, streams: Iterable[UUID]) -> None:
        super().__init__("streams to catch up with")
        self.streams = frozenset(streams)


class Loaded:
    """The streams read under the lock of one batch, over the process's cache of aggregates.

    With `undoable`, each is kept as it was before the batch, so that a decision can be taken back.
    """

    def __init__(self, cache: AggregateCache, *, undoable: bool = False) -> None:
        self._cache = cache
        self._known: set[UUID] = set()
        self._decided_on = False
        self._before: dict[UUID, Aggregate | None] | None = {} if undoable else None

    def __contains__(self, stream_id: UUID) -> bool:
        return stream_id in self._known

    def __getitem__(self, stream_id: UUID) -> Aggregate | None:
        self._decided_on = True
        self._keep(stream_id)
        return self._cache.aggregates.get(stream_id)

    def __setitem__(self, stream_id: UUID, aggregate: Aggregate) -> None:
        self._decided_on = True
        self._keep(stream_id)
        self._known.add(stream_id)
        self._cache.aggregates[stream_id] = aggregate

    def take(self, stream_ids: Iterable[UUID], events: Sequence[StoredEvent]) -> None:
        """Fold what other processes appended since we last looked, and remember what was looked at."""
        if long := [stream for stream, number in Counter(each.stream_id for each in events).items() if number >= PAGE]:
            raise Behind(long)
        self._known.update(stream_ids)
        self._cache.fold(events)

    def all(self) -> set[UUID]:
        """Every stream that was looked at."""
        return self._known

    def _keep(self, stream_id: UUID) -> None:
        if self._before is not None and stream_id not in self._before:
            self._before[stream_id] = deepcopy(self._cache.aggregates.get(stream_id))

    @property
    def undoable(self) -> bool:
        """Whether single decisions can be taken back."""
        return self._before is not None

    def undo(self, stream_ids: Collection[UUID], decided: Iterable[StoredEvent]) -> None:
        """Take streams back to where this batch's decisions so far have brought them, and no further."""
        for stream_id in stream_ids:
            before = None if self._before is None else self._before[stream_id]
            if before is None:
                self._cache.evict([stream_id])
            else:
                self._cache.aggregates[stream_id] = deepcopy(before)
        self._cache.fold([each for each in decided if each.stream_id in stream_ids])

    def changed(self) -> set[UUID]:
        """Streams that may hold undone decisions: none, as long as nothing was decided on."""
        return self._known if self._decided_on else set()


class Round:
    """The decisions of one batch, each seeing what the ones before it decided."""

    def __init__(self, head: int, now: datetime, known: dict[UUID, KnownCommand]) -> None:
        self.events: list[StoredEvent] = []
        self.rows: list[CommandRow] = []
        self.outcomes: list[tuple[Request, Answer | Exception]] = []
        self._head = head
        self._now = now
        self._known = known

    def decide(self, request: Request, loaded: Loaded) -> None:
        """Answer a known command, else check the expected versions, else decide."""
        known = self._known.get(request.command_id)
        if known is not None:
            self.outcomes.append((request, self._repeat(request, known)))
            return
        work = UnitOfWork(
            loaded,
            command_id=request.command_id,
            actor=request.actor,
            now=self._now,
            sealer=request.sealer,
            key_id=request.key_id,
        )
        try:
            self._check_expected(request, work)
            request.decide(work)
        except Need:
            self._must_be_clean(request, work)
            raise
        except ToyboxError as refusal:
            self._must_be_clean(request, work)
            self.outcomes.append((request, refusal))
            return
        except Exception as error:
            raise Offender(request, error, work.touched) from error
        self._append(request, work)

    @staticmethod
    def _must_be_clean(request: Request, work: UnitOfWork) -> None:
        left = work.pending()
        if left:
            msg = f"a refusal left {len(left)} pending event(s), the first {left[0][1].TYPE}: check before you trigger"
            raise Offender(request, RuntimeError(msg), work.touched)

    @staticmethod
    def _check_expected(request: Request, work: UnitOfWork) -> None:
        for stream, version in request.expected.items():
            found = work.find(Aggregate, stream)
            if found is None:
                msg = f"there is nothing with id {stream}"
                raise NotFound(msg)
            if found.version != version:
                msg = f"it is at version {found.version}, you looked at version {version}: read it again"
                raise Conflict(msg, code="version_conflict", current=found.version, expected=version)

    def _repeat(self, request: Request, known: KnownCommand) -> Answer | Exception:
        if known.digest != request.digest:
            msg = "this Idempotency-Key was used for another command; use a new key"
            return Refused(msg, code="idempotency_key_reused")
        return Answer(request.command_id, known.last or self._head, known.first, known.versions, repeated=True)

    def _append(self, request: Request, work: UnitOfWork) -> None:
        first, versions = self._head + 1, dict[UUID, int]()
        stored: list[StoredEvent] = []
        try:
            for aggregate, happened in work.pending():
                position = self._head + len(stored) + 1
                stored.append(
                    StoredEvent(
                        position=position,
                        stream_id=happened.originator_id,
                        version=happened.originator_version,
                        type=happened.TYPE,
                        schema_version=happened.VERSION,
                        project_id=aggregate.project_key,
                        data=payload_bytes(happened),
                        actor=request.actor,
                        command_id=request.command_id,
                        correlation_id=request.correlation_id or request.command_id,
                        causation_id=request.causation_id,
                        trace_id=request.trace_id,
                        recorded_at=self._now,
                    )
                )
                versions[happened.originator_id] = happened.originator_version
        except ValueError as error:
            raise Offender(request, Refused(str(error), code="invalid_text"), work.touched) from error
        self.events += stored
        self._head += len(stored)
        span = (first, self._head) if stored else (None, None)
        self.rows.append(CommandRow(request.command_id, request.digest, *span))
        answer = Answer(request.command_id, self._head, span[0], versions, events=stored)
        self.outcomes.append((request, answer))
        # The same id may stand twice in one batch: the second gets the first one's answer.
        self._known[request.command_id] = KnownCommand(request.digest, *span, versions)
