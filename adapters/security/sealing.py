"""AES-256-GCM under a subject's key, and a keyring that lives in memory for stories and tests."""

import base64
import hashlib
import hmac
import os
from collections.abc import Sequence
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from domain.errors import NotFound, Refused

KEY_BYTES = 32
NONCE_BYTES = 12
SEAL_OVERHEAD = NONCE_BYTES + 16
"""Bytes by which sealed content is longer than its plaintext: nonce and tag."""
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
        self._bytes_mark = b"toybox-bytes-v1" + subject.bytes  # never mistaken for a text's associated data
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

    def seal_bytes(self, data: bytes, associated: bytes) -> bytes:
        """Nonce and ciphertext of content that is worth nothing without the same `associated` bytes."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, data, self._bytes_mark + associated)

    def unseal_bytes(self, sealed: bytes, associated: bytes) -> bytes:
        """The content again; Refused when it, or what it is associated with, was altered."""
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], self._bytes_mark + associated)
        except (InvalidTag, ValueError) as error:  # ValueError: cut off within the nonce or the tag
            raise Refused("sealed content does not fit its key, or was altered", code="seal_broken") from error

    def fingerprint(self, data: bytes) -> bytes:
        """HMAC-SHA256, worthless without the key."""
        return hmac.digest(self._fingerprint_key, data, hashlib.sha256)


def key_destroyed() -> Refused:
    """Nothing can be written, or read, under a key that is gone."""
    return Refused(
        "the key of this project or person was destroyed: nothing more can be written under it", code="key_destroyed"
    )


def no_key(subject: UUID) -> NotFound:
    """Whatever has text has had a key since it was created."""
    return NotFound(f"there is no project, job or definition {subject}")


def key_missing(subject: UUID) -> Refused:
    """Text was sealed under a key that this installation has never had."""
    return Refused(
        f"the key {subject} is missing: the key table and the log are not of one installation", code="seal_broken"
    )


class MemoryKeyring:
    """A keyring that forgets everything with the process."""

    def __init__(self) -> None:
        self._sealers: dict[UUID, AesSealer | None] = {}

    async def sealer(self, subject: UUID, *, create: bool) -> AesSealer:
        """The subject's sealer, made on first use by whoever may."""
        if subject not in self._sealers:
            if not create:
                raise no_key(subject)
            self._sealers[subject] = AesSealer(subject, os.urandom(KEY_BYTES))
        found = self._sealers[subject]
        if found is None:
            raise key_destroyed()
        return found

    async def unseal(self, texts: Sequence[str]) -> Sequence[str | None]:
        """Plain texts, None where the key is gone."""
        plain: list[str | None] = []
        for text in texts:
            subject = subject_of(text)
            if subject not in self._sealers:
                raise key_missing(subject)
            sealer = self._sealers[subject]
            plain.append(sealer.unseal(text) if sealer else None)
        return plain

    async def destroy(self, subject: UUID) -> bool:
        """Forget the key and remember that it is gone."""
        had = self._sealers.get(subject) is not None
        self._sealers[subject] = None
        return had
