"""Lists that are asked for as they are: PostgreSQL finds their first page by an index, however long they are."""

from typing import Any, LiteralString
from uuid import uuid4

import pytest
from psycopg import sql
from psycopg_pool import AsyncConnectionPool

from projections.agents import AgentDetails
from projections.budgets import BudgetStates
from projections.checkpoints import AssetViews, CheckpointViews
from projections.costs import Costs
from projections.identity.access_keys import AccessKeys
from projections.llm_jobs import LlmJobs
from projections.projector import Projection, rebuild
from projections.projects import ProjectOverviews
from projections.provider_keys import ProviderKeys
from projections.providers import Providers
from projections.system_log import SystemLog
from tests.support.projections import Writing

LISTS: list[tuple[type[Projection], LiteralString, LiteralString]] = [
    (ProjectOverviews, "project_overviews", "true order by created_at desc, key desc"),
    (ProjectOverviews, "project_overviews", "status = 'running' order by created_at desc, key desc"),
    (AgentDetails, "agent_details", "project_id = %(id)s order by name, key"),
    (CheckpointViews, "checkpoint_views", "true order by requested_at desc, key desc"),
    (CheckpointViews, "checkpoint_views", "status = 'pending' order by requested_at desc, key desc"),
    (
        CheckpointViews,
        "checkpoint_views",
        "project_id = %(id)s order by requested_at desc, key desc",
    ),
    (AssetViews, "asset_views", "project_id = %(id)s order by name, key"),
    (BudgetStates, "budget_states", "true order by opened_at desc, key desc"),
    (
        BudgetStates,
        "budget_states",
        "project_id = %(id)s order by opened_at desc, key desc",
    ),
    (AccessKeys, "access_key_views", "true order by issued_at desc, key desc"),
    (ProviderKeys, "provider_key_views", "true order by stored_at desc, key desc"),
    (Providers, "provider_views", "true order by name, key"),
    (Costs, "cost_facts", "true order by position desc"),
    (Costs, "cost_facts", "project_id = %(id)s order by position desc"),
    (LlmJobs, "llm_jobs", "true order by queued_position desc"),
    (LlmJobs, "llm_jobs", "status = 'queued' order by queued_position desc"),
    (SystemLog, "system_log", "true order by position desc"),
    (SystemLog, "system_log", "level <> 'info' order by position desc"),
    (SystemLog, "system_log", "level = 'error' order by position desc"),
    (SystemLog, "system_log", "project_id = %(id)s order by position desc"),
    (SystemLog, "system_log", "stream_id = %(id)s order by position desc"),
    (SystemLog, "system_log", "type = 'project.failed' order by position desc"),
    (SystemLog, "system_log", "actor = 'owner' order by position desc"),
]


@pytest.mark.parametrize(("projection", "table", "asked"), LISTS)
async def test_a_list_is_read_in_its_order_by_an_index(
    connections: AsyncConnectionPool[Any], projection: type[Projection], table: LiteralString, asked: LiteralString
) -> None:
    await rebuild(connections, Writing().store, projection())
    async with connections.connection() as connection, connection.transaction():
        # A table without rows would be read whole: what matters is whether there is another way, without sorting.
        for way in ("seqscan", "bitmapscan", "sort"):
            await connection.execute(sql.SQL(f"set local enable_{way} = off"))
        query = sql.SQL("explain select 1 from {} where {} limit 51").format(sql.Identifier(table), sql.SQL(asked))
        plan = "\n".join([row[0] for row in await (await connection.execute(query, {"id": uuid4()})).fetchall()])
    assert "Sort" not in plan, plan
    assert "Index" in plan, plan
