"""What is asked of the place where answers lie that are still being written, and of who watches them. No I/O."""

from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

Hear = Callable[[UUID, int, int, str], None]
"""Hears a piece in the process that it comes to: its job, its attempt, the characters before it, its text."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A piece of what an attempt has answered so far, sealed; `start` counts the characters before it."""

    job_id: UUID
    attempt: int
    start: int
    sealed: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """Pieces of this attempt are wanted that begin at or after `start`."""

    attempt: int
    start: int


class Drafts(Protocol):
    """Answers in the making: a courtesy. What the log says in the end is the truth, and all of it."""

    async def write(self, drafts: Sequence[Draft]) -> None:
        """Keep these and tell everybody who listens. A piece that is written again may only have become longer."""
        ...

    async def read(self, wanted: Mapping[UUID, Wanted]) -> Sequence[Draft]:
        """What there is of these jobs, by job, attempt and start."""
        ...

    def listening(self) -> AbstractAsyncContextManager[AsyncGenerator[frozenset[UUID], None]]:
        """Jobs of which something new was written, in any process. May miss some: whoever listens also looks."""
        ...

    async def sweep(self, seconds: float) -> int:
        """Forget drafts of jobs that ended, and that nobody has written for so long; how many pieces went."""
        ...


class Audience(Protocol):
    """Who reads the answers of jobs that are to be cancelled when nobody does any more."""

    async def expect(self, job_id: UUID, grace_seconds: int) -> None:
        """From now on somebody must read this job's answer, but for pauses of so many seconds."""
        ...

    async def expected(self, job_id: UUID) -> bool:
        """Whether somebody must."""
        ...

    async def present(self, jobs: Collection[UUID]) -> None:
        """Somebody reads these now."""
        ...

    async def abandoned(self) -> Sequence[UUID]:
        """Jobs that have been left alone for longer than they may be."""
        ...

    async def forget(self, job_id: UUID) -> None:
        """It is of no importance any more who reads this one."""
        ...
