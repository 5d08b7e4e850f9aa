"""Answers "what was priced when, what waits for its usage, which prices were changed?": rows per attempt and change."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from domain.costs import Cost
from domain.llm_jobs import LlmJob
from domain.log import StoredEvent
from domain.values import ZERO, money_text
from projections.projector import Applied, Connection, on
from projections.rows import Rows, as_json
from projections.tables import Tables


@dataclass(slots=True)
class AttemptRow:
    """A row of `priced_attempts`."""

    cost_id: UUID
    position: int
    recorded_at: datetime
    recorded_on: date
    priced_on: date
    project_id: UUID | None
    agent_id: UUID | None
    job_id: UUID
    attempt_id: UUID
    provider: str
    model: str
    amount: Decimal
    estimated: bool
    counted: bool
    problem: str | None


@dataclass(slots=True)
class ChangeRow:
    """A row of `cost_changes`."""

    position: int
    cost_id: UUID
    kind: str
    card: str | None
    reason: str | None
    actor: str
    recorded_at: datetime
    recorded_on: date
    booked_on: date
    project_id: UUID | None
    job_id: UUID
    attempt_id: UUID
    provider: str
    model: str
    previous: Decimal
    amount: Decimal
    delta: Decimal


@dataclass(slots=True)
class _Response:
    attempt_id: UUID
    job_id: UUID
    response_id: str


@dataclass(slots=True)
class _Model:
    provider: str
    model: str
    asked: int
    answered: int
    last_at: datetime


@dataclass(slots=True)
class _Oddity:
    provider: str
    field: str
    attempts: int
    last_position: int
    last_attempt: UUID


ATTEMPTS: Final = Rows(AttemptRow, "priced_attempts", "cost_id")
_CHANGES: Final = Rows(ChangeRow, "cost_changes", "position")
_RESPONSES: Final = Rows(_Response, "attempt_responses", "attempt_id")
_ADD_MODELS: Final = (
    "insert into used_models (provider, model, asked, answered, last_at)"
    " select provider, model, asked, answered, last_at from json_populate_recordset(null::used_models, %s::json)"
    " on conflict (provider, model) do update set asked = used_models.asked + excluded.asked,"
    " answered = used_models.answered + excluded.answered,"
    " last_at = greatest(used_models.last_at, excluded.last_at)"
)
_ADD_ODDITIES: Final = (
    "insert into usage_oddities (provider, field, attempts, last_position, last_attempt)"
    " select provider, field, attempts, last_position, last_attempt"
    " from json_populate_recordset(null::usage_oddities, %s::json)"
    " on conflict (provider, field) do update set attempts = usage_oddities.attempts + excluded.attempts,"
    " last_position = greatest(usage_oddities.last_position, excluded.last_position),"
    " last_attempt = case when excluded.last_position > usage_oddities.last_position then excluded.last_attempt"
    " else usage_oddities.last_attempt end"
)
_TOTALS: Final = (
    "select coalesce(sum(amount), 0), count(*)::text, count(*) filter (where estimated)::text from priced_attempts"
)


class PricedAttempts(Tables):
    """Answers "what was priced when, what waits for its usage, which prices were changed?"."""

    name = "priced_attempts"
    version = 1

    @on(Cost.Recorded, Cost.Corrected, Cost.ReRated, LlmJob.Queued, LlmJob.Completed)
    async def apply(self, connection: Connection, batch: Sequence[Applied]) -> None:
        """Attempts as they stand now; each change of one that stood before."""
        touched = {each.stored.stream_id for each in batch if isinstance(each.event, Cost.Corrected | Cost.ReRated)}
        rows = {row.cost_id: row for row in await ATTEMPTS.load(connection, touched)}
        changes: list[ChangeRow] = []
        for each in batch:
            stream = each.stored.stream_id
            match each.event:
                case Cost.Recorded() as event:
                    rows[stream] = _row(event, each.stored)
                case Cost.Corrected() | Cost.ReRated() as event if known := rows.get(stream):
                    changes.append(_change(known, event, each.stored))
                    rows[stream] = _changed(known, event)
                case _:
                    pass
        await ATTEMPTS.save(connection, rows.values())
        await _CHANGES.save(connection, changes)
        await _RESPONSES.save(connection, _responses(batch))
        if models := _models(batch):
            await connection.execute(_ADD_MODELS, [as_json(models)])
        if oddities := _oddities(batch):
            await connection.execute(_ADD_ODDITIES, [as_json(oddities)])

    async def totals(self, connection: Connection) -> Mapping[str, str]:
        """Money of everything that was priced, and how much of it is guessed."""
        row = await (await connection.execute(_TOTALS)).fetchone()
        amount, attempts, estimated = row or (ZERO, "0", "0")
        return {"amount": money_text(amount), "attempts": attempts, "estimated": estimated}


def _row(event: Cost.Recorded, stored: StoredEvent) -> AttemptRow:
    day = stored.recorded_at.astimezone(UTC).date()
    return AttemptRow(
        cost_id=stored.stream_id,
        position=stored.position,
        recorded_at=stored.recorded_at,
        recorded_on=day,
        priced_on=event.priced_on or day,
        project_id=event.project_id,
        agent_id=event.agent_id,
        job_id=event.job_id,
        attempt_id=event.attempt_id,
        provider=event.provider,
        model=event.model,
        amount=event.amount,
        estimated=event.estimated,
        counted=event.usage is not None,
        problem=event.problem,
    )


def _changed(known: AttemptRow, event: Cost.Corrected | Cost.ReRated) -> AttemptRow:
    return replace(known, amount=event.amount, estimated=False, counted=event.usage is not None, problem=None)


def _change(known: AttemptRow, event: Cost.Corrected | Cost.ReRated, stored: StoredEvent) -> ChangeRow:
    re_rated = isinstance(event, Cost.ReRated)
    return ChangeRow(
        position=stored.position,
        cost_id=stored.stream_id,
        kind="re_rated" if re_rated else "corrected",
        card=event.card if re_rated else None,
        reason=event.reason if re_rated else None,
        actor=stored.actor,
        recorded_at=stored.recorded_at,
        recorded_on=known.recorded_on,
        booked_on=event.booked_on or known.recorded_on,
        project_id=known.project_id,
        job_id=known.job_id,
        attempt_id=known.attempt_id,
        provider=known.provider,
        model=known.model,
        previous=event.previous,
        amount=event.amount,
        delta=event.amount - event.previous,
    )


def _responses(batch: Iterable[Applied]) -> list[_Response]:
    return [
        _Response(each.event.attempt_id, each.stored.stream_id, each.event.response_id)
        for each in batch
        if isinstance(each.event, LlmJob.Completed) and each.event.response_id
    ]


def _models(batch: Iterable[Applied]) -> list[_Model]:
    found: dict[tuple[str, str], _Model] = {}
    for each in batch:
        event, at = each.event, each.stored.recorded_at
        if isinstance(event, Cost.Recorded | LlmJob.Queued):
            known = found.setdefault((event.provider, event.model), _Model(event.provider, event.model, 0, 0, at))
            known.asked += isinstance(event, LlmJob.Queued)
            known.answered += isinstance(event, Cost.Recorded)
            known.last_at = max(known.last_at, at)
    return list(found.values())


def _oddities(batch: Iterable[Applied]) -> list[_Oddity]:
    found: dict[tuple[str, str], _Oddity] = {}
    for each in batch:
        event, position = each.event, each.stored.position
        if not isinstance(event, Cost.Recorded) or event.usage is None:
            continue
        for field in event.usage.unknown_fields:
            place = (event.provider, field)
            known = found.setdefault(place, _Oddity(*place, 0, position, event.attempt_id))
            known.attempts += 1
            if position > known.last_position:
                known.last_position, known.last_attempt = position, event.attempt_id
    return list(found.values())
