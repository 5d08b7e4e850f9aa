"""Loads costs by the million straight into the projection's tables, and checks that the sums are those of the facts.

Facts are generated in SQL, in the order of time; sums are moved by the projection's own statement, a batch at a time.
"""

from datetime import UTC, datetime, timedelta
from typing import Final, LiteralString
from uuid import UUID

import psycopg

from projections.costs.sums import COUNTS, CUTS, DIMENSIONS, SUMS, TABLES, mask, moving

PROJECTS: Final = 200
AGENTS: Final = 10
"""Of each project, in three phases; some do much more than others."""
DAYS: Final = 400
BEGINS: Final = datetime(2025, 10, 17, tzinfo=UTC)
BATCH: Final = 500_000
_UNLOGGED: Final[tuple[LiteralString, ...]] = ("cost_facts", "cost_series", *TABLES.values())


def project(number: int) -> UUID:
    """The id of a project, as the statement below makes it."""
    return UUID(f"00000000-0000-4000-8000-0000000{number:05d}")


def agent(of: int, number: int) -> UUID:
    """The id of a project's agent."""
    return UUID(f"00000000-0000-4000-9000-0000000{of * AGENTS + number:05d}")


_FACTS: Final[LiteralString] = """
insert into cost_facts (cost_id, position, recorded_at, project_id, phase, agent_id, key_id, job_id, attempt_id,
    provider, model, tier, input_tokens, output_tokens, cached_tokens, reasoning_tokens,
    amount, estimated, usage, lines)
select md5('c' || n)::uuid, n * 10, at, ('00000000-0000-4000-8000-' || lpad((who / %(agents)s)::text, 12, '0'))::uuid,
    'phase-' || who %% %(agents)s / 4, ('00000000-0000-4000-9000-' || lpad(who::text, 12, '0'))::uuid,
    ('00000000-0000-4000-a000-' || lpad(((who / %(agents)s + (a %% 100 >= 85)::int) %% 50)::text, 12, '0'))::uuid,
    md5('j' || n / 2)::uuid, md5('a' || n)::uuid, 'provider-' || what %% 4, 'model-' || what,
    case when counted then
        case when b %% 100 < 85 then 'standard' when b %% 100 < 95 then 'flex' else 'priority' end end,
    case when counted then read end, case when counted then written end, case when counted then read / 4 end,
    case when counted then written / 3 end,
    case when counted then (2 * read + 10 * written) * 0.000001 else 0.05 end,
    not counted,
    case when counted then json_build_object('tier', 'standard', 'passes', json_build_array(json_build_object(
        'quantities',
        json_build_array(json_build_object('bucket', 'input', 'quantity', read - read / 4),
        json_build_object('bucket', 'input_cache_read', 'quantity', read / 4),
        json_build_object('bucket', 'output', 'quantity', written))))) end,
    case when counted then format(
        '[{"bucket":"input","quantity":%%s,'
        '"rate":"2","per":1000000,"rate_id":"p@2025-01-01/m",'
        '"amount":"%%s"},{"bucket":"output","quantity":%%s,"rate":"10","per":1000000,"rate_id":"p@2025-01-01/m","amount":'
        '"%%s"}]', read, read * 0.000002, written, written * 0.00001)::json else '[]' end
from (select n, %(begins)s::timestamptz + n * %(apart)s::interval as at, a, b, a %% 200 <> 7 as counted,
    floor(%(all)s * power((a %% 100003) / 100003.0, 1.5))::int as who, 100 + b %% 5000 as read,
    20 + c %% 900 as written,
    (floor(%(all)s * power((a %% 100003) / 100003.0, 1.5))::int * 7 + (c %% 100 >= 85)::int) %% 20 as what
    from (select n, hashint4(n) & 2147483647 as a, hashint4(n + 500000000) & 2147483647 as b,
        hashint4(n + 1000000000) & 2147483647 as c
        from generate_series(%(first)s::int, %(last)s::int) n) as die) as made
"""
_CHANGES: Final[LiteralString] = (
    "select date_bin('15 minutes', recorded_at, '2000-01-01Z') as begins, "
    + ", ".join(DIMENSIONS)
    + ", count(*) as attempts, count(*) filter (where estimated) as estimated,"
    " coalesce(sum(input_tokens), 0) as input_tokens, coalesce(sum(output_tokens), 0) as output_tokens,"
    " coalesce(sum(cached_tokens), 0) as cached_tokens, 0 as cache_write_tokens,"
    " coalesce(sum(reasoning_tokens), 0) as reasoning_tokens, sum(amount) as amount,"
    " coalesce(sum(amount) filter (where estimated), 0) as estimated_amount from cost_facts"
    " where position between %(first)s * 10 and %(last)s * 10 group by 1, " + ", ".join(DIMENSIONS)
)


async def load(conninfo: str, costs: int) -> str:
    """So many costs, spread evenly over the days; answers how many sums they make."""
    apart = timedelta(days=DAYS) / costs
    async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
        await connection.execute("set work_mem = '256MB'")
        await connection.execute("set maintenance_work_mem = '512MB'")
        indexes = await (
            await connection.execute(
                "select indexname::text, indexdef from pg_indexes where tablename = 'cost_facts'"
                " and indexname not in (select conname from pg_constraint) and indexname <> 'cost_facts_in_order'"
            )
        ).fetchall()
        for name, _ in indexes:
            await connection.execute(f"drop index {name}".encode())
        for table in _UNLOGGED:
            await connection.execute(f"alter table {table} set unlogged")
        for first in range(0, costs, BATCH):
            last = min(costs, first + BATCH) - 1
            given = {"agents": AGENTS, "all": PROJECTS * AGENTS, "begins": BEGINS, "apart": apart}
            await connection.execute(_FACTS, {**given, "first": first, "last": last})
            await connection.execute(moving(_CHANGES), {"first": first, "last": last})
        for _, definition in indexes:
            await connection.execute(definition.encode())
        for table in _UNLOGGED:
            await connection.execute(f"vacuum (analyze) {table}")
        return await check(connection)


async def check(connection: psycopg.AsyncConnection[tuple[object, ...]]) -> str:
    """Every cut in every grain adds up to the facts; answers how many rows that took."""
    facts = await _row(
        connection,
        "select count(*), count(*) filter (where estimated), sum(input_tokens), sum(output_tokens), sum(cached_tokens),"
        " 0, sum(reasoning_tokens), sum(amount), sum(amount) filter (where estimated) from cost_facts",
    )
    sums: LiteralString = ", ".join(f"sum({each})" for each in SUMS)
    told = [f"{facts[0]:,} facts"]
    for grain, table in TABLES.items():
        rows = 0
        for cut in CUTS:
            found = await _row(
                connection,
                f"select {sums}, count(*) from {table} where cut = %s",
                mask(cut),
            )
            if not found[-1]:
                assert grain == "quarter", (grain, cut)
                continue
            assert found[:-1] == facts, f"{grain} by {', '.join(cut)}: {found[:-1]} are not {facts}"
            rows += int(str(found[-1]))
        told.append(f"{rows:,} sums by {grain}")
    assert len(COUNTS) + 2 == len(facts)
    return ", ".join(told)


async def _row(
    connection: psycopg.AsyncConnection[tuple[object, ...]], query: LiteralString, *values: object
) -> tuple[object, ...]:
    row = await (await connection.execute(query, values)).fetchone()
    assert row is not None
    return row
