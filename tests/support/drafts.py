"""Answers in the making in a dict: the twin of the table; and one that forgets, mishears and breaks."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from random import Random
from uuid import UUID

from domain.drafting import Draft, Wanted
from domain.errors import Unavailable


class MemoryDrafts:
    """Holds what Postgres would hold."""

    def __init__(self) -> None:
        self.rows: dict[tuple[UUID, int, int], Draft] = {}
        self._ears: list[asyncio.Queue[frozenset[UUID]]] = []

    async def write(self, drafts: Sequence[Draft]) -> None:
        self.rows.update({(each.job_id, each.attempt, each.start): each for each in drafts})
        self.tell(frozenset(each.job_id for each in drafts))

    async def read(self, wanted: Mapping[UUID, Wanted]) -> Sequence[Draft]:
        await asyncio.sleep(0)
        return [
            each
            for _, each in sorted(self.rows.items())
            if (asked := wanted.get(each.job_id)) and asked.attempt == each.attempt and asked.start <= each.start
        ]

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[AsyncGenerator[frozenset[UUID], None]]:
        ear = asyncio.Queue[frozenset[UUID]]()
        self._ears.append(ear)
        try:
            async with aclosing(_heard(ear)) as heard:
                yield heard
        finally:
            self._ears.remove(ear)

    async def sweep(self, seconds: float) -> int:
        gone = len(self.rows)
        self.rows.clear()
        return gone

    def tell(self, jobs: frozenset[UUID]) -> None:
        """Notify."""
        for each in self._ears:
            each.put_nowait(jobs)


async def _heard(ear: "asyncio.Queue[frozenset[UUID]]") -> AsyncGenerator[frozenset[UUID], None]:
    while True:
        yield await ear.get()


class BadDrafts(MemoryDrafts):
    """Everything that may go wrong: notes are lost, replies are lost, writes fail, a crash empties the table."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random

    async def write(self, drafts: Sequence[Draft]) -> None:
        await asyncio.sleep(self._random.choice([0, 0, 0.001]))
        fate = self._random.random()
        if fate < 0.05:
            raise Unavailable("the connection was lost before")
        await super().write(drafts)
        if fate < 0.1:
            raise Unavailable("the connection was lost behind")
        if fate < 0.12:
            self.rows.clear()

    def tell(self, jobs: frozenset[UUID]) -> None:
        if self._random.random() < 0.8:
            super().tell(jobs)


class MemoryAudience:
    """Who must be read, and who is; the test says what time it is."""

    def __init__(self) -> None:
        self.grace: dict[UUID, int] = {}
        self.seen: dict[UUID, float] = {}
        self.now = 0.0

    async def expect(self, job_id: UUID, grace_seconds: int) -> None:
        self.grace.setdefault(job_id, grace_seconds)
        self.seen[job_id] = self.now

    async def expected(self, job_id: UUID) -> bool:
        return job_id in self.grace

    async def present(self, jobs: Collection[UUID]) -> None:
        self.seen.update({each: self.now for each in jobs if each in self.grace})

    async def abandoned(self) -> Sequence[UUID]:
        return [each for each, grace in self.grace.items() if self.seen[each] < self.now - grace]

    async def forget(self, job_id: UUID) -> None:
        self.grace.pop(job_id, None)
