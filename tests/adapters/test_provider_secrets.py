"""Secrets of provider keys: what both stores promise, what an envelope is worth elsewhere, what is said of misfits."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg_pool import AsyncConnectionPool
from pydantic import SecretStr

from adapters.postgres.connections import pool
from adapters.postgres.event_store import PostgresStore
from adapters.postgres.provider_secrets import PostgresSecrets
from adapters.security.envelopes import GONE, Envelope, KeyEncryptionKey, MemorySecrets
from adapters.security.master_key import master_key
from adapters.security.sealing import KEY_BYTES, MemoryKeyring
from commands.handling import Caller, Commands
from commands.provider_keys import StoreProviderKey
from commands.sequencer import Sequencer
from domain.errors import Refused
from domain.ids import provider_key_id
from tests.support.story import OWNER, Story

MASTER = bytes(range(KEY_BYTES))
PLAIN = "plantedKey-0123456789-quokka"
ONE, TWO, KEY, OTHER = (UUID(int=number) for number in range(1, 5))


@dataclass
class Kept:
    """A store, a log that it reads, and a way to make rows look old."""

    secrets: MemorySecrets | PostgresSecrets
    commands: Commands
    age: Callable[[float], Awaitable[None]]


@pytest.fixture
async def opened(database: str) -> AsyncIterator[AsyncConnectionPool[Any]]:
    async with pool(database) as connections:
        yield connections


@pytest.fixture(params=["memory", "postgres"])
async def kept(request: pytest.FixtureRequest) -> AsyncIterator[Kept]:
    if request.param == "memory":
        story = Story()
        story.sequencer.start()

        async def advance(seconds: float) -> None:
            story.clock.advance(seconds)

        yield Kept(MemorySecrets(story.store, story.clock, MASTER), story.commands, advance)
        await story.sequencer.stop()
        return
    database = request.getfixturevalue("database")
    async with pool(database) as connections:
        store = PostgresStore(database, connections)
        sequencer = Sequencer(store)
        sequencer.start()

        async def backdate(seconds: float) -> None:
            async with connections.connection() as connection:
                await connection.execute(
                    "update provider_secrets set kept_at = kept_at - make_interval(secs => %s)", [seconds]
                )

        yield Kept(PostgresSecrets(connections, MASTER), Commands(sequencer, MemoryKeyring()), backdate)
        await sequencer.stop()
        await store.close()


def plain(found: SecretStr | str) -> str:
    assert isinstance(found, SecretStr), found
    return found.get_secret_value()


# --- what both promise ---


async def test_what_is_kept_is_revealed_until_it_is_destroyed(kept: Kept) -> None:
    await kept.secrets.keep(ONE, KEY, SecretStr(PLAIN))
    await kept.secrets.keep(TWO, OTHER, SecretStr("another-secret"))
    found = await kept.secrets.reveal([ONE, TWO])
    assert [plain(found[each]) for each in (ONE, TWO)] == [PLAIN, "another-secret"]
    assert {(each.secret_id, each.key_id) for each in await kept.secrets.kept()} == {(ONE, KEY), (TWO, OTHER)}
    assert await kept.secrets.destroy({ONE, uuid4()}) == 1
    assert (await kept.secrets.reveal([ONE]))[ONE] == GONE
    assert "toybox provider-keys rotate" in GONE
    assert [each.secret_id for each in await kept.secrets.kept()] == [TWO]


async def test_what_is_kept_again_stays_as_it_was_and_is_young_once_more(kept: Kept) -> None:
    first = await kept.secrets.keep(ONE, KEY, SecretStr(PLAIN))
    await kept.age(1_000)
    assert await kept.secrets.keep(ONE, KEY, SecretStr("something-else")) >= first
    assert plain((await kept.secrets.reveal([ONE]))[ONE]) == PLAIN
    assert await kept.secrets.destroy({ONE}, unless_kept_within=900) == 0
    await kept.age(1_000)
    assert await kept.secrets.destroy({ONE}, unless_kept_within=900) == 1


async def test_the_log_says_which_keys_a_provider_has(kept: Kept) -> None:
    assert await kept.secrets.keys_of("openai") == []
    for provider, label in (("openai", "zebra"), ("anthropic", "default"), ("openai", "ant")):
        kept_at = await kept.secrets.keep(uuid4(), provider_key_id(provider, label), SecretStr(PLAIN))
        facts = {"kept_at": kept_at, "last_four": None, "fingerprint": "0" * 64}
        command = StoreProviderKey(secret_id=uuid4(), provider=provider, label=label, **facts)
        await kept.commands.send(command, Caller(OWNER, "cli", f"{provider}/{label}"))
    assert await kept.secrets.keys_of("openai") == [provider_key_id("openai", each) for each in ("zebra", "ant")]


# --- envelopes ---


def test_an_envelope_holds_no_part_of_the_secret_and_is_another_each_time() -> None:
    kek = KeyEncryptionKey(MASTER)
    first, second = (kek.seal(SecretStr(PLAIN), ONE, KEY) for _ in range(2))
    assert PLAIN.encode() not in first.sealed + first.wrapped
    assert first.sealed != second.sealed
    assert first.wrapped != second.wrapped
    assert kek.open(first, ONE, KEY).get_secret_value() == PLAIN
    assert PLAIN not in repr(first) + repr(kek.open(first, ONE, KEY))
    assert kek.id not in MASTER.hex()


@pytest.mark.parametrize(("secret_id", "key_id"), [(TWO, KEY), (ONE, OTHER)])
def test_an_envelope_is_worth_nothing_in_another_row(secret_id: UUID, key_id: UUID) -> None:
    envelope = KeyEncryptionKey(MASTER).seal(SecretStr(PLAIN), ONE, KEY)
    with pytest.raises(Refused, match="was altered: restore the table provider_secrets") as refused:
        KeyEncryptionKey(MASTER).open(envelope, secret_id, key_id)
    assert refused.value.code == "provider_key_missing"


@pytest.mark.parametrize("field", ["wrapped", "sealed"])
@pytest.mark.parametrize("how", ["flip", "cut", "empty"])
def test_an_altered_envelope_does_not_open(field: str, how: str) -> None:
    envelope = KeyEncryptionKey(MASTER).seal(SecretStr(PLAIN), ONE, KEY)
    whole: bytes = getattr(envelope, field)
    changed = {"flip": whole[:-1] + bytes([whole[-1] ^ 1]), "cut": whole[:20], "empty": b""}[how]
    parts = {"kek": envelope.kek, "wrapped": envelope.wrapped, "sealed": envelope.sealed, field: changed}
    with pytest.raises(Refused, match="was altered"):
        KeyEncryptionKey(MASTER).open(Envelope(**parts), ONE, KEY)


def test_another_master_key_is_told_by_its_id() -> None:
    mine, other = KeyEncryptionKey(MASTER), KeyEncryptionKey(os.urandom(KEY_BYTES))
    envelope = mine.seal(SecretStr(PLAIN), ONE, KEY)
    with pytest.raises(Refused, match=f"another master key \\({mine.id}; here is {other.id}\\)") as refused:
        other.open(envelope, ONE, KEY)
    assert "TOYBOX_MASTER_KEY" in str(refused.value)


def test_a_rewrapped_envelope_opens_with_the_new_key_alone() -> None:
    mine, new = KeyEncryptionKey(MASTER), KeyEncryptionKey(os.urandom(KEY_BYTES))
    envelope = mine.seal(SecretStr(PLAIN), ONE, KEY)
    moved = mine.rewrap(envelope, ONE, KEY, new)
    assert moved.sealed == envelope.sealed
    assert new.open(moved, ONE, KEY).get_secret_value() == PLAIN
    with pytest.raises(Refused):
        mine.open(moved, ONE, KEY)


async def test_a_row_of_another_installation_is_named_and_not_opened(opened: AsyncConnectionPool[Any]) -> None:
    await PostgresSecrets(opened, MASTER).keep(ONE, KEY, SecretStr(PLAIN))
    found = await PostgresSecrets(opened, bytes(KEY_BYTES)).reveal([ONE])
    assert "sealed under another master key" in str(found[ONE])


async def test_the_sweep_leaves_alone_what_is_kept_anew_while_it_waits(opened: AsyncConnectionPool[Any]) -> None:
    secrets = PostgresSecrets(opened, MASTER)
    await secrets.keep(ONE, KEY, SecretStr(PLAIN))
    async with opened.connection() as connection:
        await connection.execute("update provider_secrets set kept_at = kept_at - interval '1 hour'")
    async with opened.connection() as keeper, keeper.transaction():
        await keeper.execute("update provider_secrets set kept_at = clock_timestamp()")
        sweep = asyncio.create_task(secrets.destroy({ONE}, unless_kept_within=900))
        done, _ = await asyncio.wait({sweep}, timeout=0.3)
        assert not done, "the sweep did not wait for the row"
    assert await sweep == 0
    assert len(await secrets.kept()) == 1


def test_the_master_key_may_be_given_instead_of_its_file(tmp_path: Any) -> None:
    given = SecretStr("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
    assert master_key(tmp_path, given) == MASTER
    assert not list(tmp_path.iterdir())
    for wrong in ("", "secret", "AAAA"):
        with pytest.raises(Refused, match="TOYBOX_MASTER_KEY does not hold a master key") as refused:
            master_key(tmp_path, SecretStr(wrong))
        assert refused.value.code == "master_key_malformed"


def test_spans_of_the_sweep_leave_a_command_all_its_time() -> None:
    from domain.provider_keys import LONGEST_IN_FLIGHT
    from streams.sweeping import ORPHAN_SECONDS

    assert timedelta(seconds=ORPHAN_SECONDS) >= 2 * LONGEST_IN_FLIGHT
