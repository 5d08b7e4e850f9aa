"""What attempts cost, kept as facts and as sums: every event moves both, so that no report ever scans facts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from domain.agents import Agent
from domain.costs import Cost, CostLine
from domain.log import StoredEvent
from domain.pricing import Usage
from domain.projects import Project
from domain.values import ZERO, money_text
from projections.projector import Applied, Connection, on
from projections.rows import Rows, as_json
from projections.tables import Tables


@dataclass(slots=True)
class CostRow:
    """A row of `cost_facts`."""

    cost_id: UUID
    position: int
    corrected_at: int | None
    recorded_at: datetime
    day: date
    project_id: UUID | None
    phase: str | None
    agent_id: UUID | None
    job_id: UUID
    attempt_id: UUID
    provider: str
    model: str
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None
    amount: Decimal
    estimated: bool
    problem: str | None
    usage: dict[str, Any] | None
    lines: list[dict[str, Any]]


@dataclass(slots=True)
class _Sum:
    """A row of `cost_rollups`, or what it changes by."""

    day: date
    project_id: UUID | None
    phase: str | None
    agent_id: UUID | None
    provider: str
    model: str
    attempts: int = 0
    estimated: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    amount: Decimal = ZERO


@dataclass(slots=True)
class _Name:
    id: UUID
    name: str


Moved = tuple[CostRow, CostRow, date]
"""A fact before and after a change that counts on another day than its own."""
FACTS: Final = Rows(CostRow, "cost_facts", "cost_id")
_NAMES: Final = Rows(_Name, "cost_names", "id")
_ADD: Final = (
    "insert into cost_rollups (day, project_id, phase, agent_id, provider, model, attempts, estimated, input_tokens,"
    " output_tokens, cached_tokens, reasoning_tokens, amount)"
    " select day, project_id, phase, agent_id, provider, model, attempts, estimated, input_tokens,"
    " output_tokens, cached_tokens, reasoning_tokens, amount from json_populate_recordset(null::cost_rollups, %s::json)"
    " on conflict (project_id, day, agent_id, phase, provider, model) do update set"
    " attempts = cost_rollups.attempts + excluded.attempts,"
    " estimated = cost_rollups.estimated + excluded.estimated,"
    " input_tokens = cost_rollups.input_tokens + excluded.input_tokens,"
    " output_tokens = cost_rollups.output_tokens + excluded.output_tokens,"
    " cached_tokens = cost_rollups.cached_tokens + excluded.cached_tokens,"
    " reasoning_tokens = cost_rollups.reasoning_tokens + excluded.reasoning_tokens,"
    " amount = cost_rollups.amount + excluded.amount"
)
_TOTALS: Final = (
    "select coalesce(sum(amount), 0), coalesce(sum(attempts), 0)::text,"
    " coalesce(sum(input_tokens), 0)::text, coalesce(sum(output_tokens), 0)::text from cost_rollups"
)


class Costs(Tables):
    """Answers "what did it cost, and why exactly?": a fact per attempt, and sums per project, agent, model and day."""

    name = "costs"
    version = 4

    @on(Cost.Recorded, Cost.Corrected, Cost.ReRated, Project.Created, Project.SettingsChanged, Agent.Defined)
    async def apply(self, connection: Connection, batch: Sequence[Applied]) -> None:
        """Facts, then the difference that they make to the sums."""
        await _NAMES.save(connection, _named(batch).values())
        corrected = {each.stored.stream_id for each in batch if isinstance(each.event, Cost.Corrected | Cost.ReRated)}
        before = {row.cost_id: row for row in await FACTS.load(connection, corrected)}
        after = dict(before)
        moved: list[Moved] = []
        for each in batch:
            match each.event:
                case Cost.Recorded() as event:
                    after[each.stored.stream_id] = _fact(event, each.stored)
                case Cost.Corrected() | Cost.ReRated() as event if known := after.get(each.stored.stream_id):
                    now = after[each.stored.stream_id] = _corrected(known, event, each.stored)
                    if event.booked_on and event.booked_on != known.day:
                        moved.append((known, now, event.booked_on))
                case _:
                    pass
        changes = _differences(before, after, moved)
        await FACTS.save(connection, after.values())
        if changes:
            await connection.execute(_ADD, [as_json(changes)])

    async def totals(self, connection: Connection) -> Mapping[str, str]:
        """Money and tokens of everything."""
        row = await (await connection.execute(_TOTALS)).fetchone()
        amount, *counts = row or (ZERO, "0", "0", "0")
        names = ("attempts", "input tokens", "output tokens")
        return {"amount": money_text(amount), **dict(zip(names, counts, strict=True))}


def _named(batch: Sequence[Applied]) -> dict[UUID, _Name]:
    """What projects and agents are called, by the last event that says so."""
    return {
        each.stored.stream_id: _Name(each.stored.stream_id, each.event.name)
        for each in batch
        if isinstance(each.event, Project.Created | Project.SettingsChanged | Agent.Defined)
    }


def _fact(event: Cost.Recorded, stored: StoredEvent) -> CostRow:
    return CostRow(
        cost_id=stored.stream_id,
        position=stored.position,
        corrected_at=None,
        recorded_at=stored.recorded_at,
        day=stored.recorded_at.astimezone(UTC).date(),
        project_id=event.project_id,
        phase=event.phase,
        agent_id=event.agent_id,
        job_id=event.job_id,
        attempt_id=event.attempt_id,
        provider=event.provider,
        model=event.model,
        **_counts(event.usage),
        amount=event.amount,
        estimated=event.estimated,
        problem=event.problem,
        lines=_lines(event.lines),
    )


def _corrected(known: CostRow, event: Cost.Corrected | Cost.ReRated, stored: StoredEvent) -> CostRow:
    return replace(
        known,
        corrected_at=stored.position,
        **_counts(event.usage),
        amount=event.amount,
        estimated=False,
        problem=None,
        lines=_lines(event.lines),
    )


def _counts(usage: Usage | None) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens if usage else None,
        "output_tokens": usage.output_tokens if usage else None,
        "cached_tokens": usage.cached_tokens if usage else None,
        "reasoning_tokens": usage.reasoning_tokens if usage else None,
        "usage": usage.model_dump(mode="json") if usage else None,
    }


def _lines(lines: Sequence[CostLine]) -> list[dict[str, Any]]:
    return [line.model_dump(mode="json") for line in lines]


def _differences(before: Mapping[UUID, CostRow], after: Mapping[UUID, CostRow], moved: Sequence[Moved]) -> list[_Sum]:
    """What the changed facts add to their sums: each new fact once, each old one taken back."""
    sums: dict[tuple[object, ...], _Sum] = {}

    def add(sign: int, row: CostRow, day: date) -> None:
        place = (day, row.project_id, row.phase, row.agent_id, row.provider, row.model)
        total = sums.setdefault(place, _Sum(*place[:6]))
        total.attempts += sign
        total.estimated += sign * row.estimated
        total.input_tokens += sign * (row.input_tokens or 0)
        total.output_tokens += sign * (row.output_tokens or 0)
        total.cached_tokens += sign * (row.cached_tokens or 0)
        total.reasoning_tokens += sign * (row.reasoning_tokens or 0)
        total.amount += sign * row.amount

    for sign, rows in ((-1, before), (1, after)):
        for row in rows.values():
            add(sign, row, row.day)
    for old, new, booked_on in moved:  # the month of the fact is closed: its sums stay, the difference counts later
        for sign, row in ((-1, old), (1, new)):
            add(-sign, row, row.day)
            add(sign, row, booked_on)
    return list(sums.values())
