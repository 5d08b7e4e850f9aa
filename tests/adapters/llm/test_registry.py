"""Which key pays: a stored one before the environment's, the project's own before all others, the newest first."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from adapters.llm import keyed, keys
from adapters.llm.keys import StoredKeys
from adapters.llm.registry import ModelRegistry
from adapters.llm.wire import Wire
from adapters.security.envelopes import MemorySecrets
from commands.models import Message, ModelError, ModelReply, ModelRequest
from commands.projects import CreateProject
from commands.provider_keys import EndKeyOverlap, RevokeProviderKey, RotateProviderKey, StoreProviderKey
from commands.providers import ConfigureProvider, RegisterProvider, RemoveProvider
from domain.errors import Refused
from domain.ids import provider_key_id
from domain.provider_keys import ProviderKey, last_four
from domain.providers import ProviderConfig, ProviderKind
from domain.values import derived_id
from tests.support.story import Story, telling
from tests.support.vendors.server import VendorServer

FIRST, SECOND, THIRD, FROM_ENVIRONMENT = (f"plantedKey-{name}-0123456789" for name in ("one", "two", "three", "env"))
VARIABLE = "VENDOR_KEY"


@dataclass
class Shop:
    """A registry over a story, a vendor, and what was said about first uses."""

    story: Story
    vendor: VendorServer
    secrets: MemorySecrets
    registry: ModelRegistry
    used: list[tuple[UUID, UUID]] = field(default_factory=list[tuple[UUID, UUID]])

    async def store(self, secret: str, *, label: str = "default", project_id: UUID | None = None) -> UUID:
        """As the route does it."""
        facts = await self._kept(secret, provider_key_id("vendor", label))
        await self.story.send(StoreProviderKey(**facts, provider="vendor", label=label, project_id=project_id))
        return provider_key_id("vendor", label)

    async def rotate(self, key_id: UUID, secret: str, overlap: int = 3600) -> None:
        facts = await self._kept(secret, key_id)
        await self.story.send(RotateProviderKey(**facts, key_id=key_id, overlap_seconds=overlap))

    async def _kept(self, secret: str, key_id: UUID) -> dict[str, Any]:
        secret_id = uuid4()
        kept_at = await self.secrets.keep(secret_id, key_id, SecretStr(secret))
        fingerprint = derived_id(secret).hex * 2
        facts = {"kept_at": kept_at, "last_four": last_four(SecretStr(secret)), "fingerprint": fingerprint}
        return {"secret_id": secret_id, **facts}

    async def ask(self, project_id: UUID | None = None, *, stream: bool = True) -> ModelReply:
        """One attempt."""
        model = await self.registry.get("vendor", project_id)
        request = ModelRequest(uuid4(), "m", (Message("user", "Hello?"),), 50, None, time.monotonic() + 10)
        if not stream:
            return await model.complete(request)
        replies = [piece async for piece in model.stream(request) if isinstance(piece, ModelReply)]
        assert len(replies) == 1
        return replies[0]

    def key(self, key_id: UUID) -> ProviderKey:
        return self.story.state(ProviderKey, key_id)


@pytest.fixture
def vendor(loopback: str) -> Iterator[VendorServer]:
    with VendorServer(key=FIRST) as server:
        yield server


@pytest.fixture(params=["openai_compatible", "anthropic"])
async def shop(
    request: pytest.FixtureRequest, vendor: VendorServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Shop]:
    monkeypatch.setattr(keys, "RECHECK_SECONDS", 0.0)
    async with open_for(vendor, request.param) as made:
        yield made


@asynccontextmanager
async def open_for(
    vendor: VendorServer, kind: ProviderKind, *, environ: Mapping[str, str] | None = None
) -> AsyncIterator[Shop]:
    """A shop for a kind of provider."""
    async with telling() as story:
        secrets = MemorySecrets(story.store, story.clock)
        url = vendor.base_url if kind == "anthropic" else vendor.openai_url
        config = ProviderConfig(base_url=url, key_env=VARIABLE)
        await story.send(RegisterProvider(name="vendor", kind=kind, config=config))
        used: list[tuple[UUID, UUID]] = []
        registry = ModelRegistry(
            story.store,
            environ or {},
            StoredKeys(story.store, secrets),
            on_first_use=lambda key, secret: used.append((key, secret)),
            now=story.clock,
        )
        yield Shop(story, vendor, secrets, registry, used)
        await registry.aclose()


async def refused(shop: Shop, project_id: UUID | None = None) -> Refused:
    with pytest.raises(Refused) as found:
        await shop.ask(project_id)
    assert found.value.code == "provider_key_missing"
    return found.value


async def test_a_stored_key_pays_from_the_next_look_on_and_its_first_use_is_told_once(shop: Shop) -> None:
    assert "store one (toybox provider-keys add vendor), or set VENDOR_KEY" in str(await refused(shop))
    key_id = await shop.store(FIRST)
    assert (await shop.registry.get("vendor")).key_id == key_id
    assert shop.used == []
    await shop.ask()
    await shop.ask(stream=False)
    assert shop.used == [(key_id, shop.key(key_id).current.secret_id)]


async def test_a_stored_key_comes_before_the_environments_which_pays_again_after_it(vendor: VendorServer) -> None:
    async with open_for(vendor, "openai_compatible", environ={VARIABLE: FROM_ENVIRONMENT}) as shop:
        with pytest.raises(ModelError, match="HTTP 401"):
            await shop.ask()
        assert (await shop.registry.get("vendor")).key_id is None
    async with open_for(vendor, "openai_compatible", environ={VARIABLE: FROM_ENVIRONMENT}) as shop:
        key_id = await shop.store(FIRST)
        await shop.ask()
        await shop.story.send(RevokeProviderKey(key_id=key_id))
        began = time.monotonic()
        while (await shop.registry.get("vendor")).key_id is not None:
            assert time.monotonic() - began < 2, "a revoked key still pays"
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("key", [f"{FROM_ENVIRONMENT}\n", f"{FROM_ENVIRONMENT} x", "plantedKéy-env-0123456789"])
@pytest.mark.parametrize("kind", ["openai_compatible", "anthropic"])
async def test_a_key_of_the_environment_that_cannot_be_sent_is_refused_by_the_name_of_its_variable(
    vendor: VendorServer, kind: ProviderKind, key: str
) -> None:
    async with open_for(vendor, kind, environ={VARIABLE: key}) as shop:
        said = str(await refused(shop))
    assert "VENDOR_KEY" in said
    assert "set it again" in said
    assert key.strip()[:12] not in said


async def test_after_a_rotation_the_new_key_is_used_and_the_old_one_where_that_is_refused(shop: Shop) -> None:
    key_id = await shop.store(FIRST)
    await shop.ask()
    await shop.rotate(key_id, SECOND)
    for stream in (True, False):
        await shop.ask(stream=stream)  # the vendor still takes the first one only
    assert len(shop.used) == 1
    shop.vendor.accept(SECOND)
    await shop.ask()
    assert shop.used[1:] == [(key_id, shop.key(key_id).current.secret_id)]
    requests = [each for each in shop.vendor.entries() if "attempt_id" in each]
    by_attempt: dict[str, int] = {}
    for each in requests:
        by_attempt[each["attempt_id"]] = by_attempt.get(each["attempt_id"], 0) + 1
    assert sorted(by_attempt.values()) == [1, 1, 2, 2]


async def test_when_the_overlap_is_over_the_old_key_is_tried_no_more(shop: Shop) -> None:
    key_id = await shop.store(FIRST)
    await shop.rotate(key_id, SECOND, overlap=60)
    shop.story.clock.advance(60)
    for stream in (True, False):
        with pytest.raises(ModelError) as failure:
            await shop.ask(stream=stream)
        assert failure.value.kind == "authentication"
        assert not failure.value.may_cost
        assert "[key]" in str(failure.value)
        assert SECOND not in str(failure.value)


async def test_only_a_refused_key_lets_another_be_tried(shop: Shop) -> None:
    key_id = await shop.store(FIRST)
    await shop.rotate(key_id, SECOND)
    shop.vendor.accept(SECOND)
    for kind in ("rate_limited", "server_error", "quota", "cut"):
        shop.vendor.behave(kind)
        before = len(shop.vendor.entries())
        with pytest.raises(ModelError):
            await shop.ask()
        assert len(shop.vendor.entries()) == before + 1, kind


async def test_a_projects_own_key_comes_first_and_pays_for_nobody_else(shop: Shop) -> None:
    one, two = shop.story.id("one"), shop.story.id("two")
    for each in (one, two):
        await shop.story.send(CreateProject(project_id=each, name="some"))
    own = await shop.store(SECOND, label="own", project_id=one)
    await refused(shop)
    await refused(shop, two)
    general = await shop.store(FIRST)
    chosen = {each: (await shop.registry.get("vendor", each)).key_id for each in (one, two, None)}
    assert chosen == {one: own, two: general, None: general}
    latest = await shop.store(THIRD, label="later")
    assert (await shop.registry.get("vendor", two)).key_id == latest
    assert (await shop.registry.get("vendor", one)).key_id == own


async def test_a_key_that_cannot_be_opened_is_refused_and_never_replaced_by_another_account(shop: Shop) -> None:
    await shop.store(FIRST)
    project = shop.story.id("one")
    await shop.story.send(CreateProject(project_id=project, name="some"))
    own = await shop.store(SECOND, label="own", project_id=project)
    await shop.secrets.destroy({shop.key(own).current.secret_id})
    said = str(await refused(shop, project))
    assert said.startswith("key own of provider vendor cannot be used: its secret is not in the table provider_secrets")
    await shop.ask()
    await shop.rotate(own, FIRST)
    await shop.ask(project)  # which mends it


async def test_while_one_of_two_secrets_opens_calls_go_on(shop: Shop) -> None:
    key_id = await shop.store(FIRST)
    await shop.rotate(key_id, SECOND)
    await shop.secrets.destroy({shop.key(key_id).current.secret_id})
    await shop.ask()
    assert shop.used == [(key_id, shop.key(key_id).old.secret_id)]  # type: ignore[union-attr]


async def test_a_secret_that_went_while_it_was_looked_for_is_no_missing_key(shop: Shop) -> None:
    key_id = await shop.store(FIRST)
    gone = shop.key(key_id).current.secret_id
    stored, reveal = StoredKeys(shop.story.store, shop.secrets), shop.secrets.reveal

    async def rotated_meanwhile(kept: set[UUID]) -> dict[UUID, SecretStr | str]:
        shop.secrets.reveal = reveal  # type: ignore[method-assign]
        await shop.rotate(key_id, SECOND, overlap=0)
        await shop.story.send(EndKeyOverlap(key_id=key_id, secret_id=gone))
        await shop.secrets.destroy({gone})
        return await reveal(kept)

    shop.secrets.reveal = rotated_meanwhile  # type: ignore[method-assign,assignment]
    ring = await stored.ring("vendor")
    assert [each.secret.get_secret_value() for each in ring.choose(None, shop.story.clock.now)] == [SECOND]


async def test_clients_of_what_is_gone_are_closed_once_nobody_can_want_them(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_id = await shop.store(FIRST)
    await shop.ask()
    held = await shop.registry.get("vendor")
    client = held._clients[0]
    await shop.rotate(key_id, SECOND, overlap=0)
    await shop.story.send(EndKeyOverlap(key_id=key_id, secret_id=shop.key(key_id).old.secret_id))  # type: ignore[union-attr]
    await shop.registry.get("vendor")
    request = ModelRequest(uuid4(), "m", (Message("user", "Hello?"),), 50, None, time.monotonic() + 10)
    await held.complete(request)  # it was prepared before, and is not closed under its feet
    with client.in_use():
        monkeypatch.setattr(keyed, "REST_SECONDS", 0.0)
        assert not client.has_rested
    await shop.registry.get("vendor")
    with pytest.raises((ModelError, RuntimeError)):
        await held.complete(request)


async def test_another_configuration_needs_another_client(shop: Shop, vendor: VendorServer) -> None:
    await shop.store(FIRST)
    await shop.ask()
    await shop.story.send(ConfigureProvider(name="vendor", config=ProviderConfig(base_url="http://127.0.0.1:9/v1")))
    with pytest.raises(ModelError) as failure:
        await shop.ask()
    assert failure.value.kind == "unreachable"
    await shop.story.send(RemoveProvider(name="vendor"))
    with pytest.raises(Refused, match="there is no provider vendor") as gone:
        await shop.ask()
    assert gone.value.code == "unknown_provider"


async def test_a_key_that_a_provider_repeats_is_hidden_also_where_his_words_are_cut_off() -> None:
    wire = Wire("vendor", "http://127.0.0.1:9/v1", secret=FIRST)
    request = ModelRequest(uuid4(), "m", (Message("user", "Hello?"),), 50, None, time.monotonic() + 10)
    with wire.attempt(request) as attempt:
        for length in range(240, 310):
            said = str(attempt.refused({"error": {"message": "x" * length + FIRST}}, 401))
            assert FIRST[:5] not in said, said
            assert ("[key]" in said) == (length <= 295), length
    await wire.http.aclose()


def test_nothing_that_is_held_says_a_key() -> None:
    live = keys.LiveSecret(uuid4(), uuid4(), SecretStr(FIRST), used=False)
    ring = keys.Ring("vendor", (), {uuid4(): SecretStr(FIRST)})
    everything: list[Callable[[], str]] = [lambda: repr(live), lambda: repr(ring), lambda: str(ring)]
    assert not [each() for each in everything if FIRST in each()]
