"""Keys of subjects in Postgres, each wrapped by the master key; destroying one erases what it sealed."""

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import psycopg
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg_pool import AsyncConnectionPool

from adapters.security.sealing import (
    KEY_BYTES,
    NONCE_BYTES,
    AesSealer,
    key_destroyed,
    key_missing,
    no_key,
    subject_of,
)
from commands.gathering import Gathering
from domain.errors import Refused, Unavailable

RECHECK_SECONDS = 2.0
"""How long a key may be used without asking the database whether it still exists.

`destroy` answers only after this time: from then on no process can read what the key sealed.
"""
ATTEMPTS = 3
INSTALLATION = UUID(int=0)
"""The subject whose key no one destroys: unwrapping it at the start proves that the master key is the right one."""
_FORMAT = b"\x01"
_SELECT: Final = "select subject, wrapped from subject_keys where subject = any(%s)"
_INSERT: Final = "insert into subject_keys (subject, wrapped) values (%s, %s) on conflict (subject) do nothing"
_DESTROYED: Final = "select subject from subject_keys where destroyed_at is not null"
_BURY: Final = (
    "insert into subject_keys (subject, destroyed_at) values (%s, clock_timestamp()) on conflict (subject) do nothing"
)
_DESTROY: Final = (
    "update subject_keys set wrapped = null, destroyed_at = clock_timestamp()"
    " where subject = %s and wrapped is not null"
)


@contextmanager
def _unavailable_when_away() -> Iterator[None]:
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise Unavailable(f"the database is away, so no key can be looked up ({reason})") from error


@dataclass(frozen=True, slots=True)
class _Held:
    """A key as this process knows it; `sealer` is None once it was destroyed."""

    sealer: AesSealer | None
    asked_at: float


class PostgresKeyring:
    """Looks keys up in batches and keeps those in use, each for a moment only.

    A destroyed key's wrapped bytes stay in old backups and, until vacuum has passed, on disk: they are worth nothing
    without the master key, which belongs in another backup than the database.
    """

    def __init__(
        self,
        pool: AsyncConnectionPool[Any],
        master: bytes,
        *,
        recheck_seconds: float = RECHECK_SECONDS,
        cached: int = 10_000,
    ) -> None:
        self._pool = pool
        self._master = AESGCM(master)
        self._recheck_seconds = recheck_seconds
        self._cached = cached
        self._held: OrderedDict[UUID, _Held] = OrderedDict()
        self._look_up: Gathering[UUID, _Held | None] = Gathering(self._load)

    async def check_master_key(self) -> None:
        """Refused when this database was sealed under another master key. Call it before anything else."""
        await self.sealer(INSTALLATION, create=True)

    async def sealer(self, subject: UUID, *, create: bool) -> AesSealer:
        """The subject's sealer. Without a key one is made, or NotFound; Refused once the key was destroyed.

        Ask again for each piece of work instead of keeping it: only then does a destroyed key stop working in time.
        """
        held = self._fresh(subject) or await self._look_up(subject)
        if held is None:
            if not create:
                raise no_key(subject)
            held = await self._create(subject)
        if held.sealer is None:
            raise key_destroyed()
        return held.sealer

    async def unseal(self, texts: Sequence[str]) -> Sequence[str | None]:
        """Plain texts in the same order; None where the key was destroyed. One look-up for all keys."""
        subjects = [subject_of(text) for text in texts]
        known: dict[UUID, _Held | None] = {each: self._fresh(each) for each in subjects}
        if missing := [each for each, held in known.items() if held is None]:
            known |= zip(missing, await asyncio.gather(*map(self._look_up, missing)), strict=True)
        plain: list[str | None] = []
        for subject, text in zip(subjects, texts, strict=True):
            held = known[subject]
            if held is None:
                raise key_missing(subject)
            plain.append(held.sealer.unseal(text) if held.sealer else None)
        return plain

    async def destroy(self, subject: UUID) -> bool:
        """Erase the key for ever; when this answers, no process uses it any more. False when there was none."""
        if subject == INSTALLATION:
            raise Refused("the installation's own key cannot be destroyed", code="key_in_use")
        with _unavailable_when_away():
            async with self._pool.connection() as connection, connection.transaction():
                # First a grave, so that nobody can make a key between the two statements.
                await connection.execute(_BURY, [subject])
                destroyed = (await connection.execute(_DESTROY, [subject])).rowcount == 1
        self._hold(subject, _Held(None, time.monotonic()))
        await asyncio.sleep(self._recheck_seconds)
        return destroyed

    async def destroyed(self) -> frozenset[UUID]:
        """The subjects of every key that was destroyed."""
        with _unavailable_when_away():
            async with self._pool.connection() as connection:
                rows: list[tuple[UUID]] = await (await connection.execute(_DESTROYED)).fetchall()
        return frozenset(subject for (subject,) in rows)

    # --- what is known ---

    def _fresh(self, subject: UUID) -> _Held | None:
        held = self._held.get(subject)
        if held is None or not (held.sealer is None or subject == INSTALLATION or self._is_in_time(held.asked_at)):
            return None
        self._held.move_to_end(subject)
        return held

    def _is_in_time(self, asked_at: float) -> bool:
        return time.monotonic() - asked_at < self._recheck_seconds

    def _hold(self, subject: UUID, held: _Held) -> _Held:
        known = self._held.get(subject)
        if known is not None and known.sealer is None:
            return known  # gone for good: an answer that was on its way must not bring it back
        self._held[subject] = held
        self._held.move_to_end(subject)
        while len(self._held) > self._cached:
            self._held.popitem(last=False)
        return held

    # --- the database ---

    async def _load(self, subjects: Sequence[UUID]) -> Mapping[UUID, _Held | None]:
        """What the table says now of these keys; None of those that never were."""
        for _ in range(ATTEMPTS):
            asked_at = time.monotonic()  # before the question: a later answer may already be about a destroyed key
            with _unavailable_when_away():
                async with self._pool.connection() as connection:
                    cursor = await connection.cursor(binary=True).execute(_SELECT, [list(subjects)])
                    rows: list[tuple[UUID, bytes | None]] = await cursor.fetchall()
            known = {
                subject: self._hold(subject, _Held(self._unwrap(subject, wrapped) if wrapped else None, asked_at))
                for subject, wrapped in rows
            }
            if self._is_in_time(asked_at):
                return {each: known.get(each) for each in subjects}
        raise Unavailable(f"the database takes over {self._recheck_seconds} s to say whether a key still exists")

    async def _create(self, subject: UUID) -> _Held:
        """Make a key. Of several processes that do so at once, one wins; all use what the table then holds."""
        nonce = os.urandom(NONCE_BYTES)
        wrapped = _FORMAT + nonce + self._master.encrypt(nonce, os.urandom(KEY_BYTES), _bound_to(subject))
        with _unavailable_when_away():
            async with self._pool.connection() as connection:
                await connection.execute(_INSERT, [subject, wrapped])
        held = await self._look_up(subject)
        if held is None:
            raise key_missing(subject)
        return held

    def _unwrap(self, subject: UUID, wrapped: bytes) -> AesSealer:
        nonce, sealed = wrapped[1 : 1 + NONCE_BYTES], wrapped[1 + NONCE_BYTES :]
        try:
            return AesSealer(subject, self._master.decrypt(nonce, sealed, _bound_to(subject)))
        except (InvalidTag, ValueError) as error:
            if subject == INSTALLATION:
                raise Refused(
                    "this database was sealed under another master key: put the master.key that belongs to it into the "
                    "data directory (from its backup), or point toybox at the database that belongs to this master.key",
                    code="wrong_master_key",
                ) from error
            raise Refused(
                f"the key {subject} was altered: restore subject_keys from its backup", code="seal_broken"
            ) from error


def _bound_to(subject: UUID) -> bytes:
    """A wrapped key moved to another subject's row does not open."""
    return b"toybox-subject-key-v1" + subject.bytes
