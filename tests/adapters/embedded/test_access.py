"""Who may enter the embedded server, as whom it runs, and what it leaves alone."""

import os
import pwd
from pathlib import Path

import psutil
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from adapters.postgres.embedded import EmbeddedPostgres, binaries, default_data_dir
from adapters.postgres.embedded.account import ServerAccount
from adapters.postgres.embedded.folders import require_reachable
from adapters.postgres.embedded.postmaster import Postmaster
from domain.errors import Unavailable
from tests.adapters.embedded.driving import (
    ROOT,
    Standing,
    another_toybox,
    folder_of_the_socket,
    permissions,
    read,
    write,
)


def test_the_socket_is_private_and_no_network_address_is_listened_on(standing: Standing):
    folder = folder_of_the_socket(standing.conninfo)
    assert permissions(folder) == 0o700
    assert permissions(folder / ".s.PGSQL.5432") == 0o700
    assert psutil.Process(standing.pid).net_connections("inet") == []


def test_nobody_is_let_in_on_trust(standing: Standing):
    methods = {method for (method,) in standing.ask("SELECT auth_method FROM pg_hba_file_rules")}
    assert methods == {"scram-sha-256" if ROOT else "peer"}
    for rules in (standing.data_dir / "postgres.run/pg_hba.conf", standing.data_dir / "postgres/pg_hba.conf"):
        lines = [line.split() for line in rules.read_text().splitlines() if line and not line.startswith("#")]
        assert lines
        assert not [line for line in lines if "trust" in line]


def test_another_role_is_refused(standing: Standing):
    with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
        psycopg.connect(make_conninfo(standing.conninfo, user="postgres"))


def test_the_password_is_in_a_private_file_and_nowhere_else(standing: Standing):
    password_file = standing.data_dir / "postgres.pgpass"
    assert password_file.exists() == ROOT
    assert "password" not in conninfo_to_dict(standing.conninfo)
    if ROOT:
        assert permissions(password_file) == 0o600
        password = password_file.read_text().strip().rpartition(":")[2]
        assert len(password) == 64
        assert password not in (standing.data_dir / "postgres.log").read_text()
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(make_conninfo(standing.conninfo, passfile=os.devnull))


async def test_a_lost_password_file_is_replaced_at_the_next_start(data_dir: Path):
    async with EmbeddedPostgres(data_dir) as first:
        await write(first.conninfo, "kept")
    (data_dir / "postgres.pgpass").unlink(missing_ok=True)
    async with EmbeddedPostgres(data_dir) as second:
        assert await read(second.conninfo) == ["kept"]


async def test_a_normal_account_enters_by_peer_and_any_other_is_refused(data_home: Path):
    data_dir, account = data_home / "theirs", list[int]()
    data_dir.mkdir(mode=0o700)
    if ROOT:
        nobody = pwd.getpwnam("nobody")
        account = [nobody.pw_uid, nobody.pw_gid]
        os.chown(data_dir, *account)
    with another_toybox(data_dir, "attached", *account) as (_, pid, conninfo):
        assert psutil.Process(pid).uids().real == (account or [os.geteuid()])[0]
        assert "peer" in (data_dir / "postgres.run/pg_hba.conf").read_text()
        assert "passfile" not in conninfo_to_dict(conninfo)
        if ROOT:
            with pytest.raises(psycopg.OperationalError, match="Peer authentication failed"):
                psycopg.connect(conninfo)
    if ROOT:  # the cluster keeps its owner, whoever starts it
        async with EmbeddedPostgres(data_dir) as server:
            assert server.pid
            assert psutil.Process(server.pid).uids().real == account[0]
            assert await read(server.conninfo) == ["attached"]


async def test_the_server_never_learns_the_secrets_of_our_environment(data_dir: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    async with EmbeddedPostgres(data_dir) as server:
        assert server.pid
        assert set(psutil.Process(server.pid).environ()) <= {"LC_ALL", "TZ", "PATH", "PGLOCALEDIR", "PGSYSCONFDIR"}


def test_no_process_of_the_server_is_roots(standing: Standing):
    uids = {process.uids().real for process in psutil.Process(standing.pid).children()}
    uids.add(psutil.Process(standing.pid).uids().real)
    assert uids == {(standing.data_dir / "postgres").stat().st_uid}
    assert 0 not in uids


async def test_permissions_of_the_folders_above_stay_as_they_are(data_home: Path):
    folder = data_home
    for name, mode in (("a", 0o751), ("b", 0o711), ("c", 0o775)):
        folder /= name
        folder.mkdir()
        folder.chmod(mode)

    def modes_and_owners() -> dict[Path, tuple[int, int, int]]:
        return {step: (s.st_mode, s.st_uid, s.st_gid) for step in (folder, *folder.parents) if (s := step.stat())}

    before = modes_and_owners()
    async with EmbeddedPostgres(folder / "data"):
        assert modes_and_owners() == before
    assert modes_and_owners() == before


async def test_a_folder_that_the_servers_account_may_not_enter_is_named_with_the_fix(data_home: Path):
    closed = data_home / "closed"
    closed.mkdir(mode=0o700)
    stranger = ServerAccount(name="stranger", uid=65533, gid=65533, is_ours=False)
    with pytest.raises(Unavailable, match=r"stranger, who may not enter (.+?)\. Choose .* chmod o\+x '\1'"):
        require_reachable(closed / ".", stranger)
    if ROOT:
        with pytest.raises(Unavailable, match="chmod o\\+x"):
            await EmbeddedPostgres(closed / "data").start()
    assert permissions(closed) == 0o700


async def test_programs_that_the_servers_account_cannot_reach_are_copied(
    data_home: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    found = binaries.find_binaries()
    package = found.parent.parent
    closed = data_home / "closed"
    (closed / package.name).mkdir(parents=True)
    (closed / package.name / found.parent.name).symlink_to(found.parent)
    libraries = f"{package.name}.libs"
    (closed / libraries).symlink_to(package.parent / libraries)
    closed.chmod(0o700)
    monkeypatch.setattr(binaries, "find_binaries", lambda: closed / package.name / found.parent.name / "bin")
    for _ in range(2):
        async with EmbeddedPostgres(data_dir) as server:
            assert server.pid
            runs = Path(psutil.Process(server.pid).cmdline()[0])
            assert runs.is_relative_to(data_dir if ROOT else closed)


def test_the_default_data_directory_is_one_that_the_server_can_use():
    expected = Path("/var/lib/toybox") if ROOT else Path("/elsewhere/toybox")
    assert default_data_dir({"XDG_DATA_HOME": "/elsewhere"}) == expected
    assert default_data_dir({}).name == "toybox"


def test_a_data_directory_that_cannot_be_made_is_refused():
    with pytest.raises(Unavailable, match="cannot be made"):
        Postmaster(Path("/dev/null/data"), {}).start()
