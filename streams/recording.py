"""Writes down where the relay has put events, behind its back: it never waits for this, nor fails with it."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import Final

import structlog

from domain.delivering import Ledger, RelayedBatch, Run
from domain.errors import Unavailable
from streams.relay.state import Place, Relayed

PAUSE_SECONDS: Final = 0.2
"""Between two writes: a busy relay's transactions are written down together."""
WAITING: Final = 1_000
"""Transactions that wait for the database at most; of older ones the places are looked up in Kafka."""
LAST_WORDS_SECONDS: Final = 2.0
log = structlog.get_logger("toybox.recording")


class Recorder:
    """Between the relay's hook and the ledger."""

    def __init__(
        self, ledger: Ledger, *, topic: str, now: Callable[[], datetime], pause: float = PAUSE_SECONDS
    ) -> None:
        self._ledger = ledger
        self._topic = topic
        self._now = now
        self._pause = pause
        self._waiting: deque[RelayedBatch] = deque(maxlen=WAITING)
        self._noted = asyncio.Event()

    def observe(self, relayed: Relayed) -> None:
        """The relay's hook: takes what was committed, at the time that it is now."""
        runs = tuple(runs_of(relayed.places))
        self._waiting.append(RelayedBatch(relayed.up_to, self._topic, self._now(), runs))
        self._noted.set()

    async def run(self) -> None:
        """Write down what comes, until cancelled; then what is left, if the database takes it at once."""
        try:
            while True:
                await self._noted.wait()
                await self._write()
                await asyncio.sleep(self._pause)
        except asyncio.CancelledError:
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS_SECONDS):
                    await self._write()
            raise

    async def _write(self) -> None:
        self._noted.clear()
        batches = list(self._waiting)
        if not batches:
            return
        try:
            await self._ledger.note(batches)
        except Unavailable as away:
            log.warning("where events went is written down later", reason=str(away), transactions=len(batches))
            self._noted.set()
            await asyncio.sleep(away.retry_after)
            return
        for each in batches:
            if self._waiting and self._waiting[0] is each:  # else it was dropped for newer ones meanwhile
                self._waiting.popleft()


def runs_of(places: Iterable[Place]) -> Iterator[Run]:
    """The places of a transaction as few runs: on each partition offsets nearly always follow one another."""
    by_partition: dict[int, list[Place]] = {}
    for place in places:
        by_partition.setdefault(place.partition, []).append(place)
    for partition, own in sorted(by_partition.items()):
        begin = 0
        for at in range(1, len(own) + 1):
            if at == len(own) or own[at].offset != own[at - 1].offset + 1:
                yield Run(partition, own[begin].offset, [place.position for place in own[begin:at]])
                begin = at
