"""What a database says of itself, for whoever looks after it; changes nothing, needs no migration."""

from dataclasses import dataclass

import psycopg
from psycopg.rows import tuple_row

from adapters.postgres.connections import KEEPALIVES
from adapters.postgres.migrate import migrations
from domain.errors import Unavailable

_SETTINGS = (
    "select name, setting from pg_settings"
    " where name in ('fsync', 'synchronous_commit', 'full_page_writes', 'data_checksums')"
)
_HAS = "select to_regclass(%s) is not null"


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """One database, as it is now."""

    server_version: str
    major: int
    settings: dict[str, str]
    encrypted: bool
    """Whether this connection uses TLS."""
    local: bool
    """Whether it never leaves the machine."""
    size_bytes: int
    applied: list[str]
    missing: list[str]
    """Migrations that the next start applies."""
    unknown: list[str]
    """Migrations of a newer toybox."""


async def inspect(conninfo: str) -> DatabaseFacts:
    """Look, and leave no trace. Unavailable when nothing answers."""
    try:
        async with (
            await psycopg.AsyncConnection.connect(conninfo, autocommit=True, **KEEPALIVES) as connection,
            connection.cursor(row_factory=tuple_row) as cursor,
        ):
            settings = dict(await (await cursor.execute(_SETTINGS)).fetchall())
            found = await (await cursor.execute("select pg_database_size(current_database())")).fetchone()
            has = await (await cursor.execute(_HAS, ["migrations"])).fetchone()
            rows = await (await cursor.execute("select name from migrations")).fetchall() if has and has[0] else []
            info = connection.info
            return _facts(info, settings, int(found[0]) if found else 0, [row[0] for row in rows])
    except psycopg.Error as error:
        reason = str(error).strip().partition("\n")[0]
        raise Unavailable(f"the database does not answer ({reason})", code="database_away") from error


def _facts(info: psycopg.ConnectionInfo, settings: dict[str, str], size: int, applied: list[str]) -> DatabaseFacts:
    version, known = info.server_version, [name for name, _ in migrations()]
    return DatabaseFacts(
        server_version=f"{version // 10_000}.{version % 10_000}",
        major=version // 10_000,
        settings=settings,
        encrypted=bool(info.pgconn.ssl_in_use),
        local=info.host.startswith("/") or info.host in ("localhost", "127.0.0.1", "::1"),
        size_bytes=size,
        applied=applied,
        missing=[name for name in known if name not in applied],
        unknown=sorted(set(applied) - set(known)),
    )
