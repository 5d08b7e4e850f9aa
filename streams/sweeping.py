"""Follows provider keys: ends overlaps, notes first uses, erases every secret that the log does not call live."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from uuid import UUID

import structlog

from commands.handling import Caller, Commands, Principal
from commands.provider_keys import EndKeyOverlap, NoteKeyUse
from domain.errors import ToyboxError, Unavailable
from domain.keeping import KeptSecret, ProviderSecrets
from domain.kernel import evolve
from domain.log import LogReader, StoredEvent
from domain.provider_keys import ProviderKey

LOOK_SECONDS = 2.0
"""How late an overlap ends in the log, and how long a secret lies there that was revoked; it works no longer before."""
ORPHAN_SECONDS = 15 * 60.0
"""How long a secret may lie there that no event speaks of: three times what a command may take that would."""
PRINCIPAL = Principal("provider-keys", frozenset({"*"}))
log = structlog.get_logger("toybox.provider_keys")


class SecretSweeper:
    """Any number may run: commands have the same ids everywhere, and erasing twice erases once."""

    def __init__(
        self, secrets: ProviderSecrets, *, reader: LogReader, commands: Commands, now: Callable[[], datetime]
    ) -> None:
        self._secrets = secrets
        self._reader = reader
        self._commands = commands
        self._now = now
        self._used: set[tuple[UUID, UUID]] = set()
        self._noted = asyncio.Event()

    def note_use(self, key_id: UUID, secret_id: UUID) -> None:
        """A provider took this secret, perhaps for the first time; the log hears of it in a moment."""
        self._used.add((key_id, secret_id))
        self._noted.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.look()
            except Unavailable as away:
                log.warning("provider keys wait", reason=str(away))
                await asyncio.sleep(away.retry_after)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._noted.wait()

    async def look(self) -> None:
        """Do what is due now."""
        self._noted.clear()
        for used in list(self._used):
            await self._send(NoteKeyUse(key_id=used[0], secret_id=used[1]), "used")
            self._used.discard(used)
        # First the rows, then the log: a row is never younger than what the log is asked about.
        rows = await self._secrets.kept()
        of_key: defaultdict[UUID, list[KeptSecret]] = defaultdict(list)
        for row in rows:
            of_key[row.key_id].append(row)
        histories = await self._reader.read_streams(list(of_key)) if of_key else {}
        for key_id, kept in of_key.items():
            await self._look_at(histories[key_id], {each.secret_id for each in kept})

    async def _look_at(self, history: Sequence[StoredEvent], kept: set[UUID]) -> None:
        key: ProviderKey | None = None
        known: set[UUID] = set()
        for stored in history:
            key = evolve(key, stored)
            known.add(key.current.secret_id)
        wanted: set[UUID] = set()
        if key and key.status == "stored":
            wanted = {each.secret_id for each in (key.current, key.old) if each}
            if key.old and key.old_until and key.old_until <= self._now():
                await self._send(EndKeyOverlap(key_id=key.id, secret_id=key.old.secret_id), "overlap")
        if ended := kept & known - wanted:
            erased = await self._secrets.destroy(ended)
            log.info("secrets of provider keys were erased", count=erased)
        if orphans := kept - known:
            await self._secrets.destroy(orphans, unless_kept_within=ORPHAN_SECONDS)

    async def _send(self, command: EndKeyOverlap | NoteKeyUse, what: str) -> None:
        caller = Caller(PRINCIPAL, "deadline", f"{what}|{command.key_id}|{command.secret_id}")
        try:
            await self._commands.send(command, caller)
        except Unavailable:
            raise
        except ToyboxError as refusal:
            log.debug("not due", command=type(command).__name__, because=refusal.code)
