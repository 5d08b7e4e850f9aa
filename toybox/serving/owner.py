"""The owner's access key: issued once per database at its first start, and anew by whoever has the master key."""

import asyncio
import fcntl
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from pydantic import SecretStr

from adapters.postgres.embedded import running_conninfo
from commands.handling import Caller, Principal
from commands.identity.access_keys import IssueAccessKey
from domain.errors import Refused, Unavailable
from domain.identity.tokens import KnownToken, parse_token
from toybox.owner_key import OwnerKeyFile
from toybox.serving.address import is_served
from toybox.settings import Settings
from toybox.system import System, running

LABEL = "owner"
FIRST_KEY = "first-owner-key"
"""Idempotency key of the first start: each database issues this key once, whichever process starts first."""
_ALL = frozenset({"*"})

KeyState = Literal["issued", "present", "missing"]


async def ensure_owner_key(system: System) -> KeyState:
    """Issue the owner's key, unless this database has issued it before: then the file is here or was lost."""
    file = OwnerKeyFile.of(system.settings.data_dir)
    async with _alone(system.settings.data_dir):
        if file.path.exists():
            return "present"
        token = file.prepare()
        known = _parsed(token)
        repeated = await _issue(system, known, FIRST_KEY)
        if repeated and not await system.store.read_stream(known.key_id):
            file.forget()  # the first key belongs to another data directory, or its file was deleted
            return "missing"
        file.keep()
        return "issued"


@asynccontextmanager
async def _alone(data_dir: Path) -> AsyncGenerator[None]:
    """Processes that share a data directory and start together make one key between them."""
    descriptor = os.open(data_dir, os.O_RDONLY)
    try:
        await asyncio.to_thread(fcntl.flock, descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


async def make_another(settings: Settings) -> Path:
    """A new owner's key straight into the database, for whoever has the master key and lost the other one."""
    file = OwnerKeyFile.of(settings.data_dir)
    async with running(reaching_the_same_database(settings), roles=()) as system:
        file.forget()
        known = _parsed(file.prepare())
        await _issue(system, known, f"another-owner-key-{known.key_hash}")
        file.keep()
    return file.path


def reaching_the_same_database(settings: Settings) -> Settings:
    """Settings that join the embedded database of a running server, where there is one; else the same."""
    if settings.database_url is not None or not is_served(settings.address_dir):
        return settings
    conninfo = running_conninfo(settings.data_dir)
    if conninfo is None:
        raise Unavailable("the server's database is not ready yet: try again in a moment", code="starting")
    return settings.model_copy(update={"database_url": SecretStr(conninfo)})


async def _issue(system: System, token: KnownToken, key: str) -> bool:
    caller = Caller(Principal("toybox", _ALL), "cli", key)
    command = IssueAccessKey(key_hash=token.key_hash, prefix=token.prefix, label=LABEL, permissions=("*",))
    return (await system.commands.send(command, caller)).repeated


def _parsed(token: str) -> KnownToken:
    known = parse_token(token)
    if known is None:
        raise Refused("the owner's key could not be made: the random source is broken", code="owner_key_malformed")
    return known
