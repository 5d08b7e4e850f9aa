"""The tables of LLM jobs: a batch reads the jobs that it touches, folds its events, writes them back at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from domain.llm_jobs import ExecutionSettings, LlmJob
from domain.projects import Project
from domain.provider_health import ProviderHealth
from projections.llm_jobs.circuits import OF_CIRCUITS, write_circuits
from projections.llm_jobs.rows import (
    AttemptRow,
    JobRow,
    bury_or_revive,
    change_attempt,
    change_job,
    lane_of,
    new_attempt,
    new_job,
    share_of,
    targets_of,
)
from projections.projector import Applied, Connection, on
from projections.rows import Rows, as_json
from projections.tables import Tables

JOBS: Final = Rows(JobRow, "llm_jobs", "job_id")
ATTEMPTS: Final = Rows(AttemptRow, "llm_job_attempts", "attempt_id")
RUN: Final = frozenset({Project.Started.TYPE, Project.Resumed.TYPE})
"""From then on a project's jobs may be admitted."""
REST: Final = frozenset(
    kind.TYPE for kind in (Project.Created, Project.Paused, Project.Completed, Project.Failed, Project.Cancelled)
)
"""From then on they wait."""
_IDLE: Final = "insert into idle_projects (project_id) select unnest(%s::uuid[]) on conflict do nothing"
_BUSY: Final = "delete from idle_projects where project_id = any(%s)"
_LANE: Final = (
    "insert into llm_job_lanes (lane, share, project_id, key_id, priority, targets)"
    " select lane, share, project_id, key_id, priority, targets"
    " from json_populate_recordset(null::llm_job_lanes, %s::json)"
    " on conflict do nothing"
)
_RULES: Final = (
    "insert into queue_rules (name, number) select * from unnest(%s::text[], %s::integer[])"
    " on conflict (name) do update set number = excluded.number"
)
_NO_RULES: Final = "delete from queue_rules where name <> all(%s)"
CHOSEN: Final = (ExecutionSettings.Chosen, ExecutionSettings.Changed)


@dataclass(frozen=True, slots=True)
class _Lane:
    lane: UUID
    share: UUID
    project_id: UUID | None
    key_id: UUID | None
    priority: int
    targets: list[dict[str, str]]


class LlmJobs(Tables):
    """Answers "what is asked of models, what waits, what runs, what came of it?": jobs and their attempts."""

    name = "llm_jobs"
    version = 4

    @on(
        Project.Created,
        Project.Started,
        Project.Paused,
        Project.Resumed,
        Project.Completed,
        Project.Failed,
        Project.Cancelled,
        LlmJob.Queued,
        LlmJob.Shaped,
        LlmJob.Admitted,
        LlmJob.Started,
        LlmJob.FirstToken,
        LlmJob.Parked,
        LlmJob.Denied,
        LlmJob.Resumed,
        LlmJob.Completed,
        LlmJob.Failed,
        LlmJob.RetryScheduled,
        LlmJob.Rerouted,
        LlmJob.AttemptLost,
        LlmJob.LateUsage,
        LlmJob.Cancelled,
        LlmJob.ResultDelivered,
        LlmJob.DeadLettered,
        LlmJob.Requeued,
        ExecutionSettings.Chosen,
        ExecutionSettings.Changed,
        ProviderHealth.CircuitOpened,
        ProviderHealth.CircuitHalfOpened,
        ProviderHealth.ProbeAbandoned,
        ProviderHealth.CircuitClosed,
    )
    async def apply(self, connection: Connection, batch: Sequence[Applied]) -> None:
        """Two reads and a few writes, however many events."""
        runs = {each.stored.stream_id: each.stored.type in RUN for each in batch if each.stored.type in RUN | REST}
        if idle := [project for project, running in runs.items() if not running]:
            await connection.execute(_IDLE, [idle])
        if busy := [project for project, running in runs.items() if running]:
            await connection.execute(_BUSY, [busy])
        if circuits := [each for each in batch if isinstance(each.event, OF_CIRCUITS)]:
            await write_circuits(connection, circuits)
        for each in batch:
            if isinstance(each.event, CHOSEN):
                await _write_rules(connection, each.event.rules.numbers())
        others = [each for each in batch if not isinstance(each.event, (*OF_CIRCUITS, *CHOSEN))]
        await _write_jobs(connection, [each for each in others if each.stored.stream_id not in runs])

    async def totals(self, connection: Connection) -> Mapping[str, str]:
        """How many jobs stand where."""
        found = await connection.execute("select status, count(*)::text from llm_jobs group by status")
        return dict(await found.fetchall())


async def _write_jobs(connection: Connection, batch: Sequence[Applied]) -> None:
    born = {each.stored.stream_id for each in batch if isinstance(each.event, LlmJob.Queued)}
    older = {each.stored.stream_id for each in batch} - born
    jobs = {row.job_id: row for row in await JOBS.load(connection, older)}
    attempts = {(row.job_id, row.attempt): row for row in await ATTEMPTS.load(connection, older, "job_id")}
    lanes: dict[UUID, _Lane] = {}
    for each in batch:
        _apply(each, jobs, attempts)
        if row := jobs.get(each.stored.stream_id):
            _line_up(row, lanes)
    if lanes:
        await connection.execute(_LANE, [as_json(list(lanes.values()))])
    touched = {each.stored.stream_id for each in batch}
    await JOBS.save(connection, (row for key, row in jobs.items() if key in touched))
    await ATTEMPTS.save(connection, attempts.values())


def _line_up(row: JobRow, lanes: dict[UUID, _Lane]) -> None:
    """In the lane of its like, when it waits; whoever goes on at another provider changes to another one."""
    targets = targets_of(row)
    lane = lane_of(row.project_id, row.priority, targets, row.key_id)
    if row.status != "queued" or lane == row.lane:
        return
    row.lane = lane
    lanes[lane] = _Lane(
        lane,
        share_of(row.project_id, row.key_id),
        row.project_id,
        row.key_id,
        row.priority,
        [{"provider": provider, "model": model} for provider, model in targets],
    )


async def _write_rules(connection: Connection, numbers: Mapping[str, int]) -> None:
    await connection.execute(_NO_RULES, [list(numbers)])
    await connection.execute(_RULES, [list(numbers), list(numbers.values())])


def _apply(each: Applied, jobs: dict[UUID, JobRow], attempts: dict[tuple[UUID, int], AttemptRow]) -> None:
    stored, event = each.stored, each.event
    if isinstance(event, LlmJob.Queued):
        jobs[stored.stream_id] = new_job(event, stored)
        return
    job = jobs.get(stored.stream_id)
    if job is None:
        return
    if isinstance(event, LlmJob.Admitted):
        attempts[stored.stream_id, event.attempt] = new_attempt(event, stored, job)
    elif row := attempts.get((stored.stream_id, getattr(event, "attempt", job.attempt))):
        change_attempt(row, event, stored)
    change_job(job, event, stored)
    bury_or_revive(job, event, stored)
