"""The example that every recipe looks at: one project that ran to its end, in a database and on Kafka."""

import asyncio
import secrets
from collections.abc import Iterator

import pytest

from tests.recipes.example import Example, OnDatabase
from tests.streams.relaying import Stage, open_store, running, until
from tests.support.postgres import fresh_database, server_folder
from toybox.inventory import load

load()


@pytest.fixture(scope="session")
def postgres_example(postgres_server: str) -> Iterator[Example]:
    """A server with the project in its log, and an empty folder for what is exported."""
    with server_folder() as folder, fresh_database(postgres_server) as conninfo:
        program = OnDatabase(folder, conninfo)
        with program.up():
            program("run", "examples/release-notes", "--approve", "auto", "--json")
            work = folder / "work"
            work.mkdir()
            yield Example(program, work)


@pytest.fixture(scope="session")
def kafka_example(kafka_server: str, postgres_example: Example) -> Example:
    """The same, and all of it on Kafka under topics of its own."""
    prefix = f"test-{secrets.token_hex(6)}"
    asyncio.run(_relayed(postgres_example.program.conninfo, kafka_server, prefix))
    return Example(postgres_example.program, postgres_example.folder, kafka_server, prefix)


async def _relayed(conninfo: str, address: str, prefix: str) -> None:
    async with open_store(conninfo) as store:
        head = await store.head()
        relay = Stage(conninfo, store, address, prefix).relay()
        async with running(relay):
            await until(lambda: (relay.state.position or 0) >= head)
