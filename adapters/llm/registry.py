"""Providers by name: built in for the vendors whose keys are in the environment, registered for everything else."""

import asyncio
from collections.abc import Mapping
from uuid import UUID

from pydantic import SecretStr

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


class ModelRegistry:
    """Clients of providers, made once per configuration. Keys are read from the environment, never from the log."""

    def __init__(self, reader: LogReader, environ: Mapping[str, str]) -> None:
        self._reader = reader
        self._environ = environ
        self._clients: dict[tuple[UUID, int], LanguageModel] = {}

    async def get(self, provider: str) -> LanguageModel:
        """The provider's client. Refused, with the command that fixes it, when it is unknown or has no key."""
        stream = provider_id(provider)
        registered: Provider | None = None
        for stored in await self._reader.read_stream(stream):
            registered = evolve(registered, stored)
        version = registered.version if registered else 0
        if (stream, version) not in self._clients:
            # In a thread: a vendor's SDK takes a second to import, and everybody else shares the loop.
            made = await asyncio.to_thread(self._make, provider, registered)
            self._clients.setdefault((stream, version), made)
        return self._clients[stream, version]

    async def aclose(self) -> None:
        """Close every client's connections."""
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()

    def _make(self, name: str, registered: Provider | None) -> LanguageModel:
        if registered is not None and registered.status == "registered":
            return self._client(name, registered.kind, registered.config)
        if name in BUILT_IN:
            kind, key_env = BUILT_IN[name]
            return self._client(name, kind, ProviderConfig(key_env=key_env))
        raise Refused(
            f"there is no provider {name}: register it (POST /api/ai-providers), or use one of {', '.join(BUILT_IN)}",
            code="unknown_provider",
        )

    def _client(self, name: str, kind: ProviderKind, config: ProviderConfig) -> LanguageModel:
        if kind == "scripted":
            return ScriptedModel()
        key_env = config.key_env or (BUILT_IN[kind][1] if kind in BUILT_IN else None)
        key = SecretStr(self._environ[key_env]) if key_env and self._environ.get(key_env) else None
        if key is None and (kind != "openai_compatible" or config.key_env):
            raise Refused(
                f"provider {name} has no key: set {key_env} in the environment of the worker and start it again",
                code="provider_key_missing",
            )
        if kind == "anthropic" and key is not None:
            from adapters.llm.anthropic import ANTHROPIC_URL, AnthropicModel

            return AnthropicModel(provider=name, api_key=key, base_url=config.base_url or ANTHROPIC_URL)
        from adapters.llm.openai import OPENAI_URL, OPENROUTER_URL, OpenAIModel

        usual = OPENROUTER_URL if kind == "openrouter" else OPENAI_URL
        return OpenAIModel(provider=name, api_key=key, base_url=config.base_url or usual)
