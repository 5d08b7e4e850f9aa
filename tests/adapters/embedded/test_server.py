"""The embedded server at work: what it is, its log, its durability, the databases of the tests."""

import os
import signal
from pathlib import Path

import psutil
import pytest
from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus

from adapters.postgres import guards
from adapters.postgres.embedded import EmbeddedPostgres
from adapters.postgres.embedded.postmaster import LOG_LIMIT, rotate
from adapters.postgres.guards import check_durability
from domain.errors import Unavailable
from tests.adapters.embedded.driving import (
    Standing,
    folder_of_the_socket,
    names_in,
    permissions,
    read,
    renamed,
    until,
    write,
)


def test_it_is_a_recent_postgresql_in_utf8_with_checksums_and_full_durability(standing: Standing):
    (row,) = standing.ask(
        "SELECT current_setting('server_version_num')::int >= 180000, current_setting('data_checksums'),"
        " current_setting('fsync'), current_setting('synchronous_commit'), current_setting('full_page_writes'),"
        " pg_encoding_to_char(encoding), datlocprovider::text, datlocale, datname"
        " FROM pg_database WHERE datname = current_database()"
    )
    assert row == (True, "on", "on", "on", "on", "UTF8", "b", "C.UTF-8", "toybox")


async def test_pgvector_is_there(server: EmbeddedPostgres):
    async with await AsyncConnection.connect(server.conninfo) as connection:
        await connection.execute("CREATE EXTENSION vector")
        cursor = await connection.execute("SELECT '[1,2,3]'::vector <-> '[1,2,5]'::vector")
        assert await cursor.fetchone() == (2.0,)


async def test_what_was_written_is_there_after_a_stop_and_a_start(data_dir: Path):
    async with EmbeddedPostgres(data_dir) as first:
        await write(first.conninfo, "before")
        pid = first.pid
    assert pid
    assert not psutil.pid_exists(pid)
    async with EmbeddedPostgres(data_dir) as second:
        assert await read(second.conninfo) == ["before"]


async def test_one_object_can_be_started_and_stopped_several_times(data_dir: Path):
    server = EmbeddedPostgres(data_dir)
    for word in ("a", "b"):
        await write(await server.start(), word)
        await server.stop()
        await server.stop()
    assert await read(await server.start()) == ["a", "b"]
    await server.stop()
    with pytest.raises(Unavailable, match=r"call start\(\) first"):
        await server.ensure_running()


@pytest.mark.parametrize("name", ["with a space", 'a "quoted" one', "commas, too", "umlauts äöü", "long " * 30])
async def test_any_path_will_do(data_dir: Path, name: str):
    data_dir = renamed(data_dir, name.strip())
    async with EmbeddedPostgres(data_dir) as server:
        await write(server.conninfo, name)
        assert await read(server.conninfo) == [name]
        socket_folder = folder_of_the_socket(server.conninfo)
        assert permissions(socket_folder) == 0o700
    assert socket_folder.name not in names_in(socket_folder.parent)
    assert "postgres.run" not in names_in(data_dir)


async def test_the_server_speaks_to_its_log_file_only(data_dir: Path, capfd: pytest.CaptureFixture[str]):
    async with EmbeddedPostgres(data_dir):
        pass
    assert capfd.readouterr() == ("", "")
    assert "ready to accept connections" in (data_dir / "postgres.log").read_text()
    assert permissions(data_dir / "postgres.log") == 0o600


async def test_a_long_log_is_cut_while_the_server_runs(data_dir: Path):
    async with EmbeddedPostgres(data_dir) as server:
        log = data_dir / "postgres.log"
        with log.open("a") as file:
            file.write("x" * (LOG_LIMIT + 1))
        await until(lambda: log.stat().st_size < 1000)
        assert (data_dir / "postgres.log.1").stat().st_size > LOG_LIMIT
        assert server.pid
        os.kill(server.pid, signal.SIGHUP)
        await until(lambda: "SIGHUP" in log.read_text())


def test_a_short_log_is_left_alone(tmp_path: Path):
    log = tmp_path / "postgres.log"
    log.write_text("short")
    rotate(log)
    rotate(tmp_path / "absent.log")
    assert [path.name for path in tmp_path.iterdir()] == ["postgres.log"]


async def test_a_durable_server_passes_the_guard_and_no_transaction_stays_open(standing: Standing):
    async with await AsyncConnection.connect(standing.conninfo) as connection:
        await check_durability(connection)
        assert connection.info.transaction_status == TransactionStatus.IDLE


async def test_a_server_with_fsync_off_is_refused(data_dir: Path):
    async with (
        EmbeddedPostgres(data_dir, settings={"fsync": "off"}) as server,
        await AsyncConnection.connect(server.conninfo) as connection,
    ):
        with pytest.raises(Unavailable, match=r"fsync is off .* ALTER SYSTEM SET fsync = on"):
            await check_durability(connection)
        await check_durability(connection, allow_data_loss=True)


async def test_a_session_with_synchronous_commit_off_is_refused(standing: Standing):
    async with await AsyncConnection.connect(standing.conninfo, autocommit=True) as connection:
        await connection.execute("SET synchronous_commit = off")
        with pytest.raises(Unavailable, match="synchronous_commit is off"):
            await check_durability(connection)
        await connection.execute("SET synchronous_commit = local")
        await check_durability(connection)
        await check_durability(connection, allow_data_loss=True)


async def test_a_server_older_than_the_minimum_is_refused(standing: Standing, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(guards, "OLDEST_VERSION", 99)
    async with await AsyncConnection.connect(standing.conninfo) as connection:
        with pytest.raises(Unavailable, match="is PostgreSQL 18; toybox needs 99 or newer"):
            await check_durability(connection)
        await check_durability(connection, allow_data_loss=True)


async def test_every_test_gets_an_empty_database_of_its_own(empty_database: str, request: pytest.FixtureRequest):
    async with await AsyncConnection.connect(empty_database) as connection:
        cursor = await connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        assert await cursor.fetchone() == (0,)
        await connection.execute("CREATE TABLE mine ()")
    assert request.node.get_closest_marker("postgres")


async def test_a_test_can_have_a_database_with_all_migrations_applied(database: str):
    async with await AsyncConnection.connect(database) as connection:
        cursor = await connection.execute("SELECT count(*) > 0 FROM migrations")
        assert await cursor.fetchone() == (True,)
