"""What attempts cost, kept as facts and as sums: every event moves both, so that no report ever scans facts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from domain.agents import Agent
from domain.costs import Cost
from domain.log import StoredEvent
from domain.projects import Project
from domain.values import ZERO, money_text
from projections.costs.booking import Booking, Counted
from projections.costs.sums import mask
from projections.projector import Applied, Connection, on
from projections.rows import Rows
from projections.tables import Tables


@dataclass(slots=True)
class CostRow:
    """A row of `cost_facts`."""

    cost_id: UUID
    position: int
    corrected_at: int | None
    recorded_at: datetime
    project_id: UUID | None
    phase: str | None
    agent_id: UUID | None
    key_id: UUID | None
    job_id: UUID
    attempt_id: UUID
    provider: str
    model: str
    tier: str | None
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
class _Name:
    id: UUID
    name: str


FACTS: Final = Rows(CostRow, "cost_facts", "cost_id")
_NAMES: Final = Rows(_Name, "cost_names", "id")
_TOTALS: Final = (
    "select coalesce(sum(amount), 0), coalesce(sum(attempts), 0)::text, coalesce(sum(input_tokens), 0)::text,"
    " coalesce(sum(output_tokens), 0)::text from cost_months where cut = %s"
)


class Costs(Tables):
    """Answers "what did it cost, and why exactly?": a fact per attempt, and sums per project, agent, model and day."""

    name = "costs"
    version = 4

    @on(Cost.Recorded, Cost.Corrected, Cost.ReRated, Project.Created, Project.SettingsChanged, Agent.Defined)
    async def apply(self, connection: Connection, batch: Sequence[Applied]) -> None:
        """Facts, then the difference that they make to the sums."""
        await _NAMES.save(connection, _named(batch).values())
        changed = {each.stored.stream_id for each in batch if isinstance(each.event, Cost.Corrected | Cost.ReRated)}
        facts = {row.cost_id: row for row in await FACTS.load(connection, changed)}
        booked = Booking()
        for each in batch:
            stream = each.stored.stream_id
            match each.event:
                case Cost.Recorded() as event:
                    facts[stream] = _fact(event, each.stored)
                    booked.add(facts[stream])
                case Cost.Corrected() | Cost.ReRated() as event if known := facts.get(stream):
                    facts[stream] = _changed(known, event, each.stored)
                    booked.change(known, facts[stream], event.booked_on)
                case _:
                    pass
        await FACTS.save(connection, facts.values())
        await booked.post(connection)

    async def totals(self, connection: Connection) -> Mapping[str, str]:
        """Money and tokens of everything."""
        row = await (await connection.execute(_TOTALS, [mask(())])).fetchone()
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
        project_id=event.project_id,
        phase=event.phase,
        agent_id=event.agent_id,
        key_id=event.key_id,
        job_id=event.job_id,
        attempt_id=event.attempt_id,
        provider=event.provider,
        model=event.model,
        tier=event.tier,
        **_counts(event),
        amount=event.amount,
        estimated=event.estimated,
        problem=event.problem,
    )


def _changed(known: CostRow, event: Cost.Corrected | Cost.ReRated, stored: StoredEvent) -> CostRow:
    return replace(
        known,
        corrected_at=stored.position,
        tier=event.tier,
        **_counts(event),
        amount=event.amount,
        estimated=False,
        problem=None,
    )


def _counts(event: Cost.Recorded | Cost.Corrected | Cost.ReRated) -> dict[str, Any]:
    """Usage and lines as JSON, and the columns that are made of them; None where nobody has counted."""
    payload = event.payload()
    usage: dict[str, Any] | None = payload["usage"]
    counted = Counted.of(usage) if usage else None
    return {
        "input_tokens": counted.input_tokens if counted else None,
        "output_tokens": counted.output_tokens if counted else None,
        "cached_tokens": counted.cached_tokens if counted else None,
        "reasoning_tokens": usage["reasoning_tokens"] if usage else None,
        "usage": usage,
        "lines": payload["lines"],
    }
