"""The tables of LLM jobs: a batch reads the jobs that it touches, folds its events, writes them back at once."""

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from domain.llm_jobs import LlmJob
from projections.llm_jobs.rows import AttemptRow, JobRow, change_attempt, change_job, new_attempt, new_job
from projections.projector import Applied, Connection, on
from projections.rows import Rows
from projections.tables import Tables

JOBS: Final = Rows(JobRow, "llm_jobs", "job_id")
ATTEMPTS: Final = Rows(AttemptRow, "llm_job_attempts", "attempt_id")


class LlmJobs(Tables):
    """Answers "what is asked of models, what waits, what runs, what came of it?": jobs and their attempts."""

    name = "llm_jobs"

    @on(
        LlmJob.Queued,
        LlmJob.Admitted,
        LlmJob.Started,
        LlmJob.Parked,
        LlmJob.Denied,
        LlmJob.Resumed,
        LlmJob.Completed,
        LlmJob.Failed,
        LlmJob.RetryScheduled,
        LlmJob.AttemptLost,
        LlmJob.LateUsage,
        LlmJob.Cancelled,
        LlmJob.ResultDelivered,
    )
    async def apply(self, connection: Connection, batch: Sequence[Applied]) -> None:
        """Two reads and two writes, however many events."""
        born = {each.stored.stream_id for each in batch if isinstance(each.event, LlmJob.Queued)}
        older = {each.stored.stream_id for each in batch} - born
        jobs = {row.job_id: row for row in await JOBS.load(connection, older)}
        attempts = {(row.job_id, row.attempt): row for row in await ATTEMPTS.load(connection, older, "job_id")}
        for each in batch:
            _apply(each, jobs, attempts)
        touched = {each.stored.stream_id for each in batch}
        await JOBS.save(connection, (row for key, row in jobs.items() if key in touched))
        await ATTEMPTS.save(connection, attempts.values())

    async def totals(self, connection: Connection) -> Mapping[str, str]:
        """How many jobs stand where."""
        found = await connection.execute("select status, count(*)::text from llm_jobs group by status")
        return dict(await found.fetchall())


def _apply(each: Applied, jobs: dict[UUID, JobRow], attempts: dict[tuple[UUID, int], AttemptRow]) -> None:
    stored, event = each.stored, each.event
    if isinstance(event, LlmJob.Queued):
        jobs[stored.stream_id] = new_job(event, stored)
        return
    job = jobs.get(stored.stream_id)
    if job is None:
        return
    if isinstance(event, LlmJob.Admitted):
        attempts[stored.stream_id, event.attempt] = new_attempt(event, stored)
    elif row := attempts.get((stored.stream_id, getattr(event, "attempt", job.attempt))):
        change_attempt(row, event, stored)
    change_job(job, event, stored)
