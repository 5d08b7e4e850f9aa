"""Looks at an installation from the outside in: each finding says what is there and, if it is wrong, the fix."""

import hashlib
import os
import shutil
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

from pydantic import SecretStr

from adapters.postgres.embedded import running_conninfo
from adapters.postgres.embedded.postmaster import Postmaster
from adapters.postgres.guards import OLDEST_VERSION
from adapters.postgres.inspecting import DatabaseFacts, inspect
from adapters.security.master_key import FILE_NAME as MASTER_KEY
from adapters.security.master_key import master_key
from domain.errors import ToyboxError, Unavailable
from projections.projector import parked_keys
from streams.reacting import REACTIONS
from toybox.doctor_health import examine_circuits
from toybox.doctor_kafka import examine_broker, examine_relay
from toybox.doctor_prices import examine_prices
from toybox.doctor_webhooks import examine_webhooks
from toybox.findings import Finding, Level
from toybox.owner_key import ANOTHER, OwnerKeyFile
from toybox.serving.address import is_served, live_server
from toybox.settings import PROVIDER_KEYS, Settings, environment
from toybox.system import System, running
from toybox.version import VERSION

GIBIBYTE = 1024**3
LOW_SPACE = GIBIBYTE
FAR_BEHIND = 1000
"""Events that a follower may lag before somebody should look."""


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Every finding, as soon as it is known."""
    yield Finding("version", "ok", f"toybox {VERSION}")
    for each in _files(settings):
        yield each
    yield _server(settings)
    yield _providers()
    async for each in examine_broker(settings):
        yield each
    if settings.database_url is None and not (settings.data_dir / "postgres" / "PG_VERSION").exists():
        yield Finding("database", "note", "none yet: the first toybox up, or toybox run, makes it")
        return
    try:
        async for each in _database(settings):
            yield each
    except ToyboxError as error:
        yield Finding("database", "problem", str(error), "mend that, then run toybox doctor again")


# --- the data directory ---


def _files(settings: Settings) -> Iterator[Finding]:
    data_dir = settings.data_dir
    if not data_dir.is_dir():
        yield Finding("data directory", "note", f"{data_dir} does not exist yet: the first toybox up makes it")
        yield _space(next(each for each in data_dir.parents if each.is_dir()))
        return
    yield _directory(data_dir)
    yield _space(data_dir)
    yield _master_key(settings)
    yield _owner_key(data_dir)


def _directory(data_dir: Path) -> Finding:
    status = data_dir.stat()
    mode, us = stat.S_IMODE(status.st_mode), os.geteuid()
    said = f"{data_dir} (mode {mode:04o})"
    if status.st_uid != us:
        fix = f"run toybox as that user, or give it away: chown -R {us} '{data_dir}'"
        return Finding("data directory", "problem", f"{said} belongs to user id {status.st_uid}, not {us}", fix)
    if mode & 0o066:
        return Finding("data directory", "warning", f"{said} can be listed by others", f"chmod go-rw '{data_dir}'")
    return Finding("data directory", "ok", said)


def _space(folder: Path) -> Finding:
    usage = shutil.disk_usage(folder)
    said = f"{usage.free / GIBIBYTE:.1f} of {usage.total / GIBIBYTE:.1f} GiB free"
    if usage.free < LOW_SPACE:
        return Finding("disk", "warning", said, "make room: a full disk stops the log and assets, and loses nothing")
    return Finding("disk", "ok", said)


def _master_key(settings: Settings) -> Finding:
    data_dir = settings.data_dir
    if settings.master_key is None and not (data_dir / MASTER_KEY).exists():
        level: Level = "problem" if (data_dir / "postgres").exists() else "note"
        fix = "put it back from its backup: without it nothing that was sealed can be read"
        return Finding("master key", level, f"{data_dir / MASTER_KEY} is missing", fix if level == "problem" else None)
    try:
        key = master_key(data_dir, settings.master_key)
    except ToyboxError as error:
        return Finding("master key", "problem", str(error))
    fingerprint = hashlib.sha256(b"toybox-master-key-fingerprint" + key).hexdigest()[:16]
    return Finding("master key", "ok", f"fingerprint {fingerprint}; keep a copy away from the database's backups")


def _owner_key(data_dir: Path) -> Finding:
    file = OwnerKeyFile.of(data_dir)
    try:
        if file.read() is None:
            return Finding("owner key", "warning", f"{file.path} is missing", ANOTHER)
    except ToyboxError as error:
        return Finding("owner key", "problem", str(error))
    mode = stat.S_IMODE(file.path.stat().st_mode)
    if mode & 0o077:
        said = f"{file.path} can be read by others (mode {mode:04o})"
        return Finding("owner key", "problem", said, f"chmod 600 '{file.path}', then revoke it and {ANOTHER}")
    return Finding("owner key", "ok", str(file.path))


# --- the server and its providers ---


def _server(settings: Settings) -> Finding:
    if found := live_server(settings.address_dir):
        return Finding("server", "ok", f"{found.url}, process {found.pid}, {', '.join(found.roles)}")
    if is_served(settings.address_dir):
        return Finding("server", "note", "one is starting or stopping")
    where = f"{settings.host} port {settings.port}"
    if settings.port and not _is_free(settings.host, settings.port):
        fix = "choose another one: toybox up --port 0, or TOYBOX_PORT"
        return Finding("server", "warning", f"none runs, and {where} is in use by another program", fix)
    return Finding("server", "note", f"none runs; toybox up will listen on {where}")


def _is_free(host: str, port: int) -> bool:
    try:
        with closing(socket.create_connection((host, port), timeout=1)):
            return False
    except OSError:
        return True


def _providers() -> Finding:
    known = environment()
    present = [f"{provider} ({name})" for provider, name in PROVIDER_KEYS.items() if known.get(name)]
    absent = [name for name in PROVIDER_KEYS.values() if not known.get(name)]
    said = f"scripted{''.join(f', {each}' for each in present)}"
    return Finding("providers", "ok", f"{said}; without a key: {', '.join(absent)}" if absent else said)


# --- the database ---


async def _database(settings: Settings) -> AsyncIterator[Finding]:
    if settings.database_url is not None:
        conninfo, kind, ours = settings.database_url.get_secret_value(), "external", None
    elif (joined := running_conninfo(settings.data_dir)) and is_served(settings.address_dir):
        conninfo, kind, ours = joined, "embedded", None
    else:
        ours = Postmaster(settings.data_dir, {})
        conninfo, kind = ours.start(), "embedded, started for this look"
    try:
        facts = await inspect(conninfo)
        for each in _about(facts, kind):
            yield each
        if facts.missing or facts.unknown or facts.major < OLDEST_VERSION:
            return
        same = settings.model_copy(update={"database_url": SecretStr(conninfo), "allow_data_loss": True})
        async with running(same, roles=()) as system:
            for each in await _followers(system):
                yield each
            async for each in examine_prices(system):
                yield each
            for each in await examine_webhooks(system):
                yield each
            async for each in examine_relay(settings, system.store, system.conninfo):
                yield each
    finally:
        if ours is not None:
            ours.stop()


def _about(facts: DatabaseFacts, kind: str) -> Iterator[Finding]:
    said = f"PostgreSQL {facts.server_version}, {kind}, {facts.size_bytes / 1024**2:.0f} MiB"
    if facts.major < OLDEST_VERSION:
        yield Finding("database", "problem", said, f"upgrade it to PostgreSQL {OLDEST_VERSION} or newer")
    else:
        yield Finding("database", "ok", said)
    off = [name for name in ("fsync", "synchronous_commit", "full_page_writes") if facts.settings.get(name) == "off"]
    if off:
        fix = "; ".join(f"ALTER SYSTEM SET {name} = on" for name in off) + "; SELECT pg_reload_conf()"
        yield Finding("durability", "problem", f"{', '.join(off)} off: a crash may lose what was answered", fix)
    else:
        sums = facts.settings.get("data_checksums", "off")
        yield Finding("durability", "ok", f"fsync, synchronous_commit and full_page_writes on, checksums {sums}")
    if not (facts.local or facts.encrypted):
        yield Finding("transport", "warning", "the database is reached unencrypted", "add sslmode=verify-full")
    if facts.unknown:
        fix = "upgrade this program: the database was migrated by a newer toybox"
        yield Finding("migrations", "problem", f"unknown: {', '.join(facts.unknown)}", fix)
    elif facts.missing:
        yield Finding("migrations", "note", f"{len(facts.missing)} to come with the next start: {facts.missing[0]} …")
    else:
        yield Finding("migrations", "ok", f"{len(facts.applied)} applied, the last is {max(facts.applied)}")


async def _followers(system: System) -> list[Finding]:
    head = await system.store.head()
    found = [Finding("log", "ok", f"head at position {head}")]
    standings = await system.follower.standings()
    behind = [f"{each.projection} by {each.lag}" for each in standings if each.lag > FAR_BEHIND]
    furthest = max((each.lag for each in standings), default=0)
    if behind:
        fix = "is a server with the role projector running? toybox up"
        found.append(Finding("read models", "warning", f"far behind: {', '.join(behind)}", fix))
    else:
        found.append(Finding("read models", "ok", f"{len(standings)}, the last one {furthest} events behind the head"))
    found.append(await _parked(system))
    found.append(await _provider_keys(system))
    found.append(await examine_circuits(system))
    known = await system.cursors.load(REACTIONS)
    found.append(Finding("reactions", "ok", f"{len(known)} of {len(REACTIONS)} have begun"))
    return found


async def _provider_keys(system: System) -> Finding:
    rows = {each.secret_id: each.key_id for each in await system.provider_secrets.kept()}
    secrets = await system.provider_secrets.reveal(rows)
    shut = {rows[each]: problem for each, problem in secrets.items() if isinstance(problem, str)}
    if shut:
        said = f"{len(shut)} of {len(set(rows.values()))} stored keys cannot be opened ({', '.join(map(str, shut))})"
        return Finding("provider keys", "problem", said, next(iter(shut.values())))
    return Finding("provider keys", "ok", f"{len(set(rows.values()))} stored, each can be opened")


async def _parked(system: System) -> Finding:
    async with system.pool.connection() as connection:
        keys = list(await parked_keys(connection))
    events = await system.cursors.parked()
    if keys or events:
        said = f"{len(keys)} keys of read models, {len(events)} events of reactions"
        return Finding("parked", "problem", said, "toybox parked says why; mend that, then toybox parked retry")
    return Finding("parked", "ok", "nothing")


def unreachable(error: Unavailable) -> Finding:
    """A server that was named by TOYBOX_URL and does not answer."""
    return Finding("server", "problem", str(error))
