"""One server for a data directory: its start, its address, its keys, its end."""

import json
import signal
import socket
import stat

import httpx
import pytest

from tests.toybox.programs import Toybox, ended, listening
from toybox.serving.address import live_server

pytestmark = pytest.mark.process


def test_the_first_start_leaves_the_owners_key_to_its_owner_alone(toybox: Toybox) -> None:
    with toybox.up() as server:
        key = toybox.data_dir / "owner.key"
        token = key.read_text().strip()
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert stat.S_IMODE((toybox.data_dir / "server.json").stat().st_mode) == 0o600
        url = toybox.address["url"]
        assert httpx.get(f"{url}/health").status_code == 200
        assert httpx.get(f"{url}/ready").status_code == 200
        assert httpx.get(f"{url}/api/projects").status_code == 401
        assert httpx.get(f"{url}/api/projects", headers={"Authorization": f"Bearer {token}"}).json()["items"] == []
        out = ended(server, signal.SIGTERM).out
    assert server.returncode == 0
    assert f"toybox is ready at {url}" in out
    assert token not in out + toybox.log.read_text()
    assert not (toybox.data_dir / "server.json").exists()
    with toybox.up():
        assert key.read_text().strip() == token
        assert len(toybox("keys", "list", "--json").json) == 1


def test_a_second_server_on_the_same_data_directory_is_told_where_the_first_one_is(served: Toybox) -> None:
    said = served("up", "--port", "0", code=5)
    assert served.address["url"] in said.last_words
    assert len(said.err.splitlines()) == 1


def test_a_port_in_use_is_told_with_the_fix_and_starts_nothing(toybox: Toybox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = toybox("up", "--port", str(port), code=5)
    assert f"port {port}" in said.last_words
    assert "--port 0" in said.last_words
    assert not (toybox.data_dir / "postgres").exists()


def test_an_address_whose_server_was_killed_is_not_believed(toybox: Toybox) -> None:
    with toybox.up() as server:
        first = toybox.address
        server.kill()
        server.wait()
    assert (toybox.data_dir / "server.json").exists()
    assert live_server(toybox.data_dir) is None
    with toybox.up():
        assert toybox.address["pid"] != first["pid"]


def test_a_worker_of_its_own_joins_the_embedded_database(served: Toybox) -> None:
    with served.started("up", "--role", "worker", "--json") as worker:
        assert json.loads(listening(worker, "roles"))["roles"] == ["worker"]
        ended(worker, signal.SIGTERM)
        assert worker.returncode == 0


def test_keys_are_made_used_listed_and_revoked(served: Toybox) -> None:
    token = served("keys", "create", "dashboard", "-p", "projects.read", "-e", "30d").out.strip()
    as_dashboard = {"TOYBOX_URL": served.address["url"], "TOYBOX_KEY": token}
    assert served("projects", "--json", **as_dashboard).json == []
    assert "keys.read" in served("keys", "list", code=3, **as_dashboard).last_words
    listed = {each["label"]: each for each in served("keys", "list", "--json").json}
    assert listed["dashboard"]["permissions"] == ["projects.read"]
    assert token not in served("keys", "list", "--json").out
    served("keys", "revoke", token)
    with httpx.Client(base_url=served.address["url"], headers={"Authorization": f"Bearer {token}"}) as client:
        while client.get("/api/projects").status_code == 200:  # a revocation is seen within a second
            pass
    assert "toybox keys create" in served("projects", code=3, **as_dashboard).last_words


def test_a_lost_owners_key_is_replaced_by_whoever_has_the_data_directory(served: Toybox) -> None:
    key = served.data_dir / "owner.key"
    lost = key.read_text()
    key.unlink()
    assert "toybox keys create --owner" in served("projects", code=3).last_words
    assert "toybox keys create --owner" in served("doctor").out
    served("keys", "create", "--owner")
    assert key.read_text() != lost
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert served("projects", "--json").json == []


def test_the_doctor_finds_nothing_wrong_and_then_a_key_that_others_can_read(served: Toybox) -> None:
    healthy = {each["what"]: each for each in served("doctor", "--json").json}
    assert {each["level"] for each in healthy.values()} <= {"ok", "note"}
    assert {"data directory", "master key", "server", "database", "durability", "read models", "parked"} <= set(healthy)
    key = served.data_dir / "owner.key"
    key.chmod(0o644)
    found = {each["what"]: each for each in served("doctor", "--json", code=1).json}
    key.chmod(0o600)
    assert found["owner key"]["level"] == "problem"
    assert "chmod 600" in found["owner key"]["fix"]


def test_a_server_that_does_not_answer_is_told_with_the_fix(toybox: Toybox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    said = toybox("projects", code=5, TOYBOX_URL=f"http://127.0.0.1:{port}", TOYBOX_KEY="tbx_" + "0" * 49)
    assert "toybox up" in said.last_words
