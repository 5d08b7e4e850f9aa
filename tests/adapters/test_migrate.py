"""Migrations: all of them on an empty database, each once, under a lock, forward only, all or nothing."""

import asyncio
from typing import Any

import psycopg
import pytest

from adapters.postgres import migrate as module
from adapters.postgres.migrate import migrate, migrations
from domain.errors import Unavailable

NAMES = [name for name, _ in migrations()]


async def rows(conninfo: str, query: str) -> list[tuple[Any, ...]]:
    async with await psycopg.AsyncConnection.connect(conninfo) as connection:
        return await (await connection.execute(query.encode())).fetchall()


SHAPE = """
select 'column', table_name::text, column_name::text, data_type::text || is_nullable || coalesce(column_default, '')
  from information_schema.columns where table_schema = 'public'
union all select 'index', tablename::text, indexname::text, indexdef
  from pg_indexes where schemaname = 'public'
union all select 'constraint', conrelid::regclass::text, conname::text, pg_get_constraintdef(oid)
  from pg_constraint where connamespace = 'public'::regnamespace
union all select 'function', proname::text, pg_get_function_arguments(oid), prosrc
  from pg_proc where pronamespace = 'public'::regnamespace
union all select 'trigger', tgrelid::regclass::text, tgname::text, pg_get_triggerdef(oid)
  from pg_trigger where not tgisinternal
order by 1, 2, 3, 4
"""


async def shape(conninfo: str) -> list[tuple[Any, ...]]:
    """Columns, indexes, constraints, functions and triggers."""
    return await rows(conninfo, SHAPE)


def with_one_more(monkeypatch: pytest.MonkeyPatch, text: str) -> str:
    name = "9999_more.sql"
    monkeypatch.setattr(module, "migrations", lambda: [*migrations(), (name, text)])
    return name


async def test_an_empty_database_gets_all_of_them_in_order_and_then_none(empty_database: str) -> None:
    assert await migrate(empty_database) == NAMES
    assert await migrate(empty_database) == []
    assert await rows(empty_database, "select name from migrations order by applied_at, name") == [(n,) for n in NAMES]


async def test_processes_that_start_together_apply_each_once(empty_database: str) -> None:
    applied = await asyncio.gather(*(migrate(empty_database) for _ in range(6)))
    assert sorted(name for each in applied for name in each) == NAMES
    assert sorted(map(len, applied)) == [0] * 5 + [len(NAMES)]


async def test_one_that_fails_leaves_nothing_and_can_be_mended(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate(empty_database)
    before = await shape(empty_database)
    name = with_one_more(monkeypatch, "create table half_made (id int); select 1 / 0;")
    with pytest.raises(psycopg.errors.DivisionByZero):
        await migrate(empty_database)
    assert await shape(empty_database) == before
    with_one_more(monkeypatch, "create table whole (id int);")
    assert await migrate(empty_database) == [name]
    assert await rows(empty_database, "select * from whole") == []


async def test_a_migration_may_hold_several_statements_and_percent_signs(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "create table a (t text);\n-- 100 %s of it; {x}\ninsert into a values ('50 %'), ('%(name)s');"
    name = with_one_more(monkeypatch, text)
    assert (await migrate(empty_database))[-1] == name
    assert await rows(empty_database, "select t from a order by t") == [("%(name)s",), ("50 %",)]


async def test_a_database_of_a_newer_release_is_refused_and_left_alone(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as newer:
        with_one_more(newer, "create table from_the_future (id int);")
        await migrate(empty_database)
    with pytest.raises(Unavailable, match=r"newer toybox \(9999_more\.sql\); upgrade") as refusal:
        await migrate(empty_database)
    assert refusal.value.code == "newer_database"


async def test_a_database_that_was_migrated_step_by_step_is_like_a_new_one(
    empty_database: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = migrations()
    for count in range(1, len(whole) + 1):
        monkeypatch.setattr(module, "migrations", lambda count=count: whole[:count])
        assert await migrate(empty_database) == [whole[count - 1][0]]
    assert await shape(empty_database) == await shape(database)


def test_they_are_numbered_without_a_gap_and_say_what_they_are_for() -> None:
    assert [int(name.partition("_")[0]) for name in NAMES] == list(range(1, len(NAMES) + 1))
    assert all(text.startswith("-- ") for _, text in migrations())


async def test_a_migration_that_was_changed_after_it_was_applied_is_told(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate(empty_database)
    (first, text), *others = migrations()
    monkeypatch.setattr(module, "migrations", lambda: [(first, text + "\n-- edited"), *others])
    with pytest.raises(Unavailable, match=f"{first} was another one") as told:
        await migrate(empty_database)
    assert told.value.code == "changed_migration"
