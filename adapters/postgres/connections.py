"""Connections to PostgreSQL as toybox needs them: UTC, bounded stalls, dead peers noticed."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from domain.errors import Unavailable

IDLE_IN_TRANSACTION_MS = 2000
"""A stalled holder of the log's lock is cut off after this long."""
TRUSTED_SECONDS = 0.2
"""A connection that was given back so short a time ago is lent without asking the server whether it is still there."""
KEEPALIVES: dict[str, Any] = {
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "connect_timeout": 5,
}
_OPTIONS = "-c timezone=UTC -c jit=off"
"""No statement here runs as long as it takes to compile one."""


def _options(conninfo: str, more: str = "") -> str:
    """Ours behind those that the address names, such as a search path."""
    return " ".join(filter(None, (str(conninfo_to_dict(conninfo).get("options") or ""), _OPTIONS, more)))


async def connect(conninfo: str, *, application: str) -> psycopg.AsyncConnection[Any]:
    """One connection in autocommit; whoever wants a transaction says so."""
    options = _options(conninfo, f"-c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_MS}")
    return await psycopg.AsyncConnection.connect(
        conninfo, autocommit=True, application_name=application, options=options, **KEEPALIVES
    )


class Pool(AsyncConnectionPool[Any]):
    """A pool whose callers can be cancelled at any moment, and whose busy connections are not questioned again.

    Python 3.11 loses the cancellation of a task that is granted a connection in the same moment (`asyncio.wait_for`):
    a follower that is told to stop would then go on for ever.
    """

    def __init__(self, conninfo: str, **more: Any) -> None:
        super().__init__(conninfo, check=self._check_rested, **more)
        self._given_back: WeakKeyDictionary[psycopg.AsyncConnection[Any], float] = WeakKeyDictionary()
        self._one_broke_at = 0.0

    async def _check_rested(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Ask only whoever was silent for a while: the question costs as much as most that come behind it.

        Where one broke, the server may have ended them all: none that was given back before is trusted any more.
        """
        well_at = self._given_back.get(connection, 0.0)
        if well_at <= self._one_broke_at or time.monotonic() - well_at > TRUSTED_SECONDS:
            await self.check_connection(connection)

    async def putconn(self, conn: psycopg.AsyncConnection[Any]) -> None:
        """Remember when it was well, or that it no longer is."""
        if conn.closed:
            self._one_broke_at = time.monotonic()
        else:
            self._given_back[conn] = time.monotonic()
        await super().putconn(conn)

    async def getconn(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 -- the library's signature
    ) -> psycopg.AsyncConnection[Any]:
        """A connection, or the cancellation that came while it was waited for."""
        task = asyncio.current_task()
        before = task.cancelling() if task else 0
        connection = await super().getconn(timeout)
        if task and task.cancelling() > before:
            await self.putconn(connection)
            raise asyncio.CancelledError
        return connection


def pool(conninfo: str, *, size: int = 8, application: str = "toybox") -> Pool:
    """A pool for reads and read models; open it before use. Checks a connection before lending it."""
    return Pool(
        conninfo,
        min_size=1,
        max_size=size,
        open=False,
        timeout=10,
        kwargs={"autocommit": True, "application_name": application, "options": _options(conninfo), **KEEPALIVES},
    )


@contextmanager
def unavailable_when_away() -> Iterator[None]:
    """A server or connection that is gone reads as Unavailable: whoever follows the log tries again."""
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise Unavailable(f"the database is away: {reason}", code="database_away") from error
