"""Which stored keys a provider has now: read from the log, opened, remembered for a second."""

import asyncio
import re
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import structlog
from pydantic import SecretStr

from domain.errors import Refused
from domain.keeping import ProviderSecrets
from domain.kernel import evolve
from domain.log import LogReader
from domain.provider_keys import ProviderKey

RECHECK_SECONDS = 1.0
"""How long a key may be used without asking whether it still works: a revocation takes effect in this time."""
LOOKS = 3
"""How often the log is read again when a secret went while it was looked for: it was rotated or revoked meanwhile."""
_SENDABLE = re.compile(r"[!-~]+")
log = structlog.get_logger("toybox.provider_keys")


def is_sendable(secret: str) -> bool:
    """Whether a header can carry it: no blanks, no line breaks, nothing but ASCII."""
    return _SENDABLE.fullmatch(secret) is not None


@dataclass(frozen=True, slots=True)
class LiveSecret:
    """What opens a provider's door now."""

    key_id: UUID
    secret_id: UUID
    secret: SecretStr = field(repr=False)
    used: bool
    """Whether the log knows that the provider takes it."""


@dataclass(frozen=True, slots=True)
class Ring:
    """Every key of one provider, in the order in which they were stored, and what its secrets are."""

    provider: str
    keys: Sequence[ProviderKey] = ()
    secrets: Mapping[UUID, SecretStr | str] = field(default_factory=dict[UUID, SecretStr | str], repr=False)

    @property
    def known(self) -> frozenset[UUID]:
        """Secrets that clients may still be made with."""
        return frozenset(self.secrets)

    def choose(self, project_id: UUID | None, now: datetime) -> Sequence[LiveSecret]:
        """The secrets to try, the newest first; none where no key is stored for this project.

        The project's own key comes before one for all, and of several the one that was stored last. Refused when it
        cannot be opened: another account must not pay unnoticed.
        """
        meant = [key for key in self.keys if key.live(now) and key.project_id in (None, project_id)]
        if not meant:
            return ()
        key = max(enumerate(meant), key=lambda each: (each[1].project_id is not None, each[0]))[1]
        found = {each: self.secrets.get(each, "") for each in key.live(now)}
        live = [
            LiveSecret(key.id, each, secret, _is_used(key, each))
            for each, secret in found.items()
            if isinstance(secret, SecretStr)
        ]
        if not live:
            problem = next(str(each) for each in found.values())
            raise Refused(
                f"key {key.label} of provider {self.provider} cannot be used: {problem}", code="provider_key_missing"
            )
        return live


class StoredKeys:
    """The keys of all providers. What it holds is a second old at most."""

    def __init__(
        self, reader: LogReader, secrets: ProviderSecrets, *, on_secret: Callable[[str], None] = lambda _: None
    ) -> None:
        self._reader = reader
        self._secrets = secrets
        self._on_secret = on_secret
        self._rings: dict[str, tuple[float, Ring]] = {}
        self._looking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._warned: set[UUID] = set()

    async def ring(self, provider: str) -> Ring:
        """The provider's keys. One look-up for all who ask at once."""
        if found := self._fresh(provider):
            return found
        async with self._looking[provider]:
            if found := self._fresh(provider):
                return found
            asked_at = time.monotonic()  # before the question: an answer may be out of date when it arrives
            ring = await self._look(provider)
            self._rings[provider] = asked_at, ring
        return ring

    def _fresh(self, provider: str) -> Ring | None:
        asked_at, ring = self._rings.get(provider, (float("-inf"), None))
        return ring if time.monotonic() - asked_at < RECHECK_SECONDS else None

    async def _look(self, provider: str) -> Ring:
        keys = await self._keys(provider)
        for _ in range(LOOKS):
            wanted = _secrets_of(keys)
            found = await self._secrets.reveal(wanted) if wanted else {}
            if not any(isinstance(each, str) for each in found.values()):
                break
            # What is not there may have been erased since the log was read.
            again = await self._keys(provider)
            if _secrets_of(again) == wanted:
                self._warn(provider, found)
                break
            keys = again
        else:
            found = {}  # rotated faster than we can look: what is live cannot be opened now, and says so
        for each in found.values():
            if isinstance(each, SecretStr):
                self._on_secret(each.get_secret_value())
        return Ring(provider, keys, found)

    async def _keys(self, provider: str) -> Sequence[ProviderKey]:
        streams = await self._secrets.keys_of(provider)
        if not streams:
            return ()
        histories = await self._reader.read_streams(streams)
        keys: list[ProviderKey] = []
        for each in streams:
            key: ProviderKey | None = None
            for stored in histories[each]:
                key = evolve(key, stored)
            if key and key.status == "stored":
                keys.append(key)
        return keys

    def _warn(self, provider: str, found: Mapping[UUID, SecretStr | str]) -> None:
        for each, problem in found.items():
            if isinstance(problem, str) and each not in self._warned:
                self._warned.add(each)
                log.warning("a provider key cannot be used", provider=provider, secret=str(each), reason=problem)


def _secrets_of(keys: Sequence[ProviderKey]) -> set[UUID]:
    return {each.secret_id for key in keys for each in (key.current, key.old) if each}


def _is_used(key: ProviderKey, secret_id: UUID) -> bool:
    return any(each.used for each in (key.current, key.old) if each and each.secret_id == secret_id)
