"""A system at play: real commands and reactions on the in-memory log, for read models to be folded from."""

from random import Random
from typing import TypeVar
from uuid import UUID

from commands.handling import Command
from domain.errors import ToyboxError
from domain.kernel import Aggregate, evolve, load_event
from domain.log import StoredEvent
from domain.values import AiConfig
from projections.documents import Document
from projections.folding import fold_document
from projections.projector import Connections, Projection, advance, generation, read_slice, rebuild
from streams.reacting import REACTIONS
from tests.support.story import Story
from toybox.inventory import load

A = TypeVar("A", bound=Aggregate)
SCRIPTED = AiConfig(provider="scripted", model="scripted-small")


async def follow(connections: Connections, play: "Play", *projections: Projection) -> None:
    """Bring these to the end of the log: built when they are not there yet, followed from where they stand else."""
    head, store = len(play.events), play.story.store
    for projection in projections:
        async with connections.connection() as connection:
            live = await generation(connection, projection.name, "live")
            while live and live.position < head:
                batch = await read_slice(store, projection, live.position, head)
                live = (await advance(connection, projection, live, batch)).generation
        if live is None:
            await rebuild(connections, store, projection)


class Play:
    """One story whose events are answered by the reactions, as the runner answers them."""

    def __init__(self, story: Story, dice: Random | None = None) -> None:
        load()
        self.story, self.dice = story, dice or Random(0)
        self.states: dict[UUID, Aggregate] = {}
        """Every aggregate, folded from its history."""
        self.refused = 0
        self._answered = 0

    @property
    def events(self) -> list[StoredEvent]:
        """Everything so far."""
        return self.story.events

    async def do(self, *commands: Command) -> "Play":
        """Carry these out, and whatever follows from them."""
        for command in commands:
            await self.story.send(command)
            await self.react()
        return self

    async def send(self, command: Command) -> bool:
        """Whether it was accepted."""
        try:
            await self.story.send(command)
        except ToyboxError:
            self.refused += 1
            return False
        return True

    async def react(self) -> None:
        """Answer every new event."""
        while self._answered < len(self.events):
            stored = self.events[self._answered]
            self._answered += 1
            known = self.states[stored.stream_id] = evolve(self.states.get(stored.stream_id), stored)
            self.remember(stored.stream_id, known)
            for reaction in REACTIONS.values():
                if stored.type in reaction.types:
                    for command in reaction.react(load_event(stored), stored):
                        await self.send(command)

    def remember(self, stream: UUID, known: Aggregate) -> None:
        """For those who look for something in a certain state."""

    def chance(self, percent: int) -> bool:
        """Whether it happens."""
        return self.dice.randrange(100) < percent

    def all(self, kind: type[A]) -> dict[UUID, A]:
        """Every aggregate of a kind."""
        return {stream: each for stream, each in self.states.items() if isinstance(each, kind)}

    async def fold(self, document: type[Document], key: UUID, project: UUID | None, *, up_to: int | None = None):
        """A document's view, straight from the log."""
        return await fold_document(document(), self.story.store, key, project, up_to=up_to)
