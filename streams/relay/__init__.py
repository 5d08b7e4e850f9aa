"""The relay: every public event of the log to Kafka, once and in order, whatever dies meanwhile."""

import asyncio
from collections.abc import Callable
from typing import NoReturn

import structlog

from domain.errors import Unavailable
from domain.following import Leadership
from domain.log import LogReader, leaf
from domain.relaying import BrokerAway, Fenced, Outlet
from streams.relay.batching import Batch, marker_key, pack, record_of
from streams.relay.marker import Marker, RelayHalted
from streams.relay.state import Place, Relayed, RelayState
from streams.topics import Topics, check, fatal, init

BATCH = 500
POLL_SECONDS = 5.0
HALT_SECONDS = 10.0
"""How soon a halted relay looks again whether somebody has put things right."""
LEADING = "relay"
log = structlog.get_logger("toybox.relay")


class Relay:
    """Tails the log and writes one transaction per batch, the marker inside it. Whoever leads does it.

    Only what Kafka holds is believed: each time it begins, the relay fences all earlier producers and reads the marker.
    """

    def __init__(
        self,
        outlet: Outlet,
        *,
        reader: LogReader,
        leadership: Leadership,
        topics: Topics,
        replication: int = 1,
        batch: int = BATCH,
        observe: Callable[[Relayed], None] = lambda _: None,
    ) -> None:
        self._outlet = outlet
        self._reader = reader
        self._leadership = leadership
        self._topics = topics
        self._replication = replication
        self._batch = batch
        self._observe = observe
        self.state = RelayState()

    async def run(self) -> None:
        """Lead whenever possible, until cancelled."""
        try:
            while True:
                pause = await self._turn()
                await asyncio.sleep(pause)
        finally:
            await self._outlet.discard()
            self.state.phase = "stopped"

    async def _turn(self) -> float:
        """Lead until something is in doubt; answers how long to wait before the next turn."""
        state = self.state
        state.phase = "halted" if state.alarm else "standby"
        try:
            async with self._leadership.leading(LEADING):
                try:
                    await self._follow(await self._begin())
                finally:
                    await self._outlet.discard()
        except RelayHalted as halt:
            if state.alarm != str(halt):
                log.error("the relay has halted", code=halt.code, reason=str(halt))  # noqa: TRY400 -- no bug, no trace
            state.phase, state.alarm, state.alarm_code = "halted", str(halt), halt.code
            return HALT_SECONDS
        except Unavailable as away:
            state.discarded += isinstance(away, BrokerAway)
            state.fenced += isinstance(away, Fenced)
            state.phase, state.last_error = "halted" if state.alarm else "waiting", str(away)
            log.warning("the relay begins anew", reason=str(away))
            return away.retry_after

    async def _begin(self) -> Marker:
        """Where to go on. Looks before it opens a producer: one that must halt had better not fence who need not."""
        if not self.state.alarm:
            self.state.phase = "starting"
        for name in await init(self._outlet, self._topics, replication=self._replication):
            log.info("made a topic", topic=name)
        await self._look(settled=False)
        await self._outlet.open()
        marker = await self._look(settled=True)
        self.state.alarm = self.state.alarm_code = None
        self.state.phase, self.state.position = "relaying", marker.position
        log.info("relaying", after=marker.position)
        return marker

    async def _look(self, *, settled: bool) -> Marker:
        """The marker that Kafka holds, if it can be that of this log and of these topics.

        Before earlier transactions are settled, the first marker of all may be there and not yet to be seen.
        """
        if findings := fatal(await check(self._outlet, self._topics, replication=self._replication)):
            raise RelayHalted("; ".join(map(str, findings)), code="relay_topics_wrong")
        topic = (await self._outlet.describe([self._topics.events.name]))[self._topics.events.name].id
        value = await self._outlet.last(self._topics.relay_position.name, marker_key(self._topics))
        if value is None:
            if settled and await self._outlet.holds_records(self._topics.events.name):
                raise RelayHalted(
                    f"{self._topics.events.name} holds events but the relay's marker is gone: delete that topic, and "
                    f"the relay fills it anew from the log",
                    code="relay_marker_lost",
                )
            return Marker(topic)
        marker = Marker.loads(value)
        await self._require_same_log(marker)
        if marker.topic != topic:
            log.warning("the topic of events was made anew and is filled from the beginning", topic=topic)
            return Marker(topic, marker.log)
        return marker

    async def _require_same_log(self, marker: Marker) -> None:
        head = self.state.head = await self._reader.head()
        if marker.position > head:
            raise RelayHalted(
                f"Kafka holds events up to position {marker.position}, but the log ends at {head}: the database has "
                f"lost history (a replica that lagged, an old backup). Restore the newer one. To keep this one, delete "
                f"all topics of this installation: the relay fills them anew",
                code="relay_marker_ahead",
                marker=marker.position,
                head=head,
            )
        first = await self._reader.read(0, 1)
        if marker.log and not (first and leaf(first[0]).hex() == marker.log):
            raise RelayHalted(
                "these topics belong to another log: give this installation a Kafka or a topic prefix of its own, or "
                "delete the topics",
                code="relay_foreign_log",
            )
        if marker.position:
            there = await self._reader.read(marker.position - 1, 1)
            if leaf(there[0]).hex() != marker.leaf:
                raise RelayHalted(
                    f"event {marker.position} is not the one that was relayed: the log has another history than Kafka. "
                    f"Restore the database that was relayed, or delete all topics of this installation",
                    code="relay_history_forked",
                    position=marker.position,
                )

    async def _follow(self, marker: Marker) -> NoReturn:
        marked = marker.position > 0
        while True:
            head = await self._reader.wait(marker.position, POLL_SECONDS)
            events = await self._reader.read(marker.position, self._batch)
            # After the read: whoever no longer leads may have read from a database that is no longer the one.
            await self._leadership.check(LEADING)
            if not events:
                if head > marker.position:
                    raise Unavailable(f"the log was known up to {head} and now ends at {marker.position}")
                continue
            self.state.head = max(head, events[-1].position)
            batch = pack(events, marker, self._topics)
            if not marked:
                # From here on a topic with events and without a marker has lost it.
                start = Marker(marker.topic, batch.marker.log)
                await self._outlet.send([record_of(start, self._topics, events[0])])
                marked = True
            await self._send(batch)
            marker = batch.marker

    async def _send(self, batch: Batch) -> None:
        clock, state = asyncio.get_running_loop().time, self.state
        began = clock()
        offsets = await self._outlet.send(batch.records)
        state.last_seconds = clock() - began
        state.position, state.relayed_at = batch.marker.position, batch.last.recorded_at
        state.transactions += 1
        state.events += len(batch.positions)
        places = zip(batch.positions, batch.records, offsets, strict=False)  # the marker is the one record more
        self._observe(
            Relayed(
                batch.marker.position,
                state.last_seconds,
                tuple(Place(position, record.partition, offset) for position, record, offset in places),
            )
        )
