"""Real PostgreSQL for the tests: one server for the session, a fresh database for each test."""

import asyncio
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from adapters.postgres.embedded.postmaster import Postmaster

FIXTURES = frozenset({"postgres_server", "postgres_folder", "database", "empty_database", "data_home"})


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "postgres: needs a real PostgreSQL; set by the fixtures a test uses")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and FIXTURES & set(item.fixturenames):
            item.add_marker("postgres")


@contextmanager
def server_folder() -> Iterator[Path]:
    """A folder that also the unprivileged account may enter which the server runs as when the tests run as root."""
    folder = Path(tempfile.mkdtemp(prefix="toybox-tests-")).resolve()
    if os.geteuid() == 0:
        folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def data_home() -> Iterator[Path]:
    """A place for a data directory with an embedded server of its own."""
    with server_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def postgres_folder() -> Iterator[Path]:
    """The same, for servers that several tests of a module share."""
    with server_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The server that TOYBOX_TEST_POSTGRES names, else an embedded one."""
    if named := os.environ.get("TOYBOX_TEST_POSTGRES"):
        try:
            psycopg.connect(named).close()
        except psycopg.Error as error:
            raise RuntimeError(
                f"TOYBOX_TEST_POSTGRES names a server that does not answer ({error}): "
                f"start it, correct the address, or unset the variable to use the embedded server."
            ) from error
        yield named
        return
    with server_folder() as folder:
        server = Postmaster(folder / "data", {})
        conninfo = server.start()  # in the main thread: the server ends with the thread that starts it
        try:
            yield conninfo
        finally:
            server.stop()


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> Iterator[str]:
    """The name of a database with all migrations applied, from which every test gets its copy."""
    from adapters.postgres.migrate import migrate

    with fresh_database(postgres_server) as conninfo:
        # in a thread of its own, because a loop may be running in this one
        with ThreadPoolExecutor(1) as executor:
            executor.submit(lambda: asyncio.run(migrate(conninfo))).result()
        yield str(conninfo_to_dict(conninfo)["dbname"])


@pytest.fixture
def database(postgres_server: str, postgres_template: str) -> Iterator[str]:
    """The address of a database with all migrations applied, this test's own."""
    with fresh_database(postgres_server, template=postgres_template) as conninfo:
        yield conninfo


@pytest.fixture
def empty_database(postgres_server: str) -> Iterator[str]:
    """The address of a database with nothing in it, this test's own."""
    with fresh_database(postgres_server) as conninfo:
        yield conninfo


@contextmanager
def fresh_database(server: str, template: str = "template1") -> Iterator[str]:
    name = f"toybox_test_{secrets.token_hex(6)}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
    _execute(server, create.format(sql.Identifier(name), sql.Identifier(template)))
    try:
        yield make_conninfo(server, dbname=name)
    finally:
        _execute(server, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _execute(server: str, statement: sql.Composed) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(statement)
