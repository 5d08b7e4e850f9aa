"""Follows one event on its way: to Kafka, into the read models, to the reactions and what they made of it."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from commands.handling import Command
from domain.delivering import (
    AskedCommand,
    Effect,
    Finder,
    Ledger,
    Outcome,
    ReactionTrace,
    RelayTrace,
    Trace,
    ViewTrace,
)
from domain.errors import Unavailable
from domain.following import ParkedReaction
from domain.kernel import EVENT_TYPES, load_event
from domain.log import LogReader, StoredEvent
from projections.projector import PROJECTIONS, Connections, Delivery, Projection, deliveries
from projections.projector.connecting import unavailable_when_away
from streams.envelope import key_of, timestamp_ms
from streams.reacting import Reaction
from streams.reactor import caller_of
from streams.topics import Topic, partition_of

MOST_SHOWN: Final = 20
"""Events of one command that are read and shown."""


class EventTracer:
    """Asks everybody who may have had the event; nobody was told to expect the question."""

    def __init__(
        self,
        *,
        reader: LogReader,
        connections: Connections,
        ledger: Ledger,
        topic: Topic,
        finder: Finder | None,
        reactions: Mapping[str, Reaction],
        positions: Callable[[], Awaitable[Mapping[str, int]]],
        parked: Callable[[], Awaitable[Sequence[ParkedReaction]]],
    ) -> None:
        self._reader = reader
        self._connections = connections
        self._ledger = ledger
        self._topic = topic
        self._finder = finder
        self._reactions = reactions
        self._positions = positions
        self._parked = parked

    async def trace(self, stored: StoredEvent) -> Trace:
        """All answers; the head is read last, so that nobody is ahead of it."""
        relay = await self._relay(stored)
        views = await self._views(stored)
        reactions = await self._answers(stored)
        effects = await self._ledger.effects(stored)
        return Trace(await self._reader.head(), relay, views, reactions, effects)

    # --- Kafka ---

    def _partition(self, stored: StoredEvent) -> int:
        return partition_of(key_of(stored), self._topic.partitions)

    async def _relay(self, stored: StoredEvent) -> RelayTrace:
        declared = EVENT_TYPES.get(stored.type)
        if declared is not None and declared.PRIVATE:
            return RelayTrace("private", reason="events of this type never leave the database")
        position, reached = stored.position, await self._ledger.relayed_to()
        found = await self._ledger.batch_of(position)
        if found and not found.outdated:
            for run in found.batch.runs:
                if (offset := run.offset_of(position)) is not None:
                    batch = found.batch
                    return RelayTrace("relayed", batch.topic, run.partition, offset, batch.relayed_at, reached)
        if self._finder is not None:
            return await self._find(self._finder, stored, reached)
        if reached is None:
            return RelayTrace("off", reason="no Kafka is named: TOYBOX_KAFKA")
        if position > reached:
            return RelayTrace("waiting", reached=reached)
        return RelayTrace(
            "unknown", reached=reached, reason="not in the ledger any more, and no Kafka is named here to look it up in"
        )

    async def _find(self, finder: Finder, stored: StoredEvent, reached: int | None) -> RelayTrace:
        """Not written down: too new, too old, or the relay's process died in between. Kafka itself knows."""
        topic, partition = self._topic.name, self._partition(stored)
        try:
            offset = await finder.offset_of(topic, partition, stored.position, timestamp_ms=timestamp_ms(stored))
        except Unavailable as away:
            return RelayTrace("unknown", topic, partition, reached=reached, reason=str(away))
        if offset is None:
            return RelayTrace("waiting", topic, partition, reached=reached, reason="it is not in Kafka yet")
        return RelayTrace(
            "relayed", topic, partition, offset, reached=reached,
            reason="found in Kafka: the ledger does not say when it was relayed",
        )  # fmt: skip

    # --- read models ---

    async def _views(self, stored: StoredEvent) -> list[ViewTrace]:
        key = stored.project_id or stored.stream_id
        with unavailable_when_away():
            async with self._connections.connection() as connection:
                found = await deliveries(connection, stored.position, key, partition=self._partition(stored))
        live = {each.projection: each for each in found}
        return [self._view(projection, live.get(name), stored) for name, projection in sorted(PROJECTIONS.items())]

    @staticmethod
    def _view(projection: Projection, live: Delivery | None, stored: StoredEvent) -> ViewTrace:
        name = projection.name
        if not projection.hears(stored.type):
            return ViewTrace(name, projection.version, "not_read", position=live.position if live else None)
        if live is None:
            return ViewTrace(name, projection.version, "not_built", reason="it is being built for the first time")
        if live.parked_since is not None:
            return ViewTrace(name, live.version, "parked", position=live.parked_since, reason=live.reason)
        if not live.applied(stored.position):
            return ViewTrace(name, live.version, "waiting", position=live.position)
        return ViewTrace(name, live.version, "applied", live.applied_at, live.exact, live.position)

    # --- reactions ---

    async def _answers(self, stored: StoredEvent) -> list[ReactionTrace]:
        readers = [each for each in self._reactions.values() if stored.type in each.types]
        if not readers:
            return []
        positions, own = await self._positions(), await self._ledger.reactions_on(self._partition(stored))
        parked = {each.reaction: each for each in await self._parked() if each.position == stored.position}
        asked = {each.name: list(_asked(each, stored)) for each in readers}
        outcomes = await self._ledger.outcomes([command_id for own in asked.values() for _, command_id in own])
        answers: list[ReactionTrace] = []
        for each in sorted(readers, key=lambda reader: reader.name):
            at, aside = max(positions.get(each.name, 0), own.get(each.name, 0)), parked.get(each.name)
            answered = at >= stored.position and aside is None
            commands = [
                await self._carried_out(command, command_id, outcomes, answered=answered)
                for command, command_id in asked[each.name]
            ]
            status = "parked" if aside else "answered" if answered else "waiting"
            answers.append(ReactionTrace(each.name, status, at, aside.reason if aside else None, commands))
        return answers

    async def _carried_out(
        self, command: Command, command_id: UUID, outcomes: Mapping[UUID, tuple[int, int] | None], *, answered: bool
    ) -> AskedCommand:
        outcome: Outcome = "nothing_to_do" if command_id in outcomes else "refused" if answered else "waiting"
        asked = AskedCommand(type(command).__name__, command_id, outcome)
        if (span := outcomes.get(command_id)) is None:
            return asked
        first, last = span
        events = await self._reader.read(first - 1, MOST_SHOWN, up_to=last)
        shown = [Effect(each.position, each.type, each.stream_id, each.actor, each.recorded_at) for each in events]
        return replace(asked, outcome="done", events=shown)


def _asked(reaction: Reaction, stored: StoredEvent) -> Iterator[tuple[Command, UUID]]:
    """What the reaction asks for, once more: it is a pure function, and the ids of its commands are derived."""
    try:
        commands = list(reaction.react(load_event(stored), stored))
    except Exception:  # noqa: BLE001 -- the bug for which the event is parked, or an event of a newer toybox
        return
    for command in commands:
        yield command, caller_of(reaction.name, command, stored).command_id()
