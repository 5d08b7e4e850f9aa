"""One server to look at, and prepared directories for servers of the test's own."""

import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from adapters.postgres.embedded import EmbeddedPostgres
from adapters.postgres.embedded.postmaster import Postmaster
from tests.adapters.embedded.driving import Standing


@pytest.fixture(scope="module")
def standing(postgres_folder: Path) -> Iterator[Standing]:
    data_dir = postgres_folder / "standing"
    server = Postmaster(data_dir, {})
    conninfo = server.start()
    assert server.pid
    try:
        yield Standing(data_dir, server.pid, conninfo)
    finally:
        server.stop()


@pytest.fixture(scope="module")
def prepared(postgres_folder: Path) -> Path:
    data_dir = postgres_folder / "prepared"
    server = Postmaster(data_dir, {})
    server.prepare()
    server.stop()
    return data_dir


@pytest.fixture
def data_dir(data_home: Path, prepared: Path) -> Path:
    """A data directory whose cluster is already there: `initdb` takes longer than most tests."""
    data_dir = data_home / "data"
    subprocess.run(["cp", "-a", prepared, data_dir], check=True)
    return data_dir


@pytest.fixture
async def server(data_dir: Path) -> AsyncIterator[EmbeddedPostgres]:
    async with EmbeddedPostgres(data_dir) as running:
        yield running
