"""Stories: given commands, when a command, then events or a refusal; the real pipeline on the in-memory log."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from adapters.memory import MemoryStore
from adapters.security.sealing import MemoryKeyring
from commands.handling import Caller, Command, Commands, Principal
from commands.sequencer import Answer, Sequencer
from domain.errors import ToyboxError
from domain.kernel import Aggregate, evolve
from domain.log import StoredEvent
from domain.values import derived_id

A = TypeVar("A", bound=Aggregate)
OWNER = Principal("owner", frozenset({"*"}))


class FixedClock:
    """A clock that moves only when it is told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 21, 10, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


class Story:
    """One log, one clock, and what the last command did to them."""

    def __init__(self) -> None:
        self.clock = FixedClock()
        self.store = MemoryStore(self.clock)
        self.keyring = MemoryKeyring()
        self.sequencer = Sequencer(self.store)
        self.commands = Commands(self.sequencer, self.keyring)
        self.refusal: ToyboxError | None = None
        self.answer: Answer | None = None
        self._before = 0
        self._calls = 0

    @property
    def events(self) -> list[StoredEvent]:
        """Every event so far."""
        return self.store.events

    async def send(
        self,
        command: Command,
        *,
        principal: Principal = OWNER,
        key: str | None = None,
        expected: Mapping[UUID, int] | None = None,
    ) -> Answer:
        """One command through the real pipeline; a refusal is raised."""
        self._calls += 1
        caller = Caller(principal, "http", key or f"call-{self._calls}")
        return await self.commands.send(command, caller, expected=expected)

    async def given(self, *commands: Command) -> "Story":
        """What was done before; it must succeed."""
        for command in commands:
            self.answer = await self.send(command)
        return self

    async def when(self, command: Command, **how: Any) -> "Story":
        """The command that the story is about."""
        self._before, self.refusal, self.answer = len(self.events), None, None
        try:
            self.answer = await self.send(command, **how)
        except ToyboxError as refusal:
            self.refusal = refusal
        return self

    def then(self, *types: str) -> list[dict[str, Any]]:
        """Exactly these event types were appended; answers their payloads."""
        assert self.refusal is None, f"refused: {self.refusal}"
        new = self.events[self._before :]
        found = [each.type for each in new]
        assert found == list(types), f"happened: {found}"
        return [each.payload() for each in new]

    def then_refused(self, kind: type[ToyboxError], *, code: str | None = None, saying: str = "") -> ToyboxError:
        """It was refused in this way, and nothing was appended."""
        assert isinstance(self.refusal, kind), f"not refused as {kind.__name__}: {self.refusal!r}"
        assert code is None or self.refusal.code == code
        assert saying in str(self.refusal)
        assert len(self.events) == self._before
        return self.refusal

    def state(self, kind: type[A], stream_id: UUID) -> A:
        """The aggregate as a fresh fold of its stored history."""
        found: A | None = None
        for stored in self.events:
            if stored.stream_id == stream_id:
                found = evolve(found, stored)
        assert isinstance(found, kind), f"no {kind.TOPIC} {stream_id}"
        return found

    async def unsealed(self, sealed: str) -> str | None:
        """The text in a sealed field."""
        return (await self.keyring.unseal([sealed]))[0]

    @staticmethod
    def id(*words: object) -> UUID:
        """A stable id for this story."""
        return derived_id("story", *words)


@asynccontextmanager
async def telling() -> AsyncIterator[Story]:
    """A story with its sequencer running."""
    story = Story()
    story.sequencer.start()
    try:
        yield story
    finally:
        await story.sequencer.stop()
