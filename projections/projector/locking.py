"""Who follows which projection, cluster-wide: session locks that save double work. Correctness does not need them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final

import psycopg

from domain.errors import Unavailable
from projections.projector.connecting import Connection, Connections

_KEY: Final = "hashtextextended('toybox ' || %s || ' ' || current_schema() || '.' || %s, 0)"
_TRY: Final = f"select pg_try_advisory_lock({_KEY})"
_TRY_SHARED: Final = f"select pg_try_advisory_lock_shared({_KEY})"
_FREE: Final = f"select pg_advisory_unlock({_KEY})"
_FREE_SHARED: Final = f"select pg_advisory_unlock_shared({_KEY})"
_FREE_ALL: Final = "select pg_advisory_unlock_all()"


class Leadership:
    """The projections that this process follows, all held by one connection: when that goes, so do they.

    Workers that follow partitions share a projection among them, but not with one that follows the log itself.
    """

    def __init__(self, connections: Connections, *, shared: bool = False) -> None:
        self._connections = connections
        self._try, self._free = (_TRY_SHARED, _FREE_SHARED) if shared else (_TRY, _FREE)
        self._lent = AsyncExitStack()
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()
        self._held: set[str] = set()

    def leads(self, projection: str) -> bool:
        """Whether this process held it when it was last looked at."""
        return projection in self._held

    async def take(self, projection: str) -> bool:
        """Whether this process may follow it now. False while another one does."""
        async with self._turn:
            connection = await self._alive()
            if projection in self._held:
                return True
            row = await (await connection.execute(self._try.encode(), ["follows", projection])).fetchone()
            if row and row[0]:
                self._held.add(projection)
            return projection in self._held

    async def give_up(self, projection: str) -> None:
        """Let another process follow it."""
        async with self._turn:
            if projection not in self._held:
                return
            self._held.discard(projection)
            if self._connection:
                with suppress(psycopg.Error):  # a lost connection holds no lock
                    await self._connection.execute(self._free.encode(), ["follows", projection])

    async def close(self) -> None:
        """Give all of them up."""
        async with self._turn:
            if self._connection:
                with suppress(psycopg.Error):
                    await self._connection.execute(_FREE_ALL)
            await self._drop()

    async def _alive(self) -> Connection:
        """The connection, a new one if it was lost: with it went everything that was held."""
        if self._connection:
            try:
                await self._connection.execute("select 1")
            except psycopg.Error:
                await self._drop()
        if self._connection is None:
            self._connection = await self._lent.enter_async_context(self._connections.connection())
        return self._connection

    async def _drop(self) -> None:
        self._connection = None
        self._held.clear()
        with suppress(psycopg.Error):
            await self._lent.aclose()


@asynccontextmanager
async def building(connections: Connections, projection: str) -> AsyncGenerator[Connection]:
    """A connection that alone may build this projection. Unavailable while another one does."""
    async with connections.connection() as connection:
        row = await (await connection.execute(_TRY, ["builds", projection])).fetchone()
        if not (row and row[0]):
            msg = f"projection {projection} is being built by another process; its progress is in `toybox doctor`"
            raise Unavailable(msg, code="rebuild_running")
        try:
            yield connection
        finally:
            if not connection.closed:
                with suppress(psycopg.Error):
                    await connection.execute(_FREE, ["builds", projection])
