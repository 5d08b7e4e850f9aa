"""Who is calling: the token of a request, and the access key that it belongs to."""

import base64
import binascii
import hashlib
import hmac
from asyncio import get_running_loop
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from commands.handling import Principal
from domain.identity.access_keys import AccessKey
from domain.identity.tokens import KnownToken, parse_token
from domain.kernel import evolve, load_event
from domain.log import LogReader

REMEMBERED_SECONDS = 1.0
"""How long a revoked key may still be let in: what was read of it is used again for this long."""
REMEMBERED_KEYS = 10_000
_ACTOR_LABEL = 180
"""Characters of a label that fit into an actor's name beside the key's prefix."""


def token_in(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The token that a request shows: `Authorization: Bearer`, or `X-Api-Key`."""
    for name, value in headers:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return value[7:].strip().decode("latin-1")
        if name == b"x-api-key":
            return value.strip().decode("latin-1")
    return None


def password_in(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The token that a browser sends as a password: for pages that are looked at, never for commands."""
    for name, value in headers:
        if name == b"authorization" and value[:6].lower() == b"basic ":
            try:
                return base64.b64decode(value[6:], validate=True).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                return None
    return None


@dataclass(frozen=True, slots=True)
class _Known:
    """What was read of a key, and until when it is believed."""

    principal: Principal | None
    expires_at: datetime | None
    until: float


class Authenticator:
    """Tells who holds a token from the key's own history, so that no read model can be behind.

    What it reads is remembered for a second: a revocation is seen within that time by every process.
    """

    def __init__(self, reader: LogReader, now: Callable[[], datetime]) -> None:
        self._reader = reader
        self._now = now
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._replaced: dict[UUID, UUID | None] = {}
        """What keys that were rotated had replaced themselves; it never changes."""

    async def __call__(self, token: str) -> Principal | None:
        """The principal; None for a token that is mistyped, unknown, expired or revoked."""
        digest = hashlib.sha256(token.encode()).digest()
        known = self._known.get(digest)
        if known is None or known.until < get_running_loop().time():
            shown = parse_token(token)
            if shown is None:
                return None
            known = await self._read(shown)
            self._known[digest] = known
            self._known.move_to_end(digest)
            while len(self._known) > REMEMBERED_KEYS:
                self._known.popitem(last=False)
        if known.expires_at is not None and known.expires_at <= self._now():
            return None
        return known.principal

    async def _read(self, shown: KnownToken) -> _Known:
        until = get_running_loop().time() + REMEMBERED_SECONDS
        key: AccessKey | None = None
        prefix = ""
        for stored in await self._reader.read_stream(shown.key_id):
            prefix = prefix or str(stored.payload()["prefix"])
            key = evolve(key, stored)
        # The id is derived from the hash; comparing the hash itself costs nothing and trusts no derivation.
        if key is None or not hmac.compare_digest(key.key_hash, shown.key_hash) or key.revoked_by is not None:
            return _Known(None, None, until)
        actor = f"{key.label[:_ACTOR_LABEL]} ({prefix})"
        first = await self._first(shown.key_id, key.replaces)
        return _Known(Principal(actor, frozenset(key.permissions), first), key.expires_at, until)

    async def _first(self, key_id: UUID, replaces: UUID | None) -> UUID:
        """The key that this one goes back to, rotation by rotation: by that its holder stays limited and told of."""
        while replaces is not None:
            key_id = replaces
            if key_id not in self._replaced:
                issued = load_event((await self._reader.read_stream(key_id))[0])
                assert isinstance(issued, AccessKey.Issued)  # noqa: S101 -- as every key begins
                self._replaced[key_id] = issued.replaces
            replaces = self._replaced[key_id]
        return key_id
