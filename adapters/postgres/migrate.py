"""Applies the numbered SQL files once, in order, under a lock; forward only."""

import hashlib
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
            "name text primary key, digest text not null, applied_at timestamptz not null default clock_timestamp())"
        )
        done = dict(await (await connection.execute("select name, digest from migrations")).fetchall())
        known = migrations()
        if unknown := done.keys() - {name for name, _ in known}:
            msg = f"the database was migrated by a newer toybox ({', '.join(sorted(unknown))}); upgrade this program"
            raise Unavailable(msg, code="newer_database")
        digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in known}
        if changed := [name for name, digest in done.items() if digest != digests[name]]:
            msg = (
                f"the database was made by a toybox whose {', '.join(sorted(changed))} was another one: "
                "run that toybox, or start with an empty database or data directory"
            )
            raise Unavailable(msg, code="changed_migration")
        applied: list[str] = []
        for name, text in known:
            if name in done:
                continue
            async with connection.transaction():
                await connection.execute(text.encode())  # bytes: the file is ours, and only literals pass as text
                await connection.execute("insert into migrations (name, digest) values (%s, %s)", [name, digests[name]])
            applied.append(name)
        return applied
