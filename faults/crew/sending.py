"""A door to the write side as a process of its own has it: store, sequencer, and the installation's one keyring."""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import UUID

import structlog

from adapters.postgres.connections import pool
from adapters.postgres.event_store import PostgresStore
from adapters.security.sealing import AesSealer, MemoryKeyring
from commands.handling import Commands
from commands.sequencer import Answer, BatchReport, Sequencer
from domain.errors import Unavailable
from faults.crew.journals import Work
from faults.crew.stores import STORES


class InstallationKeyring(MemoryKeyring):
    """The same keys in every process and incarnation, so that a repeated command is recognised."""

    async def sealer(self, subject: UUID, *, create: bool) -> AesSealer:
        """A key that anybody could guess: nothing is secret here."""
        if subject not in self._sealers:
            self._sealers[subject] = AesSealer(subject, hashlib.sha256(subject.bytes).digest())
        return await super().sealer(subject, create=create)


def quiet_logs() -> None:
    """Information and above, as in production: a debug line for each command would be what is measured."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO), cache_logger_on_first_use=True
    )


@asynccontextmanager
async def sending(
    conninfo: str, store: str = "postgres", observe: Callable[[BatchReport], None] = lambda _: None
) -> AsyncIterator[tuple[Commands, PostgresStore]]:
    """A running sequencer over its own connections."""
    async with pool(conninfo, size=2) as opened:
        log = STORES[store](conninfo, opened)
        sequencer = Sequencer(log, observe=observe)
        sequencer.start()
        try:
            yield Commands(sequencer, InstallationKeyring()), log
        finally:
            await sequencer.stop()
            await log.close()


async def insist(commands: Commands, work: Work) -> Answer:
    """Send until there is an answer: the same key each time, as every caller of toybox is told to."""
    while True:
        try:
            return await commands.send(work.command, work.caller)
        except Unavailable as away:
            await asyncio.sleep(away.retry_after or 0.1)
