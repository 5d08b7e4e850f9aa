"""Envelopes: a secret under a key of its own, which the key-encryption key wraps; and a store of them in memory."""

import hashlib
import hmac
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from adapters.security.sealing import KEY_BYTES, NONCE_BYTES
from domain.errors import Refused
from domain.keeping import KeptSecret
from domain.log import LogReader
from domain.provider_keys import ProviderKey


@dataclass(frozen=True, slots=True)
class Kind:
    """Secrets of one kind: what binds their envelopes, where they lie, what to do about one that does not open."""

    bound: bytes
    table: LiteralString
    another: str
    code: str

    @property
    def gone(self) -> str:
        """What is said of one that is not there."""
        return f"its secret is not in the table {self.table}: restore that table from its backup, or {self.another}"


PROVIDER_KEYS = Kind(
    b"toybox-provider-", "provider_secrets", "store it anew: toybox provider-keys rotate", "provider_key_missing"
)
WEBHOOKS = Kind(b"toybox-webhook-", "webhook_secrets", "make another: toybox webhooks rotate", "webhook_secret_missing")
GONE = PROVIDER_KEYS.gone


@dataclass(frozen=True, slots=True)
class Envelope:
    """What lies in a row: which key wrapped, the wrapped data key, the sealed secret."""

    kek: str
    wrapped: bytes
    sealed: bytes


class KeyEncryptionKey:
    """Wraps the data keys of secrets. Derived from the master key, which wraps other things under other names."""

    def __init__(self, master: bytes, kind: Kind = PROVIDER_KEYS) -> None:
        self._kind = kind
        self.id = hmac.digest(master, b"toybox-key-encryption-key-id-v1", hashlib.sha256).hex()[:16]
        """Says which key it is, and nothing about it."""
        self._cipher = AESGCM(hmac.digest(master, b"toybox-key-encryption-key-v1", hashlib.sha256))

    def seal(self, secret: SecretStr, secret_id: UUID, key_id: UUID) -> Envelope:
        """Another envelope at every call; worth nothing in another secret's row."""
        data_key = os.urandom(KEY_BYTES)
        plain = secret.get_secret_value().encode()
        sealed = _encrypt(AESGCM(data_key), plain, self._bound(b"secret", secret_id, key_id))
        return Envelope(self.id, self._wrap(data_key, secret_id, key_id), sealed)

    def open(self, envelope: Envelope, secret_id: UUID, key_id: UUID) -> SecretStr:
        """The secret; Refused, with what to do, where this is not the key for it or something was altered."""
        data_key = self._unwrap(envelope, secret_id, key_id)
        try:
            plain = _decrypt(AESGCM(data_key), envelope.sealed, self._bound(b"secret", secret_id, key_id))
        except (InvalidTag, ValueError) as error:
            raise self._altered() from error
        return SecretStr(plain.decode())

    def rewrap(self, envelope: Envelope, secret_id: UUID, key_id: UUID, new: "KeyEncryptionKey") -> Envelope:
        """The same sealed secret, its data key under another key-encryption key."""
        data_key = self._unwrap(envelope, secret_id, key_id)
        return Envelope(new.id, new._wrap(data_key, secret_id, key_id), envelope.sealed)  # noqa: SLF001 -- its own kind

    def _wrap(self, data_key: bytes, secret_id: UUID, key_id: UUID) -> bytes:
        return _encrypt(self._cipher, data_key, self._bound(b"data-key", secret_id, key_id))

    def _unwrap(self, envelope: Envelope, secret_id: UUID, key_id: UUID) -> bytes:
        if envelope.kek != self.id:
            raise Refused(
                f"it was sealed under another master key ({envelope.kek}; here is {self.id}): put that one back"
                f" (TOYBOX_MASTER_KEY, or master.key in the data directory), or {self._kind.another}",
                code=self._kind.code,
            )
        try:
            return _decrypt(self._cipher, envelope.wrapped, self._bound(b"data-key", secret_id, key_id))
        except (InvalidTag, ValueError) as error:
            raise self._altered() from error

    def _altered(self) -> Refused:
        kind = self._kind
        message = f"its sealed secret was altered: restore the table {kind.table} from its backup, or {kind.another}"
        return Refused(message, code=kind.code)

    def _bound(self, what: bytes, secret_id: UUID, key_id: UUID) -> bytes:
        return self._kind.bound + what + b"-v1" + secret_id.bytes + key_id.bytes


def _encrypt(cipher: AESGCM, plain: bytes, associated: bytes) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, plain, associated)


def _decrypt(cipher: AESGCM, sealed: bytes, associated: bytes) -> bytes:
    return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated)


def opened(kek: KeyEncryptionKey, envelope: Envelope, secret_id: UUID, key_id: UUID) -> SecretStr | str:
    """The secret, or why it does not open."""
    try:
        return kek.open(envelope, secret_id, key_id)
    except Refused as refusal:
        return str(refusal)


class MemorySecrets:
    """Forgets every secret with the process; a clock of its own decides what is young."""

    def __init__(
        self,
        reader: LogReader,
        clock: Callable[[], datetime],
        master: bytes | None = None,
        kind: Kind = PROVIDER_KEYS,
    ) -> None:
        self._reader = reader
        self._clock = clock
        self._kind = kind
        self._kek = KeyEncryptionKey(master or os.urandom(KEY_BYTES), kind)
        self._rows: dict[UUID, tuple[KeptSecret, Envelope]] = {}

    async def keep(self, secret_id: UUID, key_id: UUID, secret: SecretStr) -> datetime:
        """Seal it, unless it lies here; either way it is young now."""
        known = self._rows.get(secret_id)
        envelope = known[1] if known else self._kek.seal(secret, secret_id, key_id)
        self._rows[secret_id] = (KeptSecret(secret_id, key_id, self._clock()), envelope)
        return self._clock()

    async def reveal(self, kept: Collection[UUID]) -> dict[UUID, SecretStr | str]:
        """Secrets, or sentences."""
        found: dict[UUID, SecretStr | str] = dict.fromkeys(kept, self._kind.gone)
        for each, (row, envelope) in ((each, self._rows[each]) for each in kept if each in self._rows):
            found[each] = opened(self._kek, envelope, each, row.key_id)
        return found

    async def keys_of(self, provider: str) -> Sequence[UUID]:
        """From the log."""
        events = await self._reader.read(0, 1_000_000, types={ProviderKey.Stored.TYPE})
        return [each.stream_id for each in events if each.payload()["provider"] == provider]

    async def kept(self) -> Sequence[KeptSecret]:
        """Every row."""
        return [row for row, _ in self._rows.values()]

    async def destroy(self, secrets: Collection[UUID], *, unless_kept_within: float = 0.0) -> int:
        """Drop rows."""
        now = self._clock()
        known = [self._rows[each][0] for each in secrets if each in self._rows]
        gone = [each for each in known if (now - each.kept_at).total_seconds() >= unless_kept_within]
        for each in gone:
            del self._rows[each.secret_id]
        return len(gone)
