"""Providers: whose models may answer, where they are reached, and in which variable their key lies; never the key."""

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import Field, StringConstraints

from domain.errors import Conflict, Refused
from domain.kernel import Aggregate, Created, event
from domain.values import ONE_LINE, ModelName, Name, Slug, Value

ProviderKind = Literal["scripted", "openai", "anthropic", "openrouter", "openai_compatible"]
Address = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=ONE_LINE)]
Seconds = Annotated[int, Field(ge=1, le=86_400)]
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,127}")
_SECRET = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|hf|ghp)[-_][A-Za-z0-9_-]{8,}|\bAIza[\w-]{10,}|\bAKIA[A-Z0-9]{12,}|[A-Za-z0-9]{40,}"
)
"""What vendors' keys look like: refused wherever it stands, and never repeated in the refusal."""


class ProviderConfig(Value):
    """How a provider is reached, and what it offers. No models named: any that has a rate."""

    base_url: Address | None = None
    key_env: Name | None = None
    models: Annotated[list[ModelName], Field(max_length=500)] = Field(default_factory=list[ModelName])
    timeout_seconds: Seconds = 600

    def check(self, kind: ProviderKind) -> None:
        """Refuse secrets, addresses that nobody can call, and names that are no variable's."""
        texts = [text for text in (self.base_url, self.key_env, *self.models) if text]
        if any(_SECRET.search(text) for text in texts):
            raise Refused(
                "this holds what looks like a key, and keys never enter the log: put it into an environment variable"
                " and name that variable as key_env",
                code="secret_refused",
            )
        if self.key_env is not None and not _VARIABLE.fullmatch(self.key_env):
            raise Refused("key_env is the name of an environment variable: OPENAI_API_KEY", code="invalid_key_env")
        if self.base_url is not None:
            _check_address(self.base_url)
        elif kind == "openai_compatible":
            raise Refused(
                "an OpenAI-compatible server needs its base_url: http://127.0.0.1:8000/v1", code="base_url_needed"
            )


def _check_address(address: str) -> None:
    try:
        parts = urlsplit(address)
        _ = parts.port  # raises where it is no number
    except ValueError as error:
        raise Refused("base_url is not an address", code="invalid_base_url") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", address):
        raise Refused("base_url begins with http:// or https:// and names a host", code="invalid_base_url")
    if parts.username is not None or parts.query or parts.fragment:
        raise Refused("base_url holds no user, password, query or fragment", code="invalid_base_url")


class Provider(Aggregate):
    """A vendor or a server that answers with models; its name is its id."""

    TOPIC = "provider"
    FOLD = 1
    name: str
    kind: ProviderKind
    config: ProviderConfig
    status: Literal["registered", "removed"]

    class Registered(Created, type="provider.registered"):
        """Models of a provider may be asked."""

        name: Slug
        kind: ProviderKind
        base_url: Address | None
        key_env: Name | None
        models: list[ModelName]
        timeout_seconds: Seconds

    class Restored(Aggregate.Event, type="provider.restored"):
        """A provider that had been removed was registered again, perhaps as another kind."""

        kind: ProviderKind
        base_url: Address | None
        key_env: Name | None
        models: list[ModelName]
        timeout_seconds: Seconds

    class Configured(Aggregate.Event, type="provider.configured"):
        """How a provider is reached was changed; this is all of it."""

        base_url: Address | None
        key_env: Name | None
        models: list[ModelName]
        timeout_seconds: Seconds

    class Removed(Aggregate.Event, type="provider.removed"):
        """Models of a provider may no longer be asked; what they cost stays in the reports."""

    @event(Registered)
    def __init__(
        self,
        id: UUID,  # noqa: ARG002 -- the library's name for it
        *,
        name: str,
        kind: ProviderKind,
        base_url: str | None,
        key_env: str | None,
        models: list[str],
        timeout_seconds: int,
    ) -> None:
        self.name, self.kind, self.status = name, kind, "registered"
        self._take(base_url, key_env, models, timeout_seconds)

    def restore(self, kind: ProviderKind, config: ProviderConfig) -> None:
        if self.status == "registered":
            raise Conflict(f"provider {self.name} is registered already: configure it instead")
        self.trigger_event(Provider.Restored, kind=kind, **dict(config))

    def configure(self, config: ProviderConfig) -> None:
        self._must_be_registered()
        config.check(self.kind)
        if config != self.config:
            self.trigger_event(Provider.Configured, **dict(config))

    def remove(self) -> None:
        self._must_be_registered()
        self.trigger_event(Provider.Removed)

    def _must_be_registered(self) -> None:
        if self.status == "removed":
            raise Refused(f"provider {self.name} was removed: register it again first", code="provider_removed")

    def _take(self, base_url: str | None, key_env: str | None, models: list[str], timeout_seconds: int) -> None:
        self.config = ProviderConfig(base_url=base_url, key_env=key_env, models=models, timeout_seconds=timeout_seconds)

    @event(Restored)
    def _restored(
        self,
        *,
        kind: ProviderKind,
        base_url: str | None,
        key_env: str | None,
        models: list[str],
        timeout_seconds: int,
    ) -> None:
        self.kind, self.status = kind, "registered"
        self._take(base_url, key_env, models, timeout_seconds)

    @event(Configured)
    def _configured(self, base_url: str | None, key_env: str | None, models: list[str], timeout_seconds: int) -> None:
        self._take(base_url, key_env, models, timeout_seconds)

    @event(Removed)
    def _removed(self) -> None:
        self.status = "removed"
