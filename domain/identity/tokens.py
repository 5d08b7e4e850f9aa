"""Tokens of access keys: how they are spelled, and how a mistyped one is told without looking it up."""

import hashlib
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from domain.values import derived_id

SECRET_BYTES = 32
_MARK = "tbx_"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_LENGTH = 43
"""Digits that 32 bytes take in base 62."""
_CHECK_LENGTH = 6
"""Digits that a CRC-32 takes in base 62."""
_PREFIX_LENGTH = len(_MARK) + 6
_SHAPE = re.compile(rf"{_MARK}[0-9A-Za-z]{{{_SECRET_LENGTH + _CHECK_LENGTH}}}")


@dataclass(frozen=True, slots=True)
class KnownToken:
    """What may be kept of a token: its hash and its beginning."""

    key_hash: str
    prefix: str

    @property
    def key_id(self) -> UUID:
        """The access key that it belongs to."""
        return access_key_id(self.key_hash)


def access_key_id(key_hash: str) -> UUID:
    """The access key with this hash: no look-up is needed to find it."""
    return derived_id("access-key", key_hash)


def new_token(random: Callable[[int], bytes]) -> str:
    """A token that nobody can guess: shown once, never stored. `random` is the operating system's."""
    body = _MARK + _base62(int.from_bytes(random(SECRET_BYTES)), _SECRET_LENGTH)
    return body + _checksum(body)


def parse_token(text: str) -> KnownToken | None:
    """What is kept of a token; None when it is mistyped or cut off, which its checksum tells."""
    if not _SHAPE.fullmatch(text) or _checksum(text[:-_CHECK_LENGTH]) != text[-_CHECK_LENGTH:]:
        return None
    return KnownToken(hashlib.sha256(text.encode()).hexdigest(), text[:_PREFIX_LENGTH])


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECK_LENGTH)


def _base62(number: int, length: int) -> str:
    digits: list[str] = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
