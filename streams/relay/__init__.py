"""The relay: every public event of the log to Kafka, once and in order, whatever dies meanwhile."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn

import structlog

from domain.errors import Unavailable
from domain.following import Leadership
from domain.log import LogReader, leaf
from domain.relaying import BrokerAway, Outlet
from streams.leading import Duty
from streams.products.costs import Chain
from streams.relay.batching import Batch, marker_key, pack, record_of
from streams.relay.filling import fill_costs
from streams.relay.marker import Marker, RelayHalted
from streams.relay.state import Place, Relayed, RelayState
from streams.topics import Topics, check, fatal, init

BATCH = 500
"""Events of one transaction while the relay keeps up: what an event may have to wait for."""
MOST = 2000
"""While it is behind: beginning and ending a transaction costs the same whatever is in it."""
POLL_SECONDS = 5.0
LOOK_SECONDS = 30.0
"""How soon a relay that has nothing to send learns what became of its topics."""
LEADING = "relay"
log = structlog.get_logger("toybox.relay")


class Relay(Duty):
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
        most: int = MOST,
        observe: Callable[[Relayed], None] = lambda _: None,
    ) -> None:
        self.state = RelayState()
        super().__init__(LEADING, outlet, leadership, self.state)
        self._reader = reader
        self._topics = topics
        self._replication = replication
        self._batch, self._most = batch, max(batch, most)
        self._observe = observe
        self._looked = 0.0

    async def look(self) -> Marker:
        """Where it would go on, without disturbing whoever relays; RelayHalted when it must not go on."""
        return await self._look(settled=False)

    async def go_on(self) -> NoReturn:
        """From the marker that Kafka holds."""
        await self._follow(await self._begin())

    async def _begin(self) -> Marker:
        """Where to go on. Looks before it opens a producer: one that must halt had better not fence who need not."""
        if not self.state.alarm:
            self.state.phase = "starting"
        for name in await init(self._outlet, self._topics, replication=self._replication):
            log.info("made a topic", topic=name)
        await self._look(settled=False)
        await self._outlet.open()
        marker = await self._look(settled=True)
        self.state.goes_on("relaying")
        self.state.position = marker.position
        log.info("relaying", after=marker.position)
        return await fill_costs(
            marker,
            self._outlet,
            self._reader,
            self._topics,
            batch=self._batch,
            check=lambda: self._leadership.check(LEADING),
        )

    async def _look(self, *, settled: bool) -> Marker:
        """The marker that Kafka holds, if it can be that of this log and of these topics.

        Before earlier transactions are settled, the first marker of all may be there and not yet to be seen.
        """
        await self._require_right_topics()
        events, costs = self._topics.events.name, self._topics.costs.name
        there = await self._outlet.describe([events, costs])
        if gone := [name for name in (events, costs) if name not in there]:
            raise BrokerAway(f"{' and '.join(gone)} went while the relay looked at them")
        topic, beside = there[events].id, Chain(there[costs].id)
        value = await self._outlet.last(self._topics.relay_position.name, marker_key(self._topics))
        if value is None:
            left = [name for name in (events, costs) if settled and await self._outlet.holds_records(name)]
            if left:
                raise RelayHalted(
                    f"{' and '.join(left)} hold records but the relay's marker is gone: delete {events} and {costs}, "
                    f"and the relay fills them anew from the log",
                    code="relay_marker_lost",
                )
            return Marker(topic, costs=beside)
        marker = Marker.loads(value)
        await self._require_same_log(marker)
        if marker.costs.topic == beside.topic:
            beside = marker.costs
        if marker.topic != topic:
            log.warning("the topic of events was made anew and is filled from the beginning", topic=topic)
            return Marker(topic, marker.log, costs=beside)
        return replace(marker, costs=beside)

    async def _require_right_topics(self) -> None:
        self._looked = asyncio.get_running_loop().time()
        findings = await check(self._outlet, self._topics, replication=self._replication)
        self.state.findings = tuple(map(str, findings))
        if wrong := fatal(findings):
            raise RelayHalted("; ".join(map(str, wrong)), code="relay_topics_wrong")

    async def _look_again(self, marker: Marker) -> None:
        """Now and then: without anything to send, nothing else tells that Kafka was emptied, changed or is away."""
        if asyncio.get_running_loop().time() < self._looked + LOOK_SECONDS:
            return
        wanted = {self._topics.events.name: marker.topic, self._topics.costs.name: marker.costs.topic}
        if {name: each.id for name, each in (await self._outlet.describe(wanted)).items()} != wanted:
            raise BrokerAway("topics are gone or were made anew while the relay ran")
        await self._require_right_topics()

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
        batch = await self._next(marker)
        if marker.position == 0:
            # From here on a topic with events and without a marker has lost it.
            start = Marker(marker.topic, batch.marker.log, costs=marker.costs)
            await self._outlet.send([record_of(start, self._topics, batch.last)])
        while True:
            if self.state.head - batch.marker.position > self._batch:
                batch = await self._send_and_prepare(batch)
            else:
                await self._send(batch)
                batch = await self._next(batch.marker)

    async def _send_and_prepare(self, batch: Batch) -> Batch:
        """The next batch, made while this one is on its way. Nothing of it is sent unless this one is proven to be."""
        sending, preparing = self._send(batch), self._next(batch.marker)
        sent, following = await asyncio.gather(sending, preparing, return_exceptions=True)
        if isinstance(sent, BaseException):
            raise sent
        if isinstance(following, BaseException):
            raise following
        await self._leadership.check(LEADING)
        return following

    async def _next(self, after: Marker) -> Batch:
        """What comes after the marker, as soon as there is something."""
        while True:
            await self._look_again(after)
            head = await self._reader.wait(after.position, POLL_SECONDS)
            behind = head - after.position > self._batch
            events = await self._reader.read(after.position, self._most if behind else self._batch)
            # After the read: whoever no longer leads may have read from a database that is no longer the one.
            await self._leadership.check(LEADING)
            if events:
                self.state.head = max(head, events[-1].position)
                return pack(events, after, self._topics)
            if head > after.position:
                raise Unavailable(f"the log was known up to {head} and now ends at {after.position}")

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
