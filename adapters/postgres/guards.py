"""Refuses a PostgreSQL that would lose what it has acknowledged, or that is too old for our SQL."""

from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import tuple_row

from domain.errors import Unavailable

OLDEST_VERSION = 15
WHY = {
    "fsync": "a power cut may lose or corrupt the log",
    "synchronous_commit": "a crash may lose commits that were already answered",
}
FIX = {
    "fsync": "ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf();",
    "synchronous_commit": "ALTER SYSTEM SET synchronous_commit = on; SELECT pg_reload_conf(); "
    "(and RESET it on the role and the database, should it be set there)",
}


async def check_durability(conn: AsyncConnection[Any], *, allow_data_loss: bool = False) -> None:
    """Looks at the settings as this session has them; leaves no transaction open."""
    if allow_data_loss:
        return
    major = conn.info.server_version // 10_000
    if major < OLDEST_VERSION:
        raise Unavailable(
            f"The server is PostgreSQL {major}; toybox needs {OLDEST_VERSION} or newer: upgrade it, or unset "
            f"TOYBOX_DATABASE_URL to use the embedded one.",
            code="server_refused",
        )
    async with conn.transaction(), conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(
            "SELECT name FROM pg_settings"
            " WHERE name IN ('fsync', 'synchronous_commit') AND setting = 'off' ORDER BY name"
        )
        off = [name for (name,) in await cursor.fetchall()]
    if off:
        raise Unavailable(
            "The server would lose data: "
            + "; ".join(f"{name} is off ({WHY[name]}), turn it on with {FIX[name]}" for name in off)
            + " Or say that losing data is fine (allow_data_loss).",
            code="server_refused",
            settings=off,
        )
