"""AES-256-GCM under a subject's key, and a keyring that lives in memory for stories and tests."""

import base64
import hashlib
import hmac
import os
from collections.abc import Sequence
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from domain.errors import Refused

KEY_BYTES = 32
NONCE_BYTES = 12
_MARK = "s1"


def encode(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """The bytes of a base64url text without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def subject_of(sealed: str) -> UUID:
    """Whose key sealed this text."""
    return UUID(sealed.split(".", 2)[1])


class AesSealer:
    """Seals text as `s1.<subject>.<nonce and ciphertext>`; the subject is authenticated with the text."""

    def __init__(self, subject: UUID, key: bytes) -> None:
        self._subject = subject
        self._prefix = f"{_MARK}.{subject.hex}."
        self._cipher = AESGCM(key)
        self._fingerprint_key = hmac.digest(key, b"toybox-fingerprint-v1", hashlib.sha256)

    def seal(self, text: str) -> str:
        """A new ciphertext at every call."""
        nonce = os.urandom(NONCE_BYTES)
        return self._prefix + encode(nonce + self._cipher.encrypt(nonce, text.encode(), self._subject.bytes))

    def unseal(self, sealed: str) -> str:
        """The text again; Refused when it was not sealed under this key or was altered."""
        raw = decode(sealed.rsplit(".", 1)[1])
        try:
            return self._cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], self._subject.bytes).decode()
        except InvalidTag as error:
            msg = "a sealed text does not fit its key: the key table and the log are not of one installation"
            raise Refused(msg, code="seal_broken") from error

    def fingerprint(self, data: bytes) -> bytes:
        """HMAC-SHA256, worthless without the key."""
        return hmac.digest(self._fingerprint_key, data, hashlib.sha256)


class MemoryKeyring:
    """A keyring that forgets everything with the process."""

    def __init__(self) -> None:
        self._sealers: dict[UUID, AesSealer | None] = {}

    async def sealer(self, subject: UUID) -> AesSealer:
        """The subject's sealer, made on first use."""
        if subject not in self._sealers:
            self._sealers[subject] = AesSealer(subject, os.urandom(KEY_BYTES))
        found = self._sealers[subject]
        if found is None:
            msg = "the key of this project or person was destroyed: nothing more can be written under it"
            raise Refused(msg, code="key_destroyed")
        return found

    async def unseal(self, texts: Sequence[str]) -> Sequence[str | None]:
        """Plain texts, None where the key is gone."""
        found = [(self._sealers.get(subject_of(text)), text) for text in texts]
        return [sealer.unseal(text) if sealer else None for sealer, text in found]

    async def destroy(self, subject: UUID) -> bool:
        """Forget the key and remember that it is gone."""
        had = self._sealers.get(subject) is not None
        self._sealers[subject] = None
        return had
