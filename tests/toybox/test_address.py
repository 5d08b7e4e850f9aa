"""The lock and the address file of a data directory."""

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from domain.errors import Unavailable
from toybox.owner_key import OwnerKeyFile
from toybox.serving import address
from toybox.serving.address import ServerAddress, ServerLock, is_served, live_server

HERE = ServerAddress(
    url="http://127.0.0.1:8420", pid=4711, started_at=datetime(2026, 11, 21, tzinfo=UTC), roles=["api"], version="1"
)


def test_an_address_counts_while_its_server_lives_and_no_longer(tmp_path: Path) -> None:
    assert live_server(tmp_path) is None
    with ServerLock(tmp_path):
        assert is_served(tmp_path)
        assert live_server(tmp_path) is None
        HERE.write(tmp_path)
        assert live_server(tmp_path) == HERE
        assert stat.S_IMODE((tmp_path / "server.json").stat().st_mode) == 0o600
    assert not is_served(tmp_path)
    assert not (tmp_path / "server.json").exists()


def test_what_a_killed_server_left_is_taken_away_by_the_next(tmp_path: Path) -> None:
    HERE.write(tmp_path)
    assert live_server(tmp_path) is None
    with ServerLock(tmp_path):
        assert not (tmp_path / "server.json").exists()


def test_a_second_server_is_refused_with_the_address_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address, "PATIENCE", 0.1)
    with ServerLock(tmp_path):
        with pytest.raises(Unavailable, match="still starting"):
            ServerLock(tmp_path).acquire()
        HERE.write(tmp_path)
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1:8420 \(process 4711\)"):
            ServerLock(tmp_path).acquire()


@pytest.mark.parametrize("content", ["", "{", '{"url": 1}', "[]"])
def test_an_unreadable_address_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "server.json").write_text(content)
    assert ServerAddress.read(tmp_path) is None


def test_an_interrupted_first_start_goes_on_with_the_same_token(tmp_path: Path) -> None:
    file = OwnerKeyFile.of(tmp_path)
    token = file.prepare()
    assert file.read() is None
    assert file.prepare() == token
    file.keep()
    assert file.read() == token
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["owner.key"]
