"""Providers by name: built in or registered; their keys are those that were stored, else those in the environment."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from pydantic import SecretStr

from adapters.clock import now as machine_clock
from adapters.llm.keyed import Client, KeyedModel
from adapters.llm.keys import LiveSecret, Ring, StoredKeys, is_sendable
from adapters.llm.recording import LIVE, Responses, around
from adapters.llm.scripted import ScriptedModel
from commands.models import LanguageModel
from domain.errors import Refused
from domain.ids import provider_id
from domain.kernel import evolve
from domain.log import LogReader
from domain.providers import Provider, ProviderConfig, ProviderKind

BUILT_IN: Mapping[str, tuple[ProviderKind, str | None]] = {
    "scripted": ("scripted", None),
    "openai": ("openai", "OPENAI_API_KEY"),
    "anthropic": ("anthropic", "ANTHROPIC_API_KEY"),
    "openrouter": ("openrouter", "OPENROUTER_API_KEY"),
}
"""Providers that need no registration, and the variable that holds their key."""


class _Place(NamedTuple):
    """What a client is made for: another version of its provider, or another secret, needs another client."""

    stream: UUID
    version: int
    secret_id: UUID | None


class ModelRegistry:
    """Clients of providers, made once per configuration and secret. Keys never come from the log."""

    def __init__(
        self,
        reader: LogReader,
        environ: Mapping[str, str],
        stored: StoredKeys | None = None,
        *,
        on_first_use: Callable[[UUID, UUID], None] = lambda _key, _secret: None,
        now: Callable[[], datetime] = machine_clock,
        responses: Responses = LIVE,
    ) -> None:
        self._reader = reader
        self._environ = environ
        self._stored = stored
        self._on_first_use = on_first_use
        self._now = now
        self._responses = responses
        self._clients: dict[_Place, Client] = {}
        self._leaving: list[Client] = []
        self._used: set[UUID] = set()

    async def get(self, provider: str, project_id: UUID | None = None) -> KeyedModel:
        """The provider's client for this project. Refused, with what to do, when it is unknown or has no key."""
        stream = provider_id(provider)
        registered: Provider | None = None
        for stored in await self._reader.read_stream(stream):
            registered = evolve(registered, stored)
        version = registered.version if registered else 0
        kind, config = _reached(provider, registered)
        paid = kind != "scripted" and self._responses.mode != "replay"
        ring = await self._stored.ring(provider) if self._stored and paid else Ring(provider)
        wanted: list[LiveSecret | None] = [*ring.choose(project_id, self._now())] or [None]
        clients: list[Client] = []
        for secret in wanted:
            place = _Place(stream, version, secret.secret_id if secret else None)
            if place not in self._clients:
                # In a thread: a vendor's SDK takes a second to import, and everybody else shares the loop.
                made = Client(await asyncio.to_thread(self._client, provider, kind, config, secret), secret)
                if self._clients.setdefault(place, made) is not made:
                    await made.model.aclose()  # another attempt was first, and nobody has seen this one
            clients.append(self._clients[place])
        await self._let_go(stream, version, ring.known)
        return KeyedModel(provider, clients, self._note)

    async def aclose(self) -> None:
        """Close every client's connections."""
        for client in (*self._clients.values(), *self._leaving):
            await client.model.aclose()
        self._clients.clear()
        self._leaving.clear()

    async def _let_go(self, stream: UUID, version: int, secrets: Collection[UUID]) -> None:
        """Clients of an older configuration, or of a secret that is gone, as soon as nobody can want them."""
        for place in [each for each in self._clients if each.stream == stream]:
            if place.version < version or (place.secret_id is not None and place.secret_id not in secrets):
                client = self._clients.pop(place)
                client.leave()
                self._leaving.append(client)
        rested = [each for each in self._leaving if each.has_rested]
        self._leaving = [each for each in self._leaving if each not in rested]
        for client in rested:
            await client.model.aclose()

    def _note(self, secret: LiveSecret) -> None:
        if not secret.used and secret.secret_id not in self._used:
            self._used.add(secret.secret_id)
            self._on_first_use(secret.key_id, secret.secret_id)

    def _client(
        self, name: str, kind: ProviderKind, config: ProviderConfig, stored: LiveSecret | None
    ) -> LanguageModel:
        if kind == "scripted":
            return ScriptedModel()
        return around(self._responses, name, self._vendor(name, kind, config, stored))

    def _vendor(
        self, name: str, kind: ProviderKind, config: ProviderConfig, stored: LiveSecret | None
    ) -> LanguageModel:
        if self._responses.mode == "replay":
            key: SecretStr | None = SecretStr("none-is-needed")
        else:
            key = stored.secret if stored else self._from_environment(name, kind, config)
        if kind == "anthropic" and key is not None:
            from adapters.llm.anthropic import ANTHROPIC_URL, AnthropicModel

            return AnthropicModel(provider=name, api_key=key, base_url=config.base_url or ANTHROPIC_URL)
        from adapters.llm.openai import OPENAI_URL, OPENROUTER_URL, OpenAIModel

        usual = OPENROUTER_URL if kind == "openrouter" else OPENAI_URL
        return OpenAIModel(
            provider=name, api_key=key, base_url=config.base_url or usual, says_charge=kind == "openrouter"
        )

    def _from_environment(self, name: str, kind: ProviderKind, config: ProviderConfig) -> SecretStr | None:
        key_env = config.key_env or (BUILT_IN[kind][1] if kind in BUILT_IN else None)
        if key_env and (found := self._environ.get(key_env)):
            if not is_sendable(found):
                raise Refused(
                    f"the key of provider {name} in {key_env} holds a blank, a line break or a character that HTTP "
                    "cannot carry: set it again without, and start the worker again",
                    code="provider_key_missing",
                )
            return SecretStr(found)
        if kind == "openai_compatible" and not config.key_env:
            return None
        raise Refused(
            f"provider {name} has no key: store one (toybox provider-keys add {name}), or set {key_env} in the "
            "environment of the worker and start it again",
            code="provider_key_missing",
        )


def _reached(name: str, registered: Provider | None) -> tuple[ProviderKind, ProviderConfig]:
    if registered is not None and registered.status == "registered":
        return registered.kind, registered.config
    if name in BUILT_IN:
        kind, key_env = BUILT_IN[name]
        return kind, ProviderConfig(key_env=key_env)
    raise Refused(
        f"there is no provider {name}: register it (POST /api/ai-providers), or use one of {', '.join(BUILT_IN)}",
        code="unknown_provider",
    )
