"""Applies the numbered SQL files once, in order, under a lock; forward only."""

from importlib.resources import files

import psycopg

from domain.errors import Unavailable

_LOCK = 7_310_550_419_876
"""Advisory lock key of migrations: any constant that nothing else uses."""


def migrations() -> list[tuple[str, str]]:
    """Name and text of every migration, in order."""
    folder = files("adapters.postgres") / "migrations"
    found = sorted((each for each in folder.iterdir() if each.name.endswith(".sql")), key=lambda each: each.name)
    return [(each.name, each.read_text(encoding="utf-8")) for each in found]


async def migrate(conninfo: str) -> list[str]:
    """Bring the database up to this release and answer the names that were applied now.

    Unavailable when the database was already migrated by a newer release.
    """
    async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
        await connection.execute("select pg_advisory_lock(%s)", [_LOCK])
        await connection.execute(
            "create table if not exists migrations ("
            "name text primary key, applied_at timestamptz not null default clock_timestamp())"
        )
        rows = await (await connection.execute("select name from migrations")).fetchall()
        done = {row[0] for row in rows}
        known = migrations()
        if unknown := done - {name for name, _ in known}:
            msg = f"the database was migrated by a newer toybox ({', '.join(sorted(unknown))}); upgrade this program"
            raise Unavailable(msg, code="newer_database")
        applied: list[str] = []
        for name, text in known:
            if name in done:
                continue
            async with connection.transaction():
                await connection.execute(text.encode())  # bytes: the file is ours, and only literals pass as text
                await connection.execute("insert into migrations (name) values (%s)", [name])
            applied.append(name)
        return applied
