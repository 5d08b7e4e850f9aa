"""Keys of subjects: what both keyrings promise, what destroying one means everywhere, and the master key's file."""

import asyncio
import base64
import stat
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from adapters.postgres.connections import pool
from adapters.postgres.keyring import INSTALLATION, PostgresKeyring
from adapters.security.master_key import master_key
from adapters.security.sealing import KEY_BYTES, AesSealer, MemoryKeyring
from domain.errors import NotFound, Refused, Unavailable
from domain.values import derived_id

Keyring = PostgresKeyring | MemoryKeyring
MASTER = bytes(range(KEY_BYTES))
ADA, BOB, EVE = (derived_id("test-subject", name) for name in ("ada", "bob", "eve"))
RECHECK = 0.2


@pytest.fixture
async def opened(database: str) -> AsyncIterator[AsyncConnectionPool[Any]]:
    async with pool(database) as connections:
        yield connections


@pytest.fixture(params=["memory", "postgres"])
async def keyring(request: pytest.FixtureRequest) -> AsyncIterator[Keyring]:
    if request.param == "memory":
        yield MemoryKeyring()
        return
    async with pool(request.getfixturevalue("database")) as connections:
        yield PostgresKeyring(connections, MASTER, recheck_seconds=RECHECK)


def another_process(
    opened: AsyncConnectionPool[Any], *, master: bytes = MASTER, recheck_seconds: float = RECHECK, cached: int = 100
) -> PostgresKeyring:
    return PostgresKeyring(opened, master, recheck_seconds=recheck_seconds, cached=cached)


# --- what both promise ---


async def test_what_is_sealed_can_be_unsealed_in_one_go(keyring: Keyring) -> None:
    words = [(ADA, "one"), (BOB, "two"), (ADA, "three"), (EVE, "")]
    sealed = [(await keyring.sealer(subject, create=True)).seal(text) for subject, text in words]
    assert await keyring.unseal(sealed) == [text for _, text in words]
    assert await keyring.unseal([]) == []


async def test_a_destroyed_key_takes_its_text_with_it_and_no_other(keyring: Keyring) -> None:
    sealed = [(await keyring.sealer(subject, create=True)).seal("text") for subject in (ADA, BOB)]
    assert await keyring.destroy(ADA)
    assert await keyring.unseal(sealed) == [None, "text"]
    with pytest.raises(Refused) as refused:
        await keyring.sealer(ADA, create=True)
    assert refused.value.code == "key_destroyed"


async def test_a_key_is_made_only_by_whoever_creates_what_it_is_for(keyring: Keyring) -> None:
    for _ in range(2):
        with pytest.raises(NotFound, match=str(ADA)):
            await keyring.sealer(ADA, create=False)
    made = await keyring.sealer(ADA, create=True)
    found = await keyring.sealer(ADA, create=False)
    assert found.unseal(made.seal("text")) == "text"
    await keyring.destroy(ADA)
    with pytest.raises(Refused):
        await keyring.sealer(ADA, create=False)


async def test_destroying_twice_or_what_never_was_is_said(keyring: Keyring) -> None:
    await keyring.sealer(ADA, create=True)
    assert [await keyring.destroy(ADA), await keyring.destroy(ADA), await keyring.destroy(BOB)] == [True, False, False]
    with pytest.raises(Refused):
        await keyring.sealer(BOB, create=True)


async def test_text_of_a_key_that_never_was_is_an_alarm_not_an_erasure(keyring: Keyring) -> None:
    sealed = AesSealer(EVE, MASTER).seal("from another installation")
    with pytest.raises(Refused, match="not of one installation") as refused:
        await keyring.unseal([sealed])
    assert refused.value.code == "seal_broken"


async def test_fingerprints_tell_texts_apart_and_subjects_too(keyring: Keyring) -> None:
    one, two = await keyring.sealer(ADA, create=True), await keyring.sealer(BOB, create=True)
    assert one.fingerprint(b"x") == (await keyring.sealer(ADA, create=True)).fingerprint(b"x")
    assert len({one.fingerprint(b"x"), one.fingerprint(b"y"), two.fingerprint(b"x")}) == 3


# --- one subject's sealer ---


def test_altered_or_moved_text_is_refused() -> None:
    sealer, other = AesSealer(ADA, MASTER), AesSealer(BOB, MASTER)
    sealed = sealer.seal("approved")
    assert sealer.unseal(sealed) == "approved"
    moved = sealed.replace(ADA.hex, BOB.hex)
    with pytest.raises(Refused):
        other.unseal(moved)


def test_sealed_bytes_are_bound_to_what_they_belong_to() -> None:
    sealer = AesSealer(ADA, MASTER)
    sealed = sealer.seal_bytes(b"content", b"chunk 1")
    assert sealer.unseal_bytes(sealed, b"chunk 1") == b"content"
    wrong = [(sealed, b"chunk 2"), (sealed[:-1], b"chunk 1"), (sealed[:5], b"chunk 1"), (b"", b"chunk 1")]
    for altered, associated in wrong:
        with pytest.raises(Refused) as refused:
            sealer.unseal_bytes(altered, associated)
        assert refused.value.code == "seal_broken"
    with pytest.raises(Refused):
        AesSealer(BOB, MASTER).unseal_bytes(sealed, b"chunk 1")


# --- several processes, one table ---


async def test_processes_that_make_a_key_at_once_end_up_with_the_same(opened: AsyncConnectionPool[Any]) -> None:
    processes = [another_process(opened) for _ in range(8)]
    sealers = await asyncio.gather(*(each.sealer(ADA, create=True) for each in processes))
    sealed = [each.seal("text") for each in sealers]
    assert await another_process(opened).unseal(sealed) == ["text"] * 8


async def test_the_key_itself_is_not_in_the_table(opened: AsyncConnectionPool[Any], database: str) -> None:
    sealed = (await another_process(opened).sealer(ADA, create=True)).seal("text")
    async with await psycopg.AsyncConnection.connect(database) as connection:
        row = await (await connection.execute("select wrapped from subject_keys")).fetchone()
    assert row
    assert AesSealer(ADA, row[0][-KEY_BYTES:]).fingerprint(b"x") != (
        await another_process(opened).sealer(ADA, create=True)
    ).fingerprint(b"x")
    assert await another_process(opened).unseal([sealed]) == ["text"]


async def test_no_process_reads_on_once_destroying_was_answered(opened: AsyncConnectionPool[Any]) -> None:
    one, two = another_process(opened), another_process(opened)
    sealed = [(await one.sealer(ADA, create=True)).seal("text")]
    reads: list[tuple[float, str | None]] = []

    async def read_on() -> None:
        while not reads or reads[-1][1] is not None:
            began = time.monotonic()
            reads.append((began, (await two.unseal(sealed))[0]))
            await asyncio.sleep(0.005)

    reading = asyncio.create_task(read_on())
    await asyncio.sleep(0.05)
    assert await one.destroy(ADA)
    answered = time.monotonic()
    await asyncio.wait_for(reading, 5)
    assert len(reads) > 5, "the other process was to read from its cache meanwhile"
    assert all(text is None for began, text in reads if began >= answered)
    with pytest.raises(Refused):
        await two.sealer(ADA, create=True)


async def test_an_answer_that_was_on_its_way_does_not_bring_a_key_back(opened: AsyncConnectionPool[Any]) -> None:
    keyring = another_process(opened)
    sealer = await keyring.sealer(ADA, create=True)
    late = keyring._held[ADA]
    await keyring.destroy(ADA)
    assert keyring._hold(ADA, late).sealer is None
    assert await keyring.unseal([sealer.seal("text")]) == [None]


async def test_a_key_cannot_be_made_after_its_grave(opened: AsyncConnectionPool[Any]) -> None:
    outcomes = await asyncio.gather(
        another_process(opened).destroy(ADA),
        *(another_process(opened).sealer(ADA, create=True) for _ in range(5)),
        return_exceptions=True,
    )
    assert isinstance(outcomes[0], bool)
    with pytest.raises(Refused):
        await another_process(opened).sealer(ADA, create=True)


async def test_only_so_many_keys_are_kept(opened: AsyncConnectionPool[Any]) -> None:
    keyring = another_process(opened, cached=3)
    sealed = [(await keyring.sealer(derived_id("test-subject", n), create=True)).seal(str(n)) for n in range(10)]
    assert await keyring.unseal(sealed) == [str(n) for n in range(10)]
    assert len(keyring._held) == 3


async def test_the_installations_own_key_is_never_destroyed_nor_asked_for_twice(
    opened: AsyncConnectionPool[Any],
) -> None:
    keyring = another_process(opened, recheck_seconds=RECHECK)
    await keyring.check_master_key()
    await asyncio.sleep(RECHECK)
    assert keyring._fresh(INSTALLATION)
    with pytest.raises(Refused, match="cannot be destroyed"):
        await keyring.destroy(INSTALLATION)


async def test_a_wrong_master_key_is_noticed_at_the_start(opened: AsyncConnectionPool[Any]) -> None:
    await another_process(opened).check_master_key()
    await another_process(opened).check_master_key()
    with pytest.raises(Refused, match=r"put the master\.key that belongs to it") as refused:
        await another_process(opened, master=bytes(KEY_BYTES)).check_master_key()
    assert refused.value.code == "wrong_master_key"


@pytest.mark.parametrize(
    "damage", ["(select wrapped from subject_keys where subject = %(other)s)", "substr(wrapped, 1, 5)", "'\\x01'"]
)
async def test_an_altered_key_is_not_used(opened: AsyncConnectionPool[Any], damage: str) -> None:
    await another_process(opened).sealer(ADA, create=True)
    await another_process(opened).sealer(BOB, create=True)
    async with opened.connection() as connection:
        statement = f"update subject_keys set wrapped = {damage} where subject = %(subject)s"
        await connection.execute(statement.encode(), {"subject": ADA, "other": BOB})
    with pytest.raises(Refused, match="restore subject_keys"):
        await another_process(opened).sealer(ADA, create=True)


async def test_without_the_database_the_caller_is_told_to_come_back(database: str) -> None:
    connections = pool(database)
    await connections.open()
    keyring = PostgresKeyring(connections, MASTER, recheck_seconds=RECHECK)
    await keyring.sealer(ADA, create=True)
    await connections.close()
    await asyncio.sleep(RECHECK)
    for attempt in (keyring.sealer(ADA, create=True), keyring.sealer(BOB, create=True), keyring.destroy(ADA)):
        with pytest.raises(Unavailable, match="the database is away"):
            await attempt


async def test_an_answer_older_than_the_promise_is_not_used(opened: AsyncConnectionPool[Any]) -> None:
    with pytest.raises(Unavailable, match="whether a key still exists"):
        await another_process(opened, recheck_seconds=0).sealer(ADA, create=True)


# --- the master key's file ---


def test_the_master_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    key = master_key(folder)
    assert len(key) == KEY_BYTES
    assert master_key(folder) == key
    assert stat.S_IMODE((folder / "master.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [each.name for each in folder.iterdir()] == ["master.key"]


def test_processes_that_start_together_agree_on_the_master_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as executor:
        keys = set(executor.map(master_key, [tmp_path / "new"] * 64))
    assert len(keys) == 1
    assert [each.name for each in (tmp_path / "new").iterdir()] == ["master.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_master_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    master_key(tmp_path)
    (tmp_path / "master.key").chmod(mode)
    with pytest.raises(Refused, match="run chmod 600") as refused:
        master_key(tmp_path)
    assert refused.value.code == "master_key_exposed"


@pytest.mark.parametrize(
    "content", [b"", b"secret", b"\xff\xfe", base64.b64encode(bytes(31)), base64.b64encode(bytes(33)), bytes(32)]
)
def test_a_file_that_holds_no_key_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "master.key"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(Refused, match="does not hold a master key") as refused:
        master_key(tmp_path)
    assert refused.value.code == "master_key_malformed"
    assert path.read_bytes() == content


def test_a_key_file_may_be_read_only_and_end_with_a_newline(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    path.write_bytes(base64.b64encode(MASTER) + b"\n")
    path.chmod(0o400)
    assert master_key(tmp_path) == MASTER
