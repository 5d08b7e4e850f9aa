"""A pool on this test's own database, for read models that are fed from a log in memory."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool

from adapters.postgres.connections import pool


@pytest.fixture
async def connections(database: str) -> AsyncIterator[AsyncConnectionPool[Any]]:
    """Connections as the program lends them to projections."""
    async with pool(database, size=6) as lent:
        yield lent
