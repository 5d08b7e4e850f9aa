"""Questions to the tables of LLM jobs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final
from uuid import UUID

from psycopg.rows import class_row

from domain.charges import Unit
from domain.llm_jobs import JobStatus
from domain.values import Instant, Money, Sealed, Target
from projections.listing import Listing
from projections.llm_jobs.rows import AttemptStatus, JobRow
from projections.llm_jobs.table import JOBS
from projections.llm_jobs.waiting import Standing, WaitsFor, cut_off, waits
from projections.paging import Page
from projections.projector import Connection
from projections.views import View

OPEN: Final = ["queued", "running", "parked", "retrying"]


class ParkedAt(View):
    """The limit that a job waits for, as it was when it was parked."""

    budget_id: UUID
    scope: str
    name: str
    """Which of the budget's limits it is."""
    unit: Unit
    """What its figures count in."""
    limit: Money
    settled: Money
    held: Money
    requested: Money
    retry_at: Instant | None
    """When the limit's window ends, and the job asks again by itself; None where it never does."""
    since: Instant


class Output(View):
    """What a model answered; without `sealed` it lies in the object store under its digest."""

    digest: str
    size: int
    sealed: Sealed | None
    model: str
    """As the provider names it."""
    response_id: str | None
    finish_reason: str
    cost: Money


class Timing(View):
    """How long an answer took, in milliseconds."""

    queue_ms: int
    first_token_ms: int | None
    total_ms: int


class JobView(View):
    """One LLM job."""

    job_id: UUID
    project_id: UUID | None
    phase: str | None
    agent_id: UUID | None
    run: int
    agent_attempt: int
    provider: str
    model: str
    fallbacks: tuple[Target, ...]
    """Where else it may go, in this order."""
    target: Target
    """Where its present attempt went, or the next one goes."""
    status: JobStatus
    waiting_for: tuple[WaitsFor, ...] = ()
    """What keeps it from going on; nothing where it is only not at the front."""
    priority: int
    attempt: int
    max_attempts: int
    max_output_tokens: int
    timeout_seconds: int
    worker: str | None
    queued_at: Instant
    not_before: Instant | None
    due_at: Instant | None
    started_at: Instant | None
    ended_at: Instant | None
    parked: ParkedAt | None
    failure: str | None
    reason: str | None
    note: Sealed | None
    """What was said besides, by a provider or a template."""
    output: Output | None
    input_tokens: int | None
    output_tokens: int | None
    timing: Timing | None
    delivered_to: str | None
    key_id: UUID | None
    """The access key that asked."""
    deadline: Instant | None
    """When it may not start any more."""
    dead_lettered_at: Instant | None
    """Since when it has failed for good, with nobody who goes on with it."""
    requeues: int
    version: int
    position: int


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs are asked for; what is None does not matter."""

    project_id: UUID | None = None
    agent_id: UUID | None = None
    status: list[JobStatus] | None = None
    provider: str | None = None
    model: str | None = None
    failure: str | None = None
    dead: bool | None = None
    """Only dead letters."""


EVERY_JOB: Final = JobFilter()


def _view(row: dict[str, Any]) -> JobView:
    parked = row["parked_on"] and ParkedAt(
        budget_id=row["parked_on"],
        scope=row["parked_scope"],
        name=row["parked_name"],
        unit=row["parked_unit"],
        limit=row["parked_limit"],
        settled=row["parked_settled"],
        held=row["parked_held"],
        requested=row["parked_requested"],
        retry_at=row["parked_until"],
        since=row["parked_at"],
    )
    output = row["output_digest"] and Output(
        digest=row["output_digest"],
        size=row["output_size"],
        sealed=row["output_sealed"],
        model=row["answered_by"],
        response_id=row["response_id"],
        finish_reason=row["finish_reason"],
        cost=row["cost"],
    )
    timing = None if row["total_ms"] is None else Timing.model_validate(row)
    target = {"provider": row["target_provider"], "model": row["target_model"]}
    more = {"parked": parked, "output": output, "timing": timing, "target": target}
    return JobView.model_validate(row | more | {"fallbacks": tuple(row["fallbacks"])})


_COLUMNS: Final = (
    "job_id, project_id, phase, agent_id, run, agent_attempt, provider, model, status, priority, attempt, max_attempts,"
    " max_output_tokens, timeout_seconds, worker, queued_position, queued_at, not_before, due_at, started_at, ended_at,"
    " parked_at, parked_on, parked_scope, parked_name, parked_unit, parked_limit, parked_settled, parked_held,"
    " parked_requested, parked_until, failure, reason, note, fallbacks,"
    " target_provider, target_model, answered_by, response_id, finish_reason, output_digest,"
    " output_size, output_sealed, input_tokens, output_tokens,"
    " cost, queue_ms, first_token_ms, total_ms, delivered_to, key_id, deadline, dead_lettered_at, requeues, version,"
    " position"
)
_LIST: Final = Listing[JobView](
    name="llm jobs",
    query=f"select {_COLUMNS} from llm_jobs where {{filters}} and {{after}} order by {{order}}",
    row=_view,
    order={"queued_position": "bigint"},
    filters={
        "project_id": "project_id = %(project_id)s",
        "agent_id": "agent_id = %(agent_id)s",
        "status": "status = any(%(status)s)",
        "provider": "provider = %(provider)s",
        "model": "model = %(model)s",
        "failure": "failure = %(failure)s",
        "dead": "dead_lettered_at is not null and %(dead)s",
    },
)
_DEPTH: Final = "select status, count(*) from llm_jobs where status = any(%s) group by status"
_ATTEMPTS: Final = (
    "select a.attempt_id, a.attempt, a.status, a.provider, a.model, a.rate_id, a.bound, a.worker, a.request_digest,"
    " a.request_size, a.admitted_at, a.started_at, a.hold_expires_at, a.ended_at, a.reported_late, a.failure, a.reason,"
    " a.note, a.input_tokens, a.output_tokens, a.total_ms, a.queue_ms, a.first_token_ms, f.amount as cost, f.estimated"
    " from llm_job_attempts a left join cost_facts f on f.attempt_id = a.attempt_id"
    " where a.job_id = %s order by a.attempt"
)


async def jobs(
    connection: Connection, wanted: JobFilter = EVERY_JOB, *, cursor: str | None = None, limit: int = 50
) -> Page[JobView]:
    """The newest first. Reads LlmJobs."""
    page = await _LIST.page(connection, asdict(wanted), cursor=cursor, limit=limit)
    return replace(page, items=await _with_waits(connection, page.items))


async def oldest_dead(connection: Connection, wanted: JobFilter, limit: int) -> list[UUID]:
    """Dead letters that fit, those first that were queued first. Reads LlmJobs."""
    oldest = replace(_LIST, name="oldest llm jobs", descending=False)
    page = await oldest.page(connection, asdict(replace(wanted, dead=True)), cursor=None, limit=limit)
    return [each.job_id for each in page.items]


async def job(connection: Connection, job_id: UUID) -> JobView | None:
    """One job. Reads LlmJobs."""
    for row in await JOBS.load(connection, [job_id]):
        found = _view({each.name: getattr(row, each.name) for each in fields(JobRow)})
        return (await _with_waits(connection, [found]))[0]
    return None


async def _with_waits(connection: Connection, views: Sequence[JobView]) -> list[JobView]:
    circuits = await cut_off(connection) if any(each.status == "queued" for each in views) else []
    return [each.but(waiting_for=waits(_standing(each), circuits)) for each in views]


def _standing(view: JobView) -> Standing:
    return Standing(
        status=view.status,
        targets=(Target(provider=view.provider, model=view.model), *view.fallbacks),
        budget=view.parked.scope if view.parked else None,
        due_at=view.parked.retry_at if view.parked else view.due_at,
        failure=view.failure,
    )


class AttemptView(View):
    """One try of a job at a provider."""

    attempt_id: UUID
    attempt: int
    status: AttemptStatus
    provider: str
    model: str
    rate_id: str
    bound: Money
    """The most that it could cost."""
    worker: str
    request_digest: str
    request_size: int
    admitted_at: Instant
    started_at: Instant | None
    hold_expires_at: Instant | None
    ended_at: Instant | None
    reported_late: bool
    failure: str | None
    reason: str | None
    note: Sealed | None
    input_tokens: int | None
    output_tokens: int | None
    queue_ms: int | None
    """How long the job was ready and waited for this attempt."""
    first_token_ms: int | None
    total_ms: int | None
    cost: Money | None
    """None until it is known; nothing for what was never sent."""
    estimated: bool | None


async def attempts_of(connection: Connection, job_id: UUID) -> list[AttemptView]:
    """A job's attempts, the first one first: no more than a job may have. Reads LlmJobs and Costs."""
    async with connection.cursor(row_factory=class_row(AttemptView)) as cursor:
        return await (await cursor.execute(_ATTEMPTS, [job_id])).fetchall()


async def queue_depth(connection: Connection) -> Mapping[str, int]:
    """How many jobs that have not ended stand where. Reads LlmJobs."""
    counted = dict(await (await connection.execute(_DEPTH, [OPEN])).fetchall())
    return {status: counted.get(status, 0) for status in OPEN}
