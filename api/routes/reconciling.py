"""Routes for money that is not certain yet: estimates, late usage, a vendor's export, and the closing of months."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from api.answers import Done, shown
from api.bodies import Given, body_of, json_of
from api.commanding import Commanding, Desk
from api.looking import Looking
from api.paging import Cursor, Limit, Listed
from api.permissions import may
from api.reconciling import LateBill, late_bill, number_of, only
from api.routing import router_of
from commands.accounting import CloseMonth
from commands.llm_jobs import ReportUsage
from domain.errors import NotFound, ToyboxError, Unavailable
from domain.ids import accounting_id
from domain.pricing import Catalogue
from domain.pricing.counted import Counted
from domain.values import Money
from projections.accounting import AccountingState, AccountingStates
from projections.prices import Estimate, PricedAttempts, attempts_by_response, estimates, jobs_of_attempts

router = router_of("costs")
MOST_ROWS = 200
Outcome = Literal["applied", "would_apply", "agrees", "drift", "unmatched", "refused"]


class LateUsage(Counted):
    """What one attempt used."""

    attempt: Annotated[int, Field(ge=1, description="Its number within the job")]


class ExportRow(Counted):
    """One line of a vendor's usage export: which answer, and what it used."""

    row: Annotated[int, Field(ge=0, description="Its line in the file, to speak of it")] = 0
    attempt_id: Annotated[UUID | None, Field(description="As the request carried it: X-Toybox-Attempt")] = None
    response_id: Annotated[str | None, Field(max_length=200, description="As the vendor calls the answer")] = None


class Export(BaseModel):
    """Some lines of an export."""

    model_config = ConfigDict(extra="forbid")
    rows: Annotated[list[ExportRow], Field(min_length=1, max_length=MOST_ROWS)]
    dry_run: Annotated[bool, Field(description="Compare, and change nothing")] = False


class Reconciled(BaseModel):
    """What became of one line."""

    row: int
    outcome: Outcome
    job_id: UUID | None
    attempt_id: UUID | None
    recorded: Annotated[Money | None, Field(description="USD that the attempt stood at")]
    told: Annotated[Money | None, Field(description="USD by this line")]
    said: str


class Reconciliation(BaseModel):
    """What became of every line."""

    dry_run: bool
    applied: int
    would_apply: int
    agrees: int
    drift: int
    unmatched: int
    refused: int
    items: list[Reconciled]


@router.get("/api/cost/estimates", dependencies=[may("costs.read")], response_model=Listed[Estimate])
async def list_estimates(
    looking: Looking,
    provider: Annotated[str | None, Query(max_length=200)] = None,
    project_id: UUID | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """Attempts that stand at their bound until somebody says what they used, or what it costs; the newest first."""
    async with looking.at(PricedAttempts) as seen:
        page = await estimates(seen.connection, provider=provider, project_id=project_id, cursor=cursor, limit=limit)
        truth = await seen.truth(project_id)
    return await looking.show_page(page, truth)


@router.post("/api/llm-jobs/{job_id}/usage", dependencies=[may(ReportUsage)], response_model=Done)
async def report_usage(
    job_id: UUID, commanding: Commanding, given: Annotated[LateUsage, json_of(LateUsage)]
) -> Response:
    """Say what an attempt used that stands at an estimate: priced as on the day of its request, counted once."""
    services = commanding.services
    catalogue = await services.prices.current()
    found = await late_bill(services.reader, catalogue, job_id, given.attempt, given)
    return await commanding.send(found.command, about=job_id)


@router.post("/api/cost/reconciliations", dependencies=[may(ReportUsage)], response_model=Reconciliation)
async def reconcile(commanding: Commanding, looking: Looking, given: Annotated[Export, json_of(Export)]) -> Response:
    """Match a vendor's export with attempts: estimates take its counts; what was counted is compared with it."""
    catalogue = await commanding.services.prices.current()
    async with looking.at(PricedAttempts) as seen:
        responses = await attempts_by_response(
            seen.connection, {each.response_id for each in given.rows if each.response_id}
        )
        jobs = await jobs_of_attempts(seen.connection, {each.attempt_id for each in given.rows if each.attempt_id})
        truth = await seen.truth()
    items: list[Reconciled] = []
    for number, row in enumerate(given.rows):
        try:
            place = _place(row, responses, jobs)
            items.append(await _reconciled(commanding, catalogue, row, place, number, dry_run=given.dry_run))
        except Unavailable:
            raise
        except ToyboxError as refusal:
            items.append(_told(row, "refused", None, str(refusal)))
    counts = Counter(each.outcome for each in items)
    kinds: tuple[Outcome, ...] = ("applied", "would_apply", "agrees", "drift", "unmatched", "refused")
    told = Reconciliation.model_validate(
        {"dry_run": given.dry_run, "items": items, **{kind: counts[kind] for kind in kinds}}
    )
    return shown(told.model_dump(mode="json"), headers=truth.headers)


def _place(
    row: ExportRow, responses: Mapping[str, list[tuple[UUID, UUID]]], jobs: Mapping[UUID, UUID]
) -> tuple[UUID, UUID] | None:
    """The job and the attempt that a line is about; None where nobody knows it."""
    if row.attempt_id is not None:
        job = jobs.get(row.attempt_id)
        return (job, row.attempt_id) if job else None
    if row.response_id is None:
        raise NotFound("this line names no answer: give attempt_id or response_id")
    return only(responses.get(row.response_id, []), row.response_id)


async def _reconciled(
    commanding: Desk,
    catalogue: Catalogue,
    row: ExportRow,
    place: tuple[UUID, UUID] | None,
    number: int,
    *,
    dry_run: bool,
) -> Reconciled:
    if place is None:
        said = f"nobody here asked for {row.attempt_id or row.response_id}, or its hold is still open"
        return _told(row, "unmatched", None, said)
    reader = commanding.services.reader
    found = await late_bill(reader, catalogue, place[0], await number_of(reader, *place), row)
    if not found.is_new:
        difference = found.difference()
        return _told(row, "drift" if difference else "agrees", found, difference or "the same as counted here")
    if dry_run:
        return _told(row, "would_apply", found, "an estimate waits for this")
    caller = replace(commanding.caller, key=f"{commanding.caller.key}|{number}"[:200])
    await commanding.services.commands.send(found.command, caller)
    return _told(row, "applied", found, "it replaces the estimate")


def _told(row: ExportRow, outcome: Outcome, found: LateBill | None, said: str) -> Reconciled:
    return Reconciled(
        row=row.row,
        outcome=outcome,
        job_id=found.job_id if found else None,
        attempt_id=found.attempt_id if found else row.attempt_id,
        recorded=found.known.amount if found and found.known else None,
        told=found.amount if found else None,
        said=said,
    )


@router.get("/api/cost/closed-months", dependencies=[may("costs.read")], response_model=AccountingState)
async def get_closed_months(looking: Looking) -> Response:
    """The last closed month, and when each was closed."""
    stream = accounting_id()
    async with looking.at(AccountingStates) as seen:
        row = await AccountingStates.find(seen.connection, stream)
        truth = await seen.truth(stream)
    view = row.view if row else AccountingState()
    return await looking.show(view, truth, version=view.version)


@router.post("/api/cost/closed-months", status_code=201, dependencies=[may(CloseMonth)], response_model=Done)
async def close_month(commanding: Commanding, given: Annotated[Given[CloseMonth], body_of(CloseMonth)]) -> Response:
    """Close a month and all before it: its report never changes again; later differences count when they are made."""
    return await commanding.send(given.command(), about=accounting_id(), status=201, location="/api/cost/closed-months")
