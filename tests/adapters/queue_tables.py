"""A queue in PostgreSQL, filled row by row: the read model's own tables, without a log behind them."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid5

import orjson
from psycopg_pool import AsyncConnectionPool

from domain.ids import derived_id
from domain.llm_jobs import ExecutionRules
from domain.values import NAMESPACE
from projections.llm_jobs import LlmJobs
from projections.llm_jobs.rows import lane_of, share_of

Pool = AsyncConnectionPool[Any]
_JOBS = (
    "insert into llm_jobs (job_id, project_id, run, agent_attempt, provider, model, status, priority, attempt,"
    " max_attempts, max_output_tokens, timeout_seconds, queued_position, queued_at, key_id, ready_at, waits_since,"
    " lane, requeues, version, position, fallbacks, target_provider, target_model, started_at)"
    " select job, project, 1, 1, provider, model, status, priority, 0, 3, 100, 60, number, at, key, at, at, lane, 0, 1,"
    " number, '[]', provider, model, case status when 'running' then at end"
    " from json_to_recordset(%s) as row (job uuid, project uuid, provider text, model text, status text,"
    " priority integer, number bigint, wait double precision, key uuid, lane uuid),"
    " lateral (select clock_timestamp() + make_interval(secs => wait) as at) as clock"
)
_LANES = (
    "insert into llm_job_lanes select * from json_populate_recordset(null::llm_job_lanes, %s) on conflict do nothing"
)


def job(number: int) -> UUID:
    """The id of a job."""
    return uuid5(NAMESPACE, f"job {number}")


def project(name: str) -> UUID:
    """The id of a project."""
    return derived_id("project", name)


async def put(opened: Pool, query: str, *values: object) -> None:
    """Any statement."""
    async with opened.connection() as connection:
        await connection.execute(query.encode(), values)


async def asked(opened: Pool, query: str) -> list[tuple[Any, ...]]:
    """Any question."""
    async with opened.connection() as connection:
        return await (await connection.execute(query.encode())).fetchall()


async def make_tables(opened: Pool) -> None:
    """As the projection makes them."""
    await put(opened, LlmJobs().ddl())


async def queue(
    opened: Pool,
    numbers: Sequence[int],
    *,
    of: UUID | None = None,
    priority: int = 5,
    wait: float = 0,
    provider: str = "openai",
    model: str = "small",
    key: UUID | None = None,
    status: str = "queued",
    fallbacks: Sequence[tuple[str, str]] = (),
) -> None:
    """Jobs that wait, or may start only in `wait` seconds, or could have started so long ago."""
    route = ((provider, model), *fallbacks)
    lane = lane_of(of, priority, route, key)
    targets = [{"provider": each[0], "model": each[1]} for each in route]
    row = {"lane": lane, "share": share_of(of, key), "project_id": of, "key_id": key, "priority": priority}
    await put(opened, _LANES, orjson.dumps([{**row, "targets": targets}]).decode())
    facts = {"project": of, "provider": provider, "model": model, "status": status, "priority": priority}
    rows = [{**facts, "job": job(each), "number": each, "wait": wait, "key": key, "lane": lane} for each in numbers]
    await put(opened, _JOBS, orjson.dumps(rows).decode())


async def choose(opened: Pool, rules: ExecutionRules) -> None:
    """Execution settings."""
    await put(opened, "delete from queue_rules")
    numbers = rules.numbers()
    insert = "insert into queue_rules select * from unnest(%s::text[], %s::integer[])"
    await put(opened, insert, list(numbers), list(numbers.values()))


async def age(opened: Pool, seconds: float) -> None:
    """Let all leases grow older: their workers are silent."""
    await put(opened, "update leases set heartbeat_at = heartbeat_at - make_interval(secs => %s)", seconds)
