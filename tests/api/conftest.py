"""The application, in memory and on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.support.client import Api, api_in_memory, api_on_postgres, build_read_models
from tests.support.postgres import fresh_database
from tests.support.story import Story, telling


@pytest.fixture(scope="session")
def postgres_with_read_models(postgres_server: str, postgres_template: str) -> Iterator[str]:
    """The name of a database whose read models are built, empty, from which every test gets its copy."""
    with fresh_database(postgres_server, template=postgres_template) as conninfo:
        with ThreadPoolExecutor(1) as executor:  # a loop may be running in this thread
            executor.submit(lambda: asyncio.run(build_read_models(conninfo))).result()
        yield str(conninfo_to_dict(conninfo)["dbname"])


@pytest.fixture
async def story() -> AsyncIterator[Story]:
    """A fresh log with its sequencer running."""
    async with telling() as told:
        yield told


@pytest.fixture
async def api(story: Story, tmp_path: Path) -> AsyncIterator[Api]:
    """The application over a log in memory: everything but queries to read models."""
    async with api_in_memory(story, tmp_path) as made:
        yield made


@pytest.fixture
async def whole_api(postgres_server: str, postgres_with_read_models: str, tmp_path: Path) -> AsyncIterator[Api]:
    """The application with a real database behind it."""
    with fresh_database(postgres_server, template=postgres_with_read_models) as conninfo:
        async with api_on_postgres(conninfo, tmp_path) as made:
            yield made
