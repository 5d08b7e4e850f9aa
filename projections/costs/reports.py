"""Answers "what was spent on what?" from the sums, and "why?" from single facts with their positions in the log."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Final, Literal, LiteralString
from uuid import UUID

from domain.costs import CostLine
from domain.pricing import Usage
from domain.values import ZERO, Instant, Money
from projections.listing import Listing
from projections.paging import Page
from projections.projector import Connection
from projections.views import View

GroupBy = Literal["project", "phase", "agent", "provider", "model", "day"]


@dataclass(frozen=True, slots=True)
class CostFilter:
    """Which costs are asked for; what is None does not matter. Days are those of UTC, both included."""

    project_id: UUID | None = None
    phase: str | None = None
    agent_id: UUID | None = None
    provider: str | None = None
    model: str | None = None
    first_day: date | None = None
    last_day: date | None = None


class CostTotal(View):
    """What one project, phase, agent, provider, model or day cost. Only what it is grouped by is set."""

    project_id: UUID | None = None
    phase: str | None = None
    agent_id: UUID | None = None
    provider: str | None = None
    model: str | None = None
    day: date | None = None
    name: str | None = None
    """Of the project or the agent; None for what belongs to none."""
    attempts: int
    estimated: int
    """Attempts whose provider did not count, at the most that they can have cost."""
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    """Of the input, what a cache served."""
    reasoning_tokens: int
    """Of the output, as far as providers say."""
    amount: Money


class CostFact(View):
    """What one attempt cost, line by line, and the events that say so."""

    position: int
    corrected_at: int | None
    """The position where late usage replaced an estimate."""
    recorded_at: Instant
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
    amount: Money
    estimated: bool
    problem: str | None
    """Why it is an estimate."""
    usage: Usage | None
    """What the provider counted; every line is made of one of its quantities."""
    lines: list[CostLine]


EVERYTHING: Final = CostFilter()
_FILTERS: Final[Mapping[str, LiteralString]] = {
    "project_id": "project_id = %(project_id)s",
    "phase": "phase = %(phase)s",
    "agent_id": "agent_id = %(agent_id)s",
    "provider": "provider = %(provider)s",
    "model": "model = %(model)s",
    "first_day": "day >= %(first_day)s",
    "last_day": "day <= %(last_day)s",
}
_SUMS: Final = (
    "sum(attempts)::bigint as attempts, sum(estimated)::bigint as estimated,"
    " sum(input_tokens)::bigint as input_tokens, sum(output_tokens)::bigint as output_tokens,"
    " sum(cached_tokens)::bigint as cached_tokens, sum(reasoning_tokens)::bigint as reasoning_tokens,"
    " sum(amount) as amount"
)


DEAREST: Final[Mapping[LiteralString, LiteralString]] = {"amount": "numeric", "spelled": "text"}
IN_ORDER: Final[Mapping[LiteralString, LiteralString]] = {"spelled": "text"}


def _report(
    name: str, columns: LiteralString, spelled: LiteralString, named: LiteralString = "null::uuid"
) -> Listing[CostTotal]:
    """Sums grouped by some columns; `spelled` is the group as one text, which makes the order unique."""
    return Listing(
        name=f"costs by {name}",
        query=f"select sums.*, names.name from (select {columns}, coalesce({spelled}, '') collate \"C\" as spelled,"
        f" {named} as named, {_SUMS} from cost_rollups where {{filters}} group by {columns}) as sums"
        " left join cost_names as names on names.id = sums.named where {after} order by {order}",
        row=CostTotal.model_validate,
        order=IN_ORDER if name == "day" else DEAREST,
        filters=_FILTERS,
        descending=name != "day",
    )


REPORTS: Final[Mapping[GroupBy, Listing[CostTotal]]] = {
    "project": _report("project", "project_id", "project_id::text", "project_id"),
    "phase": _report("phase", "project_id, phase", "concat_ws('/', project_id::text, phase)", "project_id"),
    "agent": _report("agent", "project_id, agent_id", "concat_ws('/', project_id::text, agent_id::text)", "agent_id"),
    "provider": _report("provider", "provider", "provider"),
    "model": _report("model", "provider, model", "provider || '/' || model"),
    "day": _report("day", "day", "day::text"),
}


async def cost_totals(
    connection: Connection,
    by: GroupBy,
    wanted: CostFilter = EVERYTHING,
    *,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[CostTotal]:
    """Sums by group, the dearest first; days in their order. Reads Costs."""
    return await REPORTS[by].page(connection, asdict(wanted), cursor=cursor, limit=limit)


_ALL: Final = Listing[CostTotal](
    name="costs in all",
    query=f"select * from (select 1 as one, count(*) as groups, {_SUMS} from cost_rollups where {{filters}}) as sums"
    " where groups > 0 and {after} order by {order}",
    row=CostTotal.model_validate,
    order={"one": "bigint"},
    filters=_FILTERS,
)


async def cost_total(connection: Connection, wanted: CostFilter = EVERYTHING) -> CostTotal:
    """The sum of everything that is asked for. Reads Costs."""
    found = (await _ALL.page(connection, asdict(wanted), cursor=None, limit=1)).items
    nothing = CostTotal(
        attempts=0, estimated=0, input_tokens=0, output_tokens=0, cached_tokens=0, reasoning_tokens=0, amount=ZERO
    )
    return found[0] if found else nothing


_FACTS: Final = Listing[CostFact](
    name="cost facts",
    query="select position, corrected_at, recorded_at, project_id, phase, agent_id, job_id, attempt_id, provider,"
    " model, input_tokens, output_tokens, cached_tokens, reasoning_tokens, amount, estimated, problem, usage, lines"
    " from cost_facts"
    " where {filters} and {after} order by {order}",
    row=lambda row: CostFact.model_validate(row, strict=False),  # JSON has no decimals inside strict lines
    order={"position": "bigint"},
    filters={**_FILTERS, "job_id": "job_id = %(job_id)s", "attempt_id": "attempt_id = %(attempt_id)s"},
)


async def cost_facts(
    connection: Connection,
    wanted: CostFilter = EVERYTHING,
    *,
    job_id: UUID | None = None,
    attempt_id: UUID | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[CostFact]:
    """Single attempts, the newest first, with what each line was made of. Reads Costs."""
    return await _FACTS.page(
        connection, asdict(wanted) | {"job_id": job_id, "attempt_id": attempt_id}, cursor=cursor, limit=limit
    )
