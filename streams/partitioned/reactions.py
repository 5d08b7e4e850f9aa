"""Reactions on Kafka: the same answers with the same command ids, each reaction's cursor kept per partition."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import structlog

from domain.consuming import Chunk, Consumption, PartitionRow, Place
from domain.errors import Unavailable
from domain.log import LogReader, StoredEvent, leaf
from domain.relaying import TopicAdmin
from projections.projector import Connections, Gap, Inflow, continued, mark_offset, note_mark
from streams.envelope import source_of
from streams.follower import BACKOFF_SECONDS
from streams.partitioned.opening import Ids, open_chunks, source_in
from streams.partitioned.state import ConsumptionState, offsets_after
from streams.reacting import Reaction
from streams.reactor import Reactor
from streams.topics import Topics

HALT_SECONDS = 10.0
log = structlog.get_logger("toybox.reactions")


class PartitionCursors(Protocol):
    """How far each reaction has answered each partition."""

    async def rows(self, reactions: Collection[str]) -> Mapping[str, Mapping[int, PartitionRow]]: ...
    async def claim(self, reaction: str, topic: str, position: int, offsets: Mapping[int, int]) -> None: ...
    async def move_house(self, reactions: Collection[str], topic: str) -> None: ...
    async def move(self, rows: Mapping[str, Sequence[PartitionRow]]) -> None: ...
    async def level(self, reactions: Collection[str]) -> Mapping[str, int]: ...


class KafkaReactions:
    """All reactions of one worker; any number of workers share the partitions."""

    def __init__(
        self,
        reactions: Mapping[str, Reaction],
        consumption: Consumption,
        admin: TopicAdmin,
        *,
        reactor: Reactor,
        reader: LogReader,
        cursors: PartitionCursors,
        connections: Connections,
        topics: Topics,
    ) -> None:
        self._reactions = dict(reactions)
        self._consumption, self._admin, self._reactor = consumption, admin, reactor
        self._reader, self._cursors, self._connections, self._topics = reader, cursors, connections, topics
        self._ids: Ids | None = None
        self._marked = False
        self._source = b""
        self._rows: dict[str, dict[int, PartitionRow]] = {}
        self._gap: Mapping[str, object] | None = None
        self.state = ConsumptionState()
        self.positions: dict[str, int] = {}
        """How far each reaction is on all partitions, for metrics."""

    async def run(self) -> None:
        """Consume until cancelled."""
        failures = 0
        try:
            while True:
                started = asyncio.get_running_loop().time()
                try:
                    self.state.phase = "starting"
                    await Ids.ask(self._admin, self._topics)  # a consumer would wait for a missing topic in silence
                    self.state.starts += 1
                    self._ids = None
                    await self._consumption.run(self)
                except Gap as torn:
                    await self._halt(torn)
                except Unavailable as away:
                    self._wait_because(str(away))
                except Exception as error:  # it consumes for ever: whatever this was is in the log, and tried again
                    log.exception("reactions failed and try again")
                    self._wait_because(f"{type(error).__name__}: {error}")
                if asyncio.get_running_loop().time() - started > BACKOFF_SECONDS[-1]:
                    failures = 0
                await asyncio.sleep(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])
                failures += 1
        finally:
            self.state.phase = "stopped"

    def _wait_because(self, reason: str) -> None:
        self.state.wait_because(reason)
        log.warning("reactions wait", reason=reason)

    async def _halt(self, torn: Gap) -> None:
        """Once may be a record that was on its way while the consumer went back; twice is a gap."""
        if torn.details == self._gap:
            if self.state.alarm != str(torn):
                log.error("a gap", **torn.details)
            self.state.phase, self.state.alarm = "halted", str(torn)
            await asyncio.sleep(HALT_SECONDS)
        self._gap = torn.details

    async def retry_parked(self) -> int:
        """Answer again what was set aside; how many are through now."""
        return await self._reactor.retry_parked()

    # --- what a consumer asks ---

    async def resume(self, places: Collection[Place]) -> Mapping[Place, int]:
        """The lowest offset of any reaction; one that has none takes over from the cursor of the whole log."""
        ids = await Ids.ask(self._admin, self._topics)
        first = await self._reader.read(0, 1)
        self._source = source_in(source_of(leaf(first[0]).hex())) if first else b""
        started = await self._reactor.start_positions()
        rows = await self._cursors.rows(self._reactions)
        for name, position in started.items():
            own = rows.get(name, {})
            if len(own) < ids.partitions or any(row.position < position for row in own.values()):
                offsets = await offsets_after(self._consumption, self._reader, self._topics, ids, position)
                await self._cursors.claim(name, ids.events, position, offsets)
        await self._cursors.move_house(self._reactions, ids.events)
        rows = await self._cursors.rows(self._reactions)
        self._rows = {name: dict(own) for name, own in rows.items()}
        self.positions = started
        async with self._connections.connection() as connection:
            marks = await mark_offset(connection, ids.events, ids.marks)
        self._ids, self._marked = ids, marks > 0
        self.state.follow()
        events = self._topics.events.name
        lowest = {
            partition: min(own[partition].next_offset for own in self._rows.values())
            for partition in range(ids.partitions)
        }
        return {each: lowest.get(each.partition, 0) if each.topic == events else marks for each in places}

    async def take(self, chunks: Sequence[Chunk]) -> None:
        """Answer what came."""
        if (ids := self._ids) is None:
            return
        opened = open_chunks(chunks, self._topics, ids, self._source)
        if opened.elsewhere and self._marked:
            raise Unavailable("the topic of events was made anew: go on there by position", code="topic_made_anew")
        self._marked = self._marked or opened.mark is not None
        for each in opened.foreign:  # the projections' worker puts it among the dead letters
            self.state.foreign += 1
            log.error("a record that is not ours", partition=each.place.partition, offset=each.message.offset)
        if opened.mark:
            async with self._connections.connection() as connection:
                await note_mark(connection, opened.mark)
        if opened.inflow.next_offsets:
            await self._answer(opened.inflow)
        self.positions = dict(await self._cursors.level(self._reactions))

    async def _answer(self, inflow: Inflow) -> None:
        after: dict[str, dict[int, PartitionRow]] = {}
        due: dict[int, set[str]] = {}
        events: dict[int, StoredEvent] = {}
        for name, reaction in self._reactions.items():
            new, after[name] = continued(f"reaction {name}", self._rows[name], inflow)
            for each in new:
                if each.applied.stored.type in reaction.types:
                    due.setdefault(each.position, set()).add(name)
                    events[each.position] = each.applied.stored
        if events:
            in_order = [events[position] for position in sorted(events)]
            await self._reactor.answer_all(in_order, lambda reaction, stored: reaction.name in due[stored.position])
        changed = {
            name: [row for partition, row in rows.items() if row != self._rows[name][partition]]
            for name, rows in after.items()
        }
        await self._cursors.move(changed)
        self._rows = after
        if any(changed.values()) and self.state.alarm:
            self._gap = self.state.alarm = None
