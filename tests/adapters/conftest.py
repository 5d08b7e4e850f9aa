"""Fixtures of the object store: a folder, keys for two subjects, content at once or as a stream."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from adapters.objects.local import LocalObjects
from adapters.security.sealing import MemoryKeyring
from tests.adapters.contents import ADA, BOB, in_pieces


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "objects"


@pytest.fixture
async def keyring() -> MemoryKeyring:
    made = MemoryKeyring()
    for subject in (ADA, BOB):
        await made.sealer(subject, create=True)
    return made


@pytest.fixture(params=["at once", "as a stream"])
def given_as(request: pytest.FixtureRequest) -> Callable[[bytes], bytes | AsyncIterator[bytes]]:
    return in_pieces if request.param == "as a stream" else bytes


@pytest.fixture
def store(folder: Path, keyring: MemoryKeyring) -> LocalObjects:
    return LocalObjects(folder, keyring)
