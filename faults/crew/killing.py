"""Kill -9 of a database: all of it at once, its first process only, or the one session that appends."""

import os
import signal
from contextlib import suppress
from typing import Literal

import psutil
import psycopg

from adapters.postgres.embedded import EmbeddedPostgres

DatabaseDeath = Literal["everything", "postmaster", "session"]
DEATHS: tuple[DatabaseDeath, ...] = ("everything", "session", "postmaster")


async def kill_database(server: EmbeddedPostgres, death: DatabaseDeath) -> None:
    """Kill, and come back when the server takes connections again."""
    assert server.pid, "the server was to be running"
    if death == "session":
        await _kill_an_appending_session(server.conninfo)
    else:
        postmaster = psutil.Process(server.pid)
        doomed = [postmaster, *(postmaster.children(recursive=True) if death == "everything" else [])]
        for process in doomed:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        postmaster.wait(10)
    await server.ensure_running()


async def _kill_an_appending_session(conninfo: str) -> None:
    """The server then ends all other sessions, too, for one may have left shared memory in disorder."""
    async with await psycopg.AsyncConnection.connect(conninfo) as connection:
        asked = await connection.execute(
            "select pid from pg_stat_activity where application_name = 'toybox sequencer'"
            " order by state = 'active' desc limit 1"
        )
        row = await asked.fetchone()
    if row:
        with suppress(ProcessLookupError):
            os.kill(int(row[0]), signal.SIGKILL)
