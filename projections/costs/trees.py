"""Why something cost what it did: a tree from a project down to the lines of each attempt, with log positions."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, Literal, LiteralString
from uuid import UUID

from psycopg.rows import dict_row
from pydantic import Field

from domain.costs import CostLine
from domain.values import ZERO, Instant, Money
from projections.projector import Connection
from projections.views import View

Scope = Literal["project", "agent", "job", "attempt"]
Kind = Literal["project", "phase", "agent", "run", "job", "attempt"]
MOST_ATTEMPTS: Final = 1_000
"""Beyond that a tree ends at runs: ask for one of its agents."""
_CONDITION: Final[Mapping[Scope, LiteralString]] = {
    "project": "f.project_id = %(id)s",
    "agent": "f.agent_id = %(id)s",
    "job": "f.job_id = %(id)s",
    "attempt": "f.attempt_id = %(id)s",
}
_LEVELS: Final[Mapping[Scope, Sequence[Kind]]] = {
    "project": ("phase", "agent", "run", "job", "attempt"),
    "agent": ("run", "job", "attempt"),
    "job": ("attempt",),
    "attempt": ("attempt",),
}


class AttemptCost(View):
    """What one attempt cost, and the events that say so."""

    position: int
    corrected_at: int | None
    recorded_at: Instant
    provider: str
    model: str
    tier: str | None
    estimated: bool
    problem: str | None
    lines: list[CostLine]


class CostNode(View):
    """One part of what something cost; the parts below it add up to it."""

    kind: Kind
    id: UUID | None = None
    name: str | None = None
    run: int | None = None
    attempts: int
    amount: Money
    detail: AttemptCost | None = None
    """Of an attempt."""
    parts: list["CostNode"] = Field(default_factory=list["CostNode"])


class CostTree(View):
    """What something cost, down to lines; `folded` trees end at runs, because there is too much below."""

    scope: Scope
    id: UUID
    name: str | None
    amount: Money
    attempts: int
    folded: bool
    project_id: UUID | None
    parts: list[CostNode]


async def cost_tree(connection: Connection, scope: Scope, key: UUID) -> CostTree | None:
    """The tree of a project, an agent, a job or an attempt; None where nothing was spent. Reads Costs and LlmJobs."""
    where = _CONDITION[scope]
    counted = await (
        await connection.execute(
            f"select count(*) from (select 1 from cost_facts f where {where} limit 1001) as f", _of(key)
        )
    ).fetchone()
    if not counted or not counted[0]:
        return None
    folded = counted[0] > MOST_ATTEMPTS
    joined: LiteralString = (
        " left join llm_jobs j on j.job_id = f.job_id left join cost_names p on p.id = f.project_id"
        f" left join cost_names a on a.id = f.agent_id where {where}"
    )
    who: LiteralString = (
        "f.project_id, p.name as project, f.phase, f.agent_id, a.name as agent, coalesce(j.run, 1) as run"
    )
    query: LiteralString = (
        f"select {who}, count(*) as attempts, sum(f.amount) as amount from cost_facts f {joined}"
        " group by f.project_id, p.name, f.phase, f.agent_id, a.name, coalesce(j.run, 1) order by min(f.position)"
        if folded
        else f"select {who}, 1 as attempts, f.amount, f.job_id, f.attempt_id, f.position, f.corrected_at,"
        f" f.recorded_at, f.provider, f.model, f.tier, f.estimated, f.problem, f.lines"
        f" from cost_facts f {joined} order by f.position"
    )
    async with connection.cursor(row_factory=dict_row) as reader:
        rows = await (await reader.execute(query, _of(key))).fetchall()
    levels: list[Kind] = [each for each in _LEVELS[scope] if not folded or each in ("phase", "agent", "run")]
    first = rows[0]
    return CostTree(
        scope=scope,
        id=key,
        name=first["project"] if scope == "project" else first["agent"],
        amount=sum((each["amount"] for each in rows), ZERO),
        attempts=sum(each["attempts"] for each in rows),
        folded=folded,
        project_id=first["project_id"],
        parts=_parts(rows, levels),
    )


def _of(key: UUID) -> dict[str, UUID]:
    return {"id": key}


_KEYS: Final[Mapping[Kind, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    "project": lambda row: {"id": row["project_id"], "name": row["project"]},
    "phase": lambda row: {"name": row["phase"]},
    "agent": lambda row: {"id": row["agent_id"], "name": row["agent"]},
    "run": lambda row: {"run": row["run"]},
    "job": lambda row: {"id": row["job_id"]},
    "attempt": lambda row: {"id": row["attempt_id"]},
}


def _parts(rows: Sequence[Mapping[str, Any]], levels: Sequence[Kind]) -> list[CostNode]:
    if not levels:
        return []
    kind, below = levels[0], levels[1:]
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(_KEYS[kind](row).values()), []).append(row)
    return [
        CostNode(
            kind=kind,
            **_KEYS[kind](own[0]),
            attempts=sum(each["attempts"] for each in own),
            amount=_sum(each["amount"] for each in own),
            detail=AttemptCost.model_validate(own[0], strict=False) if kind == "attempt" else None,
            parts=_parts(own, below),
        )
        for own in groups.values()
    ]


def _sum(amounts: Any) -> Decimal:
    return sum(amounts, ZERO)
