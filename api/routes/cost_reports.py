"""Routes for cost reports: periods by group, history, top spenders. They read sums, never facts."""

from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from api.answers import shown
from api.looking import Look, Looking, Seen
from api.paging import Cursor, Listed, marked
from api.permissions import may
from api.reporting import (
    Bucket,
    Figures,
    From,
    Grouped,
    Previous,
    ReportRow,
    To,
    Wanted,
    Zone,
    figures,
    local,
    percent,
    said,
    share,
    shown_row,
    table,
)
from api.routing import router_of
from api.spreadsheets import MEDIA_TYPE, csv_text, wants_csv
from domain.errors import Refused
from domain.values import ZERO, Money, money_text
from projections.costs import Asked, Costs, Group, Said, Sums, among, booked, read, read_total
from projections.costs.calendar import STEPS, Step, zone_of

router = router_of("costs", "/api/cost")
MOST_ROWS = 1_000
MOST_CSV_ROWS = 50_000
MOST_COMPARED = 10_000
"""Groups of the time before that top spenders are compared with."""
Form = Annotated[Literal["json", "csv"] | None, Query(alias="format", description="Else what Accept says, else json")]
Rows = Annotated[int, Query(ge=1, le=MOST_ROWS, description="Rows of one page; CSV has all of them")]
assert STEPS == ("hour", "day", "week", "month")  # noqa: S101 -- the document names them


class Report(Listed[ReportRow]):
    """What was spent in each period by each group: periods in their order, the dearest of each first."""

    bucket: str
    zone: str
    group_by: list[Group]
    begins: str
    ends: str
    total: Figures
    previous: Previous | None


@router.get(
    "/report",
    dependencies=[may("costs.read")],
    response_model=Report,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
async def get_cost_report(  # noqa: PLR0913, PLR0917 -- one parameter each
    request: Request,
    looking: Looking,
    which: Wanted,
    bucket: Bucket = "day",
    group_by: Grouped = None,
    begins: From = None,
    ends: To = None,
    zone: Zone = "UTC",
    form: Form = None,
    cursor: Cursor = None,
    limit: Rows = 200,
) -> Response:
    """Money, tokens and averages by period and group, the sum of all, and what it was before. JSON or CSV."""
    question = said(which, begins, ends, bucket, zone, group_by)
    as_csv = wants_csv(request, form)
    async with looking.at(Costs) as seen:
        asked = await _asked(looking, seen, question)
        page = await read(
            seen.connection, asked, cursor=None if as_csv else cursor, limit=MOST_CSV_ROWS if as_csv else limit
        )
        if as_csv:
            truth = await seen.truth(which.project_id)
            if page.next:
                msg = f"this has more than {MOST_CSV_ROWS} rows: ask for less time, coarser periods or fewer groups"
                raise Refused(msg, code="report_too_large", most=MOST_CSV_ROWS)
            name = f"costs-{asked.begins.date()}-{asked.ends.date()}.csv"
            headers = {**truth.headers, "Content-Disposition": f'attachment; filename="{name}"', "Vary": "Accept"}
            text = csv_text(*table(asked, zone, page.items))
            return shown(text.encode(), headers=headers, media_type=MEDIA_TYPE)
        total = await read_total(seen.connection, asked)
        before = await _before(seen, question, asked, total)
        truth = await seen.truth(which.project_id)
    spot = zone_of(zone)
    body = {
        "bucket": bucket,
        "zone": zone,
        "group_by": asked.by,
        "begins": local(asked.begins, spot),
        "ends": local(asked.ends, spot),
        "items": [shown_row(each, spot) for each in page.items],
        "next": await marked(looking.services.keyring, page.next),
        "total": figures(total),
        "previous": before,
        **truth.fields,
    }
    return shown(body, headers={**truth.headers, "Vary": "Accept"})


class Point(Figures):
    """One period of a history."""

    begins: str
    ends: str
    cumulative: Money


class History(BaseModel):
    """Every period, also those in which nothing was spent."""

    bucket: str
    zone: str
    items: list[Point]
    total: Figures
    position: int
    lag: int
    incomplete_since: int | None


@router.get("/history", dependencies=[may("costs.read")], response_model=History)
async def get_cost_history(
    looking: Looking, which: Wanted, bucket: Step = "day", begins: From = None, ends: To = None, zone: Zone = "UTC"
) -> Response:
    """How spending went on: every period without a gap, and what it comes to up to there."""
    question = said(which, begins, ends, bucket, zone, None)
    async with looking.at(Costs) as seen:
        asked = await _asked(looking, seen, question)
        page = await read(seen.connection, asked, limit=len(asked.periods))
        total = await read_total(seen.connection, asked)
        truth = await seen.truth(which.project_id)
    spot, so_far = zone_of(zone), ZERO
    known = {each.period: each.sums for each in page.items}
    items = list[dict[str, Any]]()
    for period in asked.periods:
        sums = known.get(period, Sums())
        so_far += sums.amount
        when = {"begins": local(period.begins, spot), "ends": local(period.ends, spot)}
        items.append({**when, **figures(sums), "cumulative": money_text(so_far)})
    body = {"bucket": bucket, "zone": zone, "items": items, "total": figures(total), **truth.fields}
    return shown(body, headers=truth.headers)


class Spender(ReportRow):
    """One of those that spent most."""

    share: str | None
    before: Money
    change: Money
    change_percent: str | None


class Top(BaseModel):
    """Who spent most, what all others did, and how that was before."""

    by: Group
    zone: str
    begins: str
    ends: str
    items: list[Spender]
    others: Money
    total: Figures
    previous: Previous | None
    position: int
    lag: int
    incomplete_since: int | None


@router.get("/top", dependencies=[may("costs.read")], response_model=Top)
async def get_top_spenders(
    looking: Looking,
    which: Wanted,
    by: Group = "project",
    begins: From = None,
    ends: To = None,
    zone: Zone = "UTC",
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
) -> Response:
    """Who spent most in this time, the last thirty days unless it is said, and how much that was before."""
    question = said(which, begins, ends, "none", zone, [by])
    async with looking.at(Costs) as seen:
        if begins is None:
            days = said(which, None, ends, "day", zone, None).at(looking.services.now(), None)
            question = Said(days.begins, days.ends, None, zone, [by], which)
        asked = await _asked(looking, seen, question)
        rows = (await read(seen.connection, asked, limit=limit)).items
        total = await read_total(seen.connection, asked)
        earlier = among(question.before(asked), [each.values for each in rows])
        past = (await read(seen.connection, earlier, limit=MOST_COMPARED)).items
        before = await _before(seen, question, asked, total)
        truth = await seen.truth(which.project_id)
    spot = zone_of(zone)
    known = {tuple(each.values.values()): each.sums.amount for each in past}
    items = list[dict[str, Any]]()
    for row in rows:
        amount, then = row.sums.amount, known.get(tuple(row.values.values()), ZERO)
        items.append(
            {
                **shown_row(row, spot),
                "share": share(amount, total.amount),
                "before": money_text(then),
                "change": money_text(amount - then),
                "change_percent": percent(amount, then),
            }
        )
    body = {
        "by": by,
        "zone": zone,
        "begins": local(asked.begins, spot),
        "ends": local(asked.ends, spot),
        "items": items,
        "others": money_text(total.amount - sum((row.sums.amount for row in rows), ZERO)),
        "total": figures(total),
        "previous": before,
        **truth.fields,
    }
    return shown(body, headers=truth.headers)


async def _asked(looking: Look, seen: Seen, question: Said) -> Asked:
    span = await booked(seen.connection) if question.step is None and question.begins is None else None
    return question.at(looking.services.now(), span)


async def _before(seen: Seen, question: Said, asked: Asked, total: Sums) -> dict[str, Any] | None:
    """The sum of the time before; None where all time was asked for."""
    if question.begins is None and question.step is None:
        return None
    spot = zone_of(question.zone)
    earlier = question.before(asked)
    sums = await read_total(seen.connection, earlier)
    return {
        "begins": local(earlier.begins, spot),
        "ends": local(earlier.ends, spot),
        "total": figures(sums),
        "change": money_text(total.amount - sums.amount),
        "change_percent": percent(total.amount, sums.amount),
    }
