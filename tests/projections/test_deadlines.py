"""Deadlines: exactly what is still open, in the table that their runner reads."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from adapters.clock import now
from adapters.postgres.following import PostgresDueTable
from domain.agents import Agent
from domain.budgets import Budget
from domain.checkpoints import Checkpoint
from domain.kernel import Aggregate, evolve
from domain.llm_jobs import LlmJob
from projections.deadlines import Deadline, Deadlines, deadlines
from projections.projector import Applied, Connections, reading, rebuild
from tests.projections.town import busy


def still_open(states: Mapping[UUID, Aggregate]) -> dict[tuple[str, UUID, UUID], datetime]:
    """What the aggregates themselves wait for."""
    found: dict[tuple[str, UUID, UUID], datetime] = {}
    for stream, each in states.items():
        if isinstance(each, Agent) and each.retry_at:
            found[Agent.RetryScheduled.TYPE, stream, stream] = each.retry_at
        if isinstance(each, LlmJob) and each.status == "retrying" and each.due_at:
            found[LlmJob.RetryScheduled.TYPE, stream, stream] = each.due_at
        if isinstance(each, Checkpoint) and each.status == "pending" and each.due_at:
            found[Checkpoint.Requested.TYPE, stream, stream] = each.due_at
        if isinstance(each, Budget):
            found |= {(Budget.Reserved.TYPE, stream, key): hold.expires_at for key, hold in each.holds.items()}
    return found


async def listed(connections: Connections, kind: str | None = None) -> list[Deadline]:
    async with reading(connections, Deadlines) as read:
        found: list[Deadline] = []
        cursor = None
        while True:
            page = await deadlines(read.connection, kind=kind, cursor=cursor, limit=3)
            found += page.items
            cursor = page.next
            if cursor is None:
                return found


async def test_the_table_holds_what_aggregates_still_wait_for_and_nothing_else(connections: Connections) -> None:
    await rebuild(connections, busy().story.store, Deadlines())
    rows = await listed(connections)
    assert {(each.kind, each.stream_id, each.key): each.due_at for each in rows} == still_open(busy().states)
    for each in rows:
        set_by = busy().events[each.position - 1]
        assert (set_by.type, set_by.stream_id) == (each.kind, each.stream_id)
    holds = await listed(connections, Budget.Reserved.TYPE)
    assert [each.kind for each in holds] == [Budget.Reserved.TYPE] * len(holds)


async def test_at_every_moment_of_a_town_the_table_is_right(connections: Connections) -> None:
    states: dict[UUID, Aggregate] = {}
    kinds: set[str] = set()
    projection, events = Deadlines(), busy().events
    async with connections.connection() as connection, connection.transaction(force_rollback=True):
        await connection.execute(projection.ddl().encode())
        for start in range(0, len(events), 25):
            batch = events[start : start + 25]
            for stored in batch:
                states[stored.stream_id] = evolve(states.get(stored.stream_id), stored)
            await projection.apply(connection, [Applied(each) for each in batch if projection.hears(each.type)])
            rows = (await deadlines(connection, limit=200)).items
            assert {(each.kind, each.stream_id, each.key): each.due_at for each in rows} == still_open(states)
            kinds |= {each.kind for each in rows}
    assert kinds >= {LlmJob.RetryScheduled.TYPE, Checkpoint.Requested.TYPE, Budget.Reserved.TYPE}


async def test_the_runner_reads_what_is_due_the_longest_overdue_first(connections: AsyncConnectionPool[Any]) -> None:
    await rebuild(connections, busy().story.store, Deadlines())
    table = PostgresDueTable(connections)
    due = await table.due(1000)
    assert [each.due_at for each in due] == sorted(each.due_at for each in due)
    left = await table.seconds_to_next()
    to_come = [due_at for due_at in still_open(busy().states).values() if due_at > now()]
    assert (left is None) == (not to_come)
