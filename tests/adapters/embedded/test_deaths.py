"""Two starts on one directory, and every kind of death."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import psutil
import psycopg
import pytest
from psycopg import AsyncConnection

from adapters.postgres.embedded import EmbeddedPostgres, make_data_dir
from adapters.postgres.embedded.leftovers import processes_of
from adapters.postgres.embedded.postmaster import Postmaster
from domain.errors import Unavailable
from tests.adapters.embedded.driving import a_stranger, another_toybox, answers, read, until, write


async def test_a_second_start_on_the_same_directory_is_refused(server: EmbeddedPostgres, data_dir: Path):
    with pytest.raises(Unavailable, match=f"in use by another toybox .process {os.getpid()}"):
        await EmbeddedPostgres(data_dir).start()
    with pytest.raises(Unavailable, match="already started"):
        await server.start()
    await write(server.conninfo, "unharmed")
    assert await read(server.conninfo) == ["unharmed"]


async def test_a_second_process_on_the_same_directory_is_refused(data_dir: Path):
    with another_toybox(data_dir, "attached") as (child, pid, conninfo):
        with pytest.raises(Unavailable, match=f"in use by another toybox .process {child.pid}"):
            await EmbeddedPostgres(data_dir).start()
        assert psutil.pid_exists(pid)
        assert await read(conninfo) == ["attached"]


async def test_a_killed_server_comes_back_under_the_same_address(data_dir: Path):
    back = asyncio.Event()
    async with EmbeddedPostgres(data_dir, on_restart=back.set) as server:
        await write(server.conninfo, "acknowledged")
        first = server.pid
        assert first
        os.kill(first, signal.SIGKILL)
        await asyncio.wait_for(back.wait(), 20)
        assert server.pid != first
        assert await answers(lambda: read(server.conninfo)) == ["acknowledged"]


async def test_ensure_running_returns_when_the_server_takes_connections(server: EmbeddedPostgres):
    for _ in range(2):
        killed = server.pid
        assert killed
        os.kill(killed, signal.SIGKILL)
        await until(lambda pid=killed: not server.is_running or server.pid != pid)
        await server.ensure_running()
        async with await AsyncConnection.connect(server.conninfo) as connection:
            assert await (await connection.execute("SELECT 1")).fetchone() == (1,)


async def test_a_session_that_outlives_its_server_does_not_block_the_next(data_dir: Path):
    server = Postmaster(data_dir, {})
    async with await AsyncConnection.connect(server.start()) as busy:
        session = busy.info.backend_pid
        work = asyncio.create_task(busy.execute("DO 'BEGIN LOOP END LOOP; END'"))
        await until(lambda: psutil.Process(session).cpu_times().user > 0.2)
        assert server.pid
        os.kill(server.pid, signal.SIGKILL)
        await until(lambda: not server.is_running)
        server.stop()
        assert psutil.pid_exists(session)
        async with EmbeddedPostgres(data_dir):
            assert not psutil.pid_exists(session)
        with pytest.raises(psycopg.OperationalError):
            await work


async def test_the_server_ends_when_toybox_is_killed(data_dir: Path):
    with another_toybox(data_dir, "attached") as (child, pid, _):
        child.kill()
        child.wait()
        if sys.platform == "linux":
            await until(lambda: not psutil.pid_exists(pid))
        async with EmbeddedPostgres(data_dir) as server:
            assert await read(server.conninfo) == ["attached"]


async def test_a_server_that_outlived_its_toybox_is_replaced(data_dir: Path):
    with another_toybox(data_dir, "orphaned") as (child, pid, _):
        child.kill()
        child.wait()
        await asyncio.sleep(0.2)
        assert psutil.pid_exists(pid)
        async with EmbeddedPostgres(data_dir) as server:
            assert not psutil.pid_exists(pid)
            assert await read(server.conninfo) == ["orphaned"]


async def test_after_the_death_of_both_the_next_start_recovers(data_dir: Path):
    with another_toybox(data_dir, "orphaned") as (child, pid, _):
        child.kill()
        os.kill(pid, signal.SIGKILL)
        child.wait()
        async with EmbeddedPostgres(data_dir) as server:
            assert await read(server.conninfo) == ["orphaned"]
            assert "not properly shut down" in (data_dir / "postgres.log").read_text()


async def test_a_stale_pid_file_that_names_a_stranger_is_no_obstacle(data_dir: Path):
    async with EmbeddedPostgres(data_dir) as first:
        await write(first.conninfo, "kept")
    cluster = data_dir / "postgres"
    owner = cluster.stat()
    with a_stranger(owner.st_uid, owner.st_gid) as stranger:
        pid_file = cluster / "postmaster.pid"
        pid_file.write_text(f"{stranger.pid}\n{cluster}\n1\n5432\n/nowhere\n\n  1  1\nready\n")
        os.chown(pid_file, owner.st_uid, owner.st_gid)
        async with EmbeddedPostgres(data_dir) as second:
            assert await read(second.conninfo) == ["kept"]
        assert stranger.poll() is None


async def test_an_interrupted_initdb_leaves_nothing_that_disturbs(data_home: Path):
    data_dir = make_data_dir(data_home / "data")
    half = data_dir / "postgres.new-abc"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    async with EmbeddedPostgres(data_dir) as server:
        await write(server.conninfo, "fine")
    assert not half.exists()


@pytest.mark.parametrize("reached", ["postgres.lock", "postgres/PG_VERSION", "postgres/postmaster.pid"])
async def test_a_cancelled_start_leaves_no_process_and_no_lock(data_home: Path, reached: str):
    data_dir = data_home / "new"
    start = asyncio.create_task(EmbeddedPostgres(data_dir).start())
    await until((data_dir / reached).exists)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    cluster = data_dir / "postgres"
    uid = cluster.stat().st_uid
    assert processes_of(cluster, uid) == []
    async with EmbeddedPostgres(data_dir) as server:
        await write(server.conninfo, "started")
        assert len(processes_of(cluster, uid)) > 5
    assert processes_of(cluster, uid) == []


async def test_a_failing_start_says_why_and_leaves_the_way_clear(data_dir: Path):
    with pytest.raises(Unavailable, match=r"(?s)did not start.*shared_buffers.*postgres\.log"):
        await EmbeddedPostgres(data_dir, settings={"shared_buffers": "plenty"}).start()
    async with EmbeddedPostgres(data_dir) as server:
        await write(server.conninfo, "fine")


async def test_a_cluster_of_another_version_is_refused_with_both_named(data_dir: Path):
    async with EmbeddedPostgres(data_dir):
        pass
    (data_dir / "postgres/PG_VERSION").write_text("15\n")
    with pytest.raises(Unavailable, match="written by PostgreSQL 15, the installed one is 18"):
        await EmbeddedPostgres(data_dir).start()
