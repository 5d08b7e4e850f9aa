"""Provider keys from the command line to the vendor and back; then everything is searched for pieces of them."""

from collections.abc import Iterator

import pytest

from tests.support.postgres import server_folder
from tests.toybox.planting import PLANTED, SECOND, WRONG, Planting, leaks, planted

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def planting() -> Iterator[Planting]:
    """An installation in which all of this has happened."""
    with server_folder() as folder, planted(folder) as made:
        yield made


def test_a_key_lives_from_the_prompt_to_its_revocation_and_leaves_no_trace(planting: Planting) -> None:
    run, ask = planting.run, planting.ask
    assert run("provider-keys").err.strip().endswith("toybox provider-keys add PROVIDER stores one")
    assert ask("vendor")["status"] == "failed"

    # Stored: at a prompt that shows nothing, and through a pipe.
    screen = planting.program.at_a_terminal("provider-keys", "add", "vendor", answers=[("Key of vendor", PLANTED)])
    planting.said["terminal"] = screen.encode()
    assert f"key vendor/default (…{PLANTED[-4:]}) is stored" in screen
    assert run("provider-keys", "add", "other", "--json", secret=f"{PLANTED}\n").json[0]["status"] == "stored"
    for provider in ("vendor", "other"):
        assert ask(provider)["status"] == "completed"
    assert len(planting.happened("provider_key.used_first_time")) == 2

    # Refused by the vendor, who repeats the key in his answer.
    planting.vendor.accept(SECOND)
    for provider in ("vendor", "other"):
        assert ask(provider)["reason"].startswith("the provider refused the API key")

    # Rotated: the new one works at once, and the old one where the new one is refused.
    rotated = run("provider-keys", "rotate", "vendor", "--overlap", "600", secret=SECOND)
    assert "is used from now on; the one before works until" in rotated.out
    assert ask("vendor")["status"] == "completed"
    planting.vendor.accept(PLANTED)
    assert ask("vendor")["status"] == "completed"
    run("provider-keys", "rotate", "other", "--overlap", "0", secret=WRONG)
    assert ask("other")["status"] == "failed"

    # Wrong input of many kinds is told without the key.
    assert "provider-keys rotate" in run("provider-keys", "add", "vendor", secret=WRONG, code=3).last_words
    assert "visible ASCII" in run("provider-keys", "add", "x", secret=f"{WRONG} {WRONG}", code=3).last_words
    assert "no key came" in run("provider-keys", "add", "x", secret="", code=3).last_words
    assert run("provider-keys", "rotate", "nobody", secret=WRONG, code=3).last_words
    assert run("provider-keys", "add", "x", "--project", "nobody", secret=WRONG, code=3).last_words
    assert run("provider-keys", "add", "x", WRONG[:5], code=2).err

    # A secret that was altered is found by the doctor, and the job that it would pay for says what to do.
    with planting.connection() as connection:
        connection.execute("create table aside as select * from provider_secrets")
        connection.execute("update provider_secrets set sealed = sealed || '\\x00'")
    assert "2 of 2 stored keys cannot be opened" in run("doctor", code=1).out
    assert ask("vendor")["reason"].startswith("no key of the provider can be used")
    assert planting.happened("llm_job.denied")[-1]["kind"] == "provider_key_missing"
    with planting.connection() as connection:
        connection.execute(
            "update provider_secrets p set sealed = a.sealed from aside a where a.secret_id = p.secret_id"
        )
        connection.execute("drop table aside")
    assert ask("vendor")["status"] == "completed"
    assert "2 stored, each can be opened" in run("doctor").out

    surfaces = planting.surfaces()
    assert leaks(surfaces) == []
    assert {"log", "table events", "table provider_secrets", "GET /metrics", "file owner.key"} <= surfaces.keys()
    assert surfaces["table provider_secrets"]
    assert b'"level":"debug"' in surfaces["log"].replace(b" ", b"")
    assert any(b"[key]" in content for content in surfaces.values()), "nobody has repeated the key: nothing was tested"

    # Revoked: nothing pays any more, and the secrets are erased.
    run("provider-keys", "revoke", "vendor")
    assert ask("vendor")["reason"].startswith("no key of the provider can be used")
    spoken_of = [each["secret_id"] for each in planting.happened("provider_key.stored", "provider_key.rotated")]
    with planting.connection() as connection:
        left = {text for (text,) in connection.execute("select secret_id::text from provider_secrets")}
    assert [each for each in spoken_of if each in left] == spoken_of[-1:], "only the other provider's is left"
    assert leaks(planting.surfaces()) == []


@pytest.mark.parametrize("where", ["log", "row", "file", "answer"])
def test_the_same_search_finds_a_key_where_one_is_planted(planting: Planting, where: str) -> None:
    control = "control0Dingo1-Ty6uIo3pAs8dFg2hJk7lZx4c"  # one of its own: what is planted here stays in old files
    piece = control[8:30]
    with planting.connection() as connection:
        match where:
            case "log":
                with planting.program.log.open("a") as log:
                    log.write(f'{{"event": "careless", "header": "Bearer {piece}"}}\n')
                assert leaks({"log": planting.program.log.read_bytes()}, [control]) == ["log"]
            case "row":
                connection.execute("create table careless (id int, said jsonb)")
                connection.execute("insert into careless values (1, jsonb_build_object('key', %s::text))", [piece])
                assert leaks(planting.rows(), [control]) == ["table careless"]
                found = leaks(planting.files(), [control])
                assert found
                assert all(each.startswith("file postgres/") for each in found)
                connection.execute("drop table careless")
            case "file":
                (planting.program.data_dir / "careless.txt").write_text(f"key={piece}\n")
                assert "file careless.txt" in leaks(planting.files(), [control])
                (planting.program.data_dir / "careless.txt").unlink()
            case _:
                assert leaks({"answer": f'{{"detail": "{piece}"}}'.encode()}, [control]) == ["answer"]
