"""Content for the object store, whose it is, and the files that it lies in."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from pathlib import Path

from domain.values import derived_id

ADA, BOB, NOBODY = (derived_id("test-subject", name) for name in ("ada", "bob", "nobody"))


def content(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def in_pieces(data: bytes, length: int = 10_000) -> AsyncIterator[bytes]:
    for at in range(0, len(data), length):
        await asyncio.sleep(0)
        yield data[at : at + length]


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
