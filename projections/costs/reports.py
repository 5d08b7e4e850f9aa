"""Answers "what was spent on what?" from the sums, and "why?" from single facts with their positions in the log."""

from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from domain.costs import CostLine
from domain.pricing import Usage
from domain.values import Instant, Money
from projections.costs.asking import Asked, Which
from projections.costs.calendar import Period, after, begun, moment_of, periods, zone_of
from projections.costs.summing import Row, Sums, booked, read, read_total
from projections.costs.sums import DIMENSIONS, SUMS
from projections.listing import Listing, bounded
from projections.paging import Page
from projections.projector import Connection
from projections.views import View

GroupBy = Literal["project", "phase", "agent", "provider", "model", "key", "tier", "day"]


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
    key_id: UUID | None = None
    tier: str | None = None

    @property
    def which(self) -> Which:
        """The same without days."""
        return Which(self.project_id, self.phase, self.agent_id, self.provider, self.model, self.key_id, self.tier)


class CostTotal(View):
    """What one project, phase, agent, provider, model or day cost. Only what it is grouped by is set."""

    project_id: UUID | None = None
    phase: str | None = None
    agent_id: UUID | None = None
    provider: str | None = None
    model: str | None = None
    key_id: UUID | None = None
    tier: str | None = None
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
    cache_write_tokens: int
    """Of the input, what was written to a cache."""
    reasoning_tokens: int
    """Of the output, as far as providers say."""
    amount: Money
    estimated_amount: Money
    """Of the amount, what stands at the most that it can have cost."""


class CostFact(View):
    """What one attempt cost, line by line, and the events that say so."""

    position: int
    corrected_at: int | None
    """The position where late usage replaced an estimate."""
    recorded_at: Instant
    project_id: UUID | None
    phase: str | None
    agent_id: UUID | None
    key_id: UUID | None
    """The access key of whoever asked, or started the project."""
    job_id: UUID
    attempt_id: UUID
    provider: str
    model: str
    tier: str | None
    """As served; null while nobody has counted."""
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
EVERY_DAY: Final = 100_000
"""Days that a list of them goes through, page by page: more than a log will ever have."""


async def cost_totals(
    connection: Connection,
    by: GroupBy,
    wanted: CostFilter = EVERYTHING,
    *,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[CostTotal]:
    """Sums by group, the dearest first; days in their order. Reads Costs."""
    asked = await _asked(connection, wanted, by)
    if asked is None:
        return Page([], None)
    page = await read(connection, asked, cursor=cursor, limit=bounded(limit))
    return Page([_total(each, by) for each in page.items], page.next)


async def cost_total(connection: Connection, wanted: CostFilter = EVERYTHING) -> CostTotal:
    """The sum of everything that is asked for. Reads Costs."""
    asked = await _asked(connection, wanted)
    sums = await read_total(connection, asked) if asked else Sums()
    return CostTotal(**{each: getattr(sums, each) for each in SUMS})


async def _asked(connection: Connection, wanted: CostFilter, by: GroupBy | None = None) -> Asked | None:
    """The same as a report asks it, no further than anything is booked; None where nothing can be."""
    span = await booked(connection)
    if span is None:
        return None
    utc = zone_of("UTC")
    first = moment_of(wanted.first_day, utc) if wanted.first_day else begun(span.begins, "month", utc)
    ends = after(begun(span.ends, "month", utc), "month", utc)
    if wanted.last_day and wanted.last_day < ends.date():
        ends = moment_of(wanted.last_day, utc) + timedelta(days=1)
    first = max(first, begun(span.begins, "month", utc))
    if first >= ends:
        return None
    if by == "day":
        return Asked(periods(first, ends, "day", utc, most=EVERY_DAY), (), wanted.which)
    return Asked([Period(first, ends)], (by,) if by else (), wanted.which)


def _total(row: Row, by: GroupBy) -> CostTotal:
    shown: dict[str, Any] = {each: getattr(row.sums, each) for each in SUMS}
    if by == "day":
        return CostTotal(**shown, day=row.period.begins.date())
    name = row.names.get("agent_id" if by == "agent" else "project_id")
    return CostTotal(**shown, **row.values, name=name)  # pyright: ignore[reportArgumentType] -- the same names


_FACTS: Final = Listing[CostFact](
    name="cost facts",
    query="select position, corrected_at, recorded_at, project_id, phase, agent_id, key_id, job_id, attempt_id,"
    " provider, model, tier, input_tokens, output_tokens, cached_tokens, reasoning_tokens, amount,"
    " estimated, problem, usage, lines from cost_facts"
    " where {filters} and {after} order by {order}",
    row=lambda row: CostFact.model_validate(row, strict=False),  # JSON has no decimals inside strict lines
    order={"position": "bigint"},
    filters={
        **{name: f"{name} = %({name})s" for name in DIMENSIONS},
        "first_day": "recorded_at >= (%(first_day)s::date)::timestamp at time zone 'UTC'",
        "last_day": "recorded_at < (%(last_day)s::date + 1)::timestamp at time zone 'UTC'",
        "job_id": "job_id = %(job_id)s",
        "attempt_id": "attempt_id = %(attempt_id)s",
    },
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
