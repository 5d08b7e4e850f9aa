"""What follows provider keys: overlaps end by the clock, first uses are noted, what nobody speaks of is erased."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from adapters.security.envelopes import MemorySecrets
from commands.handling import Command
from commands.provider_keys import RevokeProviderKey, RotateProviderKey, StoreProviderKey
from domain.errors import Unavailable
from domain.ids import provider_key_id
from domain.provider_keys import ProviderKey
from streams.sweeping import ORPHAN_SECONDS, SecretSweeper
from tests.streams.workshop import Door
from tests.support.story import Story, telling

KEY = provider_key_id("openai", "default")


@dataclass
class House:
    """A story with secrets and whoever sweeps them."""

    story: Story
    secrets: MemorySecrets
    sweeper: SecretSweeper

    async def keep(self, key_id: UUID = KEY) -> dict[str, object]:
        """A secret, and what a command says of it."""
        secret_id = uuid4()
        kept_at = await self.secrets.keep(secret_id, key_id, SecretStr("a-secret-that-is-kept"))
        return {"secret_id": secret_id, "kept_at": kept_at, "last_four": "kept", "fingerprint": secret_id.hex * 2}

    async def store(self, label: str = "default") -> UUID:
        facts = await self.keep(provider_key_id("openai", label))
        await self.story.given(StoreProviderKey.model_validate(facts | {"provider": "openai", "label": label}))
        return UUID(str(facts["secret_id"]))

    async def rotate(self, overlap: int) -> UUID:
        facts = await self.keep()
        command = RotateProviderKey.model_validate(facts | {"key_id": KEY, "overlap_seconds": overlap})
        await self.story.given(command)
        return UUID(str(facts["secret_id"]))

    async def there(self) -> set[UUID]:
        return {each.secret_id for each in await self.secrets.kept()}

    def types(self) -> list[str]:
        return [each.type for each in self.story.events]


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with telling() as story:
        secrets = MemorySecrets(story.store, story.clock)
        yield House(
            story,
            secrets,
            SecretSweeper(secrets, reader=story.store, commands=story.commands, now=story.clock),
        )


async def test_what_is_live_is_left_alone_however_old(house: House) -> None:
    secrets = {await house.store(), await house.store("other"), await house.rotate(10**6)}
    house.story.clock.advance(10**5)
    before = house.types()
    await house.sweeper.look()
    assert await house.there() == secrets
    assert house.types() == before


async def test_an_overlap_ends_by_the_clock_and_its_secret_is_erased(house: House) -> None:
    old = await house.store()
    new = await house.rotate(60)
    house.story.clock.advance(59)
    await house.sweeper.look()
    assert await house.there() == {old, new}
    house.story.clock.advance(1)
    for _ in range(2):
        await house.sweeper.look()
    assert await house.there() == {new}
    assert house.types()[2:] == ["provider_key.overlap_ended"]
    assert house.story.events[-1].actor == "provider-keys"


async def test_two_sweepers_end_an_overlap_once(house: House) -> None:
    await house.store()
    new = await house.rotate(0)
    other = SecretSweeper(house.secrets, reader=house.story.store, commands=house.story.commands, now=house.story.clock)
    for _ in range(2):
        await asyncio.gather(house.sweeper.look(), other.look())
    assert house.types().count("provider_key.overlap_ended") == 1
    assert await house.there() == {new}


async def test_secrets_of_a_revoked_key_are_erased_and_those_of_others_stay(house: House) -> None:
    await house.store()
    await house.rotate(3600)
    other = await house.store("other")
    await house.story.given(RevokeProviderKey(key_id=KEY))
    await house.sweeper.look()
    assert await house.there() == {other}
    again = await house.store()
    await house.sweeper.look()
    assert await house.there() == {other, again}


async def test_a_third_secret_lets_the_first_go(house: House) -> None:
    await house.store()
    second, third = await house.rotate(3600), await house.rotate(3600)
    await house.sweeper.look()
    assert await house.there() == {second, third}


async def test_a_secret_that_no_event_speaks_of_is_swept_once_no_command_can(house: House) -> None:
    """What a crash between the secret and its event leaves behind."""
    stored = await house.store()
    late = await house.keep()
    await house.keep(provider_key_id("openai", "never-stored"))
    house.story.clock.advance(ORPHAN_SECONDS - 1)
    await house.sweeper.look()
    assert len(await house.there()) == 3
    house.story.clock.advance(1)
    await house.sweeper.look()
    assert await house.there() == {stored}
    command = RotateProviderKey.model_validate(late | {"key_id": KEY})
    await house.story.when(command)
    assert house.story.refusal is not None, "an event speaks of a secret that is gone"
    assert house.story.refusal.code == "provider_key_late"


async def test_first_uses_are_noted_in_the_background_and_once(house: House) -> None:
    secret = await house.store()
    running = asyncio.create_task(house.sweeper.run())
    for _ in range(3):
        house.sweeper.note_use(KEY, secret)
        assert await house.story.store.wait(1, 1.0) == 2  # sooner than its next look
    running.cancel()
    assert house.types() == ["provider_key.stored", "provider_key.used_first_time"]
    assert house.story.state(ProviderKey, KEY).current.used


async def test_what_could_not_be_noted_is_noted_later(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.sweeping.LOOK_SECONDS", 0.05)
    secret = await house.store()
    door = Door(house.story.sequencer, house.story.keyring)
    tries = 0

    async def away(_: Command) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise Unavailable("the database is away", retry_after=0.05)

    door.before = away
    sweeper = SecretSweeper(house.secrets, reader=house.story.store, commands=door, now=house.story.clock)
    sweeper.note_use(KEY, secret)
    running = asyncio.create_task(sweeper.run())
    assert await house.story.store.wait(1, 10.0) == 2
    running.cancel()
    assert house.types()[-1] == "provider_key.used_first_time"
    assert tries == 3
