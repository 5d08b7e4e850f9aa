"""How sealed content lies in a file: a header with its digest and size, then chunks that ranges can pick from.

    mark          8 bytes   the product and the version of this format
    file id      16 bytes   random; every piece is sealed together with it, so none fits into another file
    sealed header           digest and size of the plaintext
    sealed chunks           64 KiB of plaintext each, the last one shorter; empty content has one empty chunk

A chunk is sealed together with its number and whether it is the last: nothing can be cut off, moved or repeated.
"""

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO, Self

from adapters.security.sealing import SEAL_OVERHEAD, AesSealer

CHUNK = 64 * 1024
MARK = b"toybox\x00\x01"
_ID_BYTES = 16
_CONTENT = struct.Struct(">32sQ")
HEADER = len(MARK) + _ID_BYTES + SEAL_OVERHEAD + _CONTENT.size
"""Bytes before the first chunk."""


class Damaged(Exception):
    """A file is not what was written."""


def chunks_of(size: int) -> int:
    """How many chunks content of this size has."""
    return max(1, -(-size // CHUNK))


def sealed_size(size: int) -> int:
    """How many bytes a file takes whose content has this size."""
    return HEADER + size + chunks_of(size) * SEAL_OVERHEAD


def _header_bound_to(file_id: bytes) -> bytes:
    return b"header" + file_id


def _chunk_bound_to(file_id: bytes, index: int, *, last: bool) -> bytes:
    return b"chunk" + file_id + struct.pack(">Q?", index, last)


class Writer:
    """Writes chunks as they come; the header last, when digest and size are known."""

    def __init__(self, file: BinaryIO, sealer: AesSealer) -> None:
        self._file, self._sealer = file, sealer
        self._id = os.urandom(_ID_BYTES)
        self._index = 0
        file.write(bytes(HEADER))

    def chunk(self, data: bytes, *, last: bool) -> None:
        """The next chunk: of full length unless it is the last."""
        bound_to = _chunk_bound_to(self._id, self._index, last=last)
        self._file.write(self._sealer.seal_bytes(data, bound_to))
        self._index += 1

    def header(self, digest: bytes, size: int) -> None:
        """Say what the content is."""
        self._file.seek(0)
        sealed = self._sealer.seal_bytes(_CONTENT.pack(digest, size), _header_bound_to(self._id))
        self._file.write(MARK + self._id + sealed)


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself, proven by its seal."""

    file_id: bytes
    digest: str
    size: int

    @classmethod
    def read(cls, file: BinaryIO, sealer: AesSealer) -> Self:
        """The header; Damaged or Refused when it is none of ours."""
        raw = file.read(HEADER)
        if len(raw) < HEADER or not raw.startswith(MARK):
            raise Damaged("it does not begin as sealed content does")
        file_id = raw[len(MARK) : len(MARK) + _ID_BYTES]
        content = sealer.unseal_bytes(raw[len(MARK) + _ID_BYTES :], _header_bound_to(file_id))
        digest, size = _CONTENT.unpack(content)
        length = os.fstat(file.fileno()).st_size
        if length != sealed_size(size):
            raise Damaged(f"it has {length} bytes instead of {sealed_size(size)}")
        return cls(file_id, digest.hex(), size)

    def chunks(self, file: BinaryIO, sealer: AesSealer, first: int, count: int) -> bytes:
        """The plaintext of some chunks in a row, fewer at the end."""
        file.seek(HEADER + first * (CHUNK + SEAL_OVERHEAD))
        plain: list[bytes] = []
        for index in range(first, min(first + count, chunks_of(self.size))):
            last = index == chunks_of(self.size) - 1
            sealed = file.read(CHUNK + SEAL_OVERHEAD)
            plain.append(sealer.unseal_bytes(sealed, _chunk_bound_to(self.file_id, index, last=last)))
        return b"".join(plain)
