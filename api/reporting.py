"""Cost reports as routes ask for them and answer them: parameters, rows, averages."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Any, Final, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import Depends, Query
from pydantic import BaseModel, Field

from api.errors import Invalid
from api.spreadsheets import Name
from domain.values import MONEY_DIGITS, Money, money_text
from projections.costs import Group, Row, Said, Sums, Which, groups_of
from projections.costs.asking import COLUMNS_OF, GROUPS, Asked
from projections.costs.calendar import Step, zone_of
from projections.costs.sums import AMOUNTS, COUNTS, Dimension

Word = Annotated[str | None, Query(max_length=200)]
Bucket = Annotated[
    Step | Literal["none"], Query(description="Periods of the time zone; none for one row from beginning to end")
]
Moment = Annotated[
    str | None,
    Query(max_length=64, description="A day such as 2026-11-01, or an instant that begins a quarter of an hour"),
]
Zone = Annotated[str, Query(max_length=100, description="Time zone that periods and days are in: Europe/Berlin")]
Grouped = Annotated[
    list[str] | None, Query(max_length=20, description=f"Among {', '.join(GROUPS)}; several by commas, or repeated")
]
_QUANTUM: Final = Decimal(1).scaleb(-MONEY_DIGITS)
NAMED: Final[Mapping[Dimension, str]] = {"project_id": "project", "agent_id": "agent"}
"""Columns beside which a name is shown."""


async def wanted_which(
    project_id: UUID | None = None,
    phase: Word = None,
    agent_id: UUID | None = None,
    provider: Word = None,
    model: Word = None,
    key_id: UUID | None = None,
    tier: Word = None,
) -> Which:
    """Which costs are asked for."""
    return Which(project_id, phase, agent_id, provider, model, key_id, tier)


Wanted = Annotated[Which, Depends(wanted_which)]
From = Annotated[Moment, Query(alias="from")]
To = Annotated[
    str | None,
    Query(alias="to", max_length=64, description="Up to here, not included; left out: to the end of this period"),
]


def said(
    which: Which, begins: str | None, ends: str | None, bucket: str, zone: str, by: Iterable[Group] | list[str] | None
) -> Said:
    """The question of a request. Refused where it makes no sense, with what to write."""
    step: Any = None if bucket == "none" else bucket
    return Said(_moment("from", begins), _moment("to", ends), step, zone, groups_of(list(by or ())), which)


def _moment(field: str, text: str | None) -> date | datetime | None:
    if text is None:
        return None
    spelled = text.replace(" ", "+") if "T" in text else text  # an unescaped plus sign arrives as a blank
    try:
        found = datetime.fromisoformat(spelled) if "T" in spelled else date.fromisoformat(spelled)
        if not 1970 <= found.year <= 9000:
            raise ValueError(found)
    except ValueError as error:
        message = "give a day such as 2026-11-01, or an instant such as 2026-11-01T10:00:00Z, after 1970"
        raise Invalid([{"in": "query", "field": field, "message": message, "code": "moment"}]) from error
    return found


class Figures(BaseModel):
    """What was spent and counted, and what that is on average. For OpenAPI: answers are made without it."""

    attempts: int
    estimated: Annotated[int, Field(description="Attempts whose provider did not count, at the most they can cost")]
    input_tokens: Annotated[int, Field(description="All that was read, from caches or not")]
    output_tokens: Annotated[int, Field(description="All that was written, reasoning included")]
    cached_tokens: Annotated[int, Field(description="Of the input, what a cache served")]
    cache_write_tokens: Annotated[int, Field(description="Of the input, what was written to a cache")]
    reasoning_tokens: Annotated[int, Field(description="Of the output, as far as providers say")]
    besides: Annotated[
        dict[str, int], Field(description="Whatever else was counted, by bucket: sound, pictures, uses of tools")
    ]
    amount: Money
    estimated_amount: Money
    estimated_share: Annotated[str | None, Field(description="Of the amount, between 0 and 1; null of nothing")]
    per_attempt: Money | None
    per_1k_tokens: Annotated[Money | None, Field(description="For a thousand tokens, read or written")]


class ReportRow(Figures):
    """One period of one group; only what the report is grouped by is there."""

    begins: Annotated[datetime, Field(description="In the report's time zone")]
    ends: datetime
    project_id: UUID | None = None
    project: str | None = None
    phase: str | None = None
    agent_id: UUID | None = None
    agent: str | None = None
    provider: str | None = None
    model: str | None = None
    key_id: UUID | None = None
    tier: str | None = None


class Previous(BaseModel):
    """The same for as long before."""

    begins: datetime
    ends: datetime
    total: Figures
    change: Annotated[Money, Field(description="Of the amount: what is more now")]
    change_percent: Annotated[str | None, Field(description="Null where nothing was spent before")]


def figures(sums: Sums) -> dict[str, Any]:
    """Sums with their averages, as JSON."""
    tokens = sums.input_tokens + sums.output_tokens
    return {
        **{name: getattr(sums, name) for name in COUNTS},
        "besides": dict(sums.besides or {}),
        **{name: money_text(getattr(sums, name)) for name in AMOUNTS},
        "estimated_share": share(sums.estimated_amount, sums.amount),
        "per_attempt": _average(sums.amount, sums.attempts),
        "per_1k_tokens": _average(sums.amount * 1000, tokens),
    }


def shown_row(row: Row, zone: ZoneInfo) -> dict[str, Any]:
    """A row as JSON."""
    return {**_when(row, zone), **group_of(row), **figures(row.sums)}


def group_of(row: Row) -> dict[str, Any]:
    """What a row is about, with names to read."""
    found: dict[str, Any] = {}
    for column, value in row.values.items():
        found[column] = str(value) if isinstance(value, UUID) else value
        if column in NAMED:
            found[NAMED[column]] = row.names.get(column)
    return found


def _when(row: Row, zone: ZoneInfo) -> dict[str, str]:
    return {"begins": local(row.period.begins, zone), "ends": local(row.period.ends, zone)}


def local(moment: datetime, zone: ZoneInfo) -> str:
    """An instant as it is told in a time zone."""
    return moment.astimezone(zone).isoformat(timespec="seconds")


def share(part: Decimal, whole: Decimal) -> str | None:
    """A part of something, between 0 and 1 unless one of them is negative."""
    return money_text((part / whole).quantize(Decimal("0.000001"), ROUND_HALF_UP)) if whole else None


def percent(now: Decimal, before: Decimal) -> str | None:
    """By how much it has grown; None from nothing."""
    return money_text(((now - before) / before * 100).quantize(Decimal("0.01"), ROUND_HALF_UP)) if before else None


def _average(amount: Decimal, count: int) -> str | None:
    return money_text((amount / count).quantize(_QUANTUM, ROUND_HALF_UP)) if count > 0 else None


def table(asked: Asked, zone: str, rows: Iterable[Row]) -> tuple[list[str], Iterable[list[object]]]:
    """A report as header and cells; ids and figures as they are, what people chose as names."""
    spot = zone_of(zone)
    columns = [name for each in asked.columns for name in (each, NAMED.get(each)) if name]
    kept = list(rows)
    besides = sorted({bucket for row in kept for bucket in row.sums.besides or ()})
    numbers = [*COUNTS, *AMOUNTS, "estimated_share", "per_attempt", "per_1k_tokens"]
    header = ["begins", "ends", *columns, *numbers, *besides]

    def cells(row: Row) -> list[object]:
        shown = shown_row(row, spot)
        chosen = [Name(shown[each]) if isinstance(shown[each], str) else shown[each] for each in columns]
        return [
            *(shown[each] for each in ("begins", "ends")),
            *chosen,
            *(shown[each] for each in numbers),
            *(shown["besides"].get(each, 0) for each in besides),
        ]

    return header, map(cells, kept)


assert set(COLUMNS_OF) == set(GROUPS)  # noqa: S101 -- every group is served
