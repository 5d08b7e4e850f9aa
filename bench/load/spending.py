"""Loads costs by the million straight into the projection's tables, and checks that the sums are those of the facts.

Facts are generated in SQL and added up once; the projection's own statement makes all sums of that, a month at a time.
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
select ('c0000000' || id)::uuid, n * 10, at + (n %% %(calls)s) * %(apart)s::interval,
    ('00000000-0000-4000-8000-' || lpad((who / %(agents)s)::text, 12, '0'))::uuid,
    'phase-' || who %% %(agents)s / 4, ('00000000-0000-4000-9000-' || lpad(who::text, 12, '0'))::uuid,
    ('00000000-0000-4000-a000-' || lpad(((who / %(agents)s + (a %% 100 >= 85)::int) %% 50)::text, 12, '0'))::uuid,
    ('b0000000' || id)::uuid, ('a0000000' || id)::uuid, 'provider-' || what %% 4, 'model-' || what,
    case when counted then case when b %% 100 < 85 then 'standard' when b %% 100 < 95 then 'flex' else 'priority' end
    end, case when counted then read end, case when counted then written end, case when counted then read / 4 end,
    case when counted then written / 3 end,
    case when counted then (2 * read + 10 * written) * 0.000001 else 0.05 end,
    not counted, null, case when counted then '[{"bucket":"input"},{"bucket":"output"}]'::json else '[]' end
from (select r::bigint * %(calls)s + c as n, at, who, a, b, a %% 200 <> 7 as counted,
    (who * 7 + (a / 128 %% 100 >= 85)::int) %% 20 as what, 100 + (b + c * 7919) %% 5000 as read,
    20 + (a + c * 7907) %% 900 as written,
    '-0000-4000-8000-' || lpad(to_hex(r::bigint * %(calls)s + c), 12, '0') as id
    from (select r, date_bin('15 minutes', %(begins)s::timestamptz + r * %(between)s::interval, '2000-01-01Z') as at,
        hashint4(r) & 1073741823 as a, hashint4(r + 500000000) & 1073741823 as b,
        floor(%(all)s * power((hashint4(r + 1000000000) & 1073741823) / 1073741824.0::float8, 1.5))::int as who
        from generate_series(%(first)s::int, %(last)s::int) as r) as runs
    cross join generate_series(0, %(calls)s::int - 1) as c) as made
"""
"""A run is an agent's calls with one model within one quarter of an hour."""
_ADDED_UP: Final[LiteralString] = (
    "create temporary table added_up as select date_bin('15 minutes', recorded_at, '2000-01-01Z') as begins, "
    + ", ".join(DIMENSIONS)
    + ", count(*) as attempts, count(*) filter (where estimated) as estimated,"
    " coalesce(sum(input_tokens), 0) as input_tokens, coalesce(sum(output_tokens), 0) as output_tokens,"
    " coalesce(sum(cached_tokens), 0) as cached_tokens, 0 as cache_write_tokens,"
    " coalesce(sum(reasoning_tokens), 0) as reasoning_tokens, sum(amount) as amount,"
    " coalesce(sum(amount) filter (where estimated), 0) as estimated_amount from cost_facts group by 1, "
    + ", ".join(DIMENSIONS)
)
_MONTHS: Final = "select distinct date_trunc('month', begins, 'UTC') as month from added_up order by month"
_CHANGES: Final = "select * from added_up where begins >= %(month)s and begins < %(month)s + interval '1 month'"


async def load(conninfo: str, costs: int, runs: int | None = None) -> str:
    """So many costs in so many runs, spread evenly over the days; answers how many sums they make.

    Without `runs` each cost is a run of its own: the most sums that so many costs can have.
    """
    runs = min(runs or costs, costs)
    calls = costs // runs
    assert calls * runs == costs, "each run has as many calls"
    at_once = max(1, BATCH // calls)
    async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
        for setting in ("jit = off", "work_mem = '512MB'", "temp_buffers = '512MB'", "maintenance_work_mem = '1GB'"):
            await connection.execute(f"set {setting}".encode())
        dropped, made_again = await _indexes(connection)
        for each in dropped:
            await connection.execute(each.encode())
        for table in _UNLOGGED:
            await connection.execute(f"alter table {table} set unlogged")
        given = {"agents": AGENTS, "all": PROJECTS * AGENTS, "begins": BEGINS, "calls": calls}
        given |= {"between": timedelta(days=DAYS) / runs, "apart": timedelta(minutes=15) / calls}
        for first in range(0, runs, at_once):
            last = min(runs, first + at_once) - 1
            await connection.execute(_FACTS, {**given, "first": first, "last": last})
        await connection.execute(_ADDED_UP)
        for (month,) in await (await connection.execute(_MONTHS)).fetchall():
            await connection.execute(moving(_CHANGES), {"month": month})
        for each in made_again:
            await connection.execute(each.encode())
        for table in _UNLOGGED:
            await connection.execute(f"vacuum (analyze) {table}")
        return await check(connection)


async def _indexes(connection: psycopg.AsyncConnection[tuple[object, ...]]) -> tuple[list[str], list[str]]:
    """What takes the indexes off the facts, and what puts them back."""
    primary = "alter table cost_facts {} constraint cost_facts_pkey"
    rows = await (
        await connection.execute(
            "select indexname::text, indexdef from pg_indexes where tablename = 'cost_facts'"
            " and schemaname = current_schema() and indexname <> 'cost_facts_pkey'"
        )
    ).fetchall()
    dropped = [primary.format("drop"), *(f"drop index {name}" for name, _ in rows)]
    return dropped, [primary.format("add") + " primary key (cost_id)", *(str(definition) for _, definition in rows)]


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
