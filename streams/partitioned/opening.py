"""Opens what a consumer brings: events in their envelopes, the relay's markers, and what is not ours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from domain.consuming import Chunk, Message, Place
from domain.errors import ToyboxError
from domain.relaying import BrokerAway, TopicAdmin
from projections.projector import Applied, Arrival, Inflow, Mark
from streams.envelope import NotOurs, key_of, unseal
from streams.relay.marker import Marker
from streams.topics import Topics, partition_of

_HEAD = 400
"""Bytes of an envelope among which its source stands."""


@dataclass(frozen=True, slots=True)
class Ids:
    """The topics as they are now; one that was made anew has another id, and its offsets mean something else."""

    events: str
    marks: str
    partitions: int

    @classmethod
    async def ask(cls, admin: TopicAdmin, topics: Topics) -> "Ids":
        """As the broker tells them. BrokerAway until the relay has made them."""
        there = await admin.describe([topics.events.name, topics.relay_position.name])
        events, marks = there.get(topics.events.name), there.get(topics.relay_position.name)
        if events is None or marks is None:
            raise BrokerAway(f"{topics.events.name} is not there yet: the relay makes it (toybox up --role relay)")
        return cls(events.id, marks.id, events.partitions)


@dataclass(frozen=True, slots=True)
class Foreign:
    """A record on our topic that is not an event of this log."""

    place: Place
    message: Message
    reason: str

    @property
    def headers(self) -> Mapping[str, bytes]:
        """Where it lay, for whoever looks at it."""
        return {
            "toybox-topic": self.place.topic.encode(),
            "toybox-partition": b"%d" % self.place.partition,
            "toybox-offset": b"%d" % self.message.offset,
            "toybox-reason": self.reason[:500].encode(),
        }


@dataclass(slots=True)
class Opened:
    """What was in a number of chunks."""

    inflow: Inflow
    mark: Mark | None = None
    elsewhere: bool = False
    """Whether the last marker speaks of another topic of events than the one that is followed."""
    foreign: list[Foreign] = field(default_factory=list[Foreign])


def open_chunks(chunks: Sequence[Chunk], topics: Topics, ids: Ids, source: bytes) -> Opened:
    """Everything in them, in the order of each partition."""
    arrivals: list[Arrival] = []
    ends: dict[int, int] = {}
    opened = Opened(Inflow(ids.events, arrivals, ends))
    for chunk in chunks:
        if chunk.place.topic == topics.relay_position.name:
            mark = _mark(chunk, topics, ids)
            if mark and mark.topic != ids.events:
                opened.elsewhere = True
            elif mark:
                opened.mark = mark
            continue
        partition = chunk.place.partition
        for message in chunk.records:
            try:
                arrivals.append(_arrival(partition, message, ids.partitions, source))
            except NotOurs as stranger:
                opened.foreign.append(Foreign(chunk.place, message, str(stranger)))
        ends[partition] = max(ends.get(partition, 0), chunk.records[-1].offset + 1)
    return opened


def _arrival(partition: int, message: Message, partitions: int, source: bytes) -> Arrival:
    value = message.value or b""
    if source and source not in value[:_HEAD]:
        raise NotOurs(f"not an event of this log: {value[:200]!r}")
    arrived = unseal(value)
    if partition_of(key_of(arrived.event), partitions) != partition:
        raise NotOurs(f"event {arrived.event.position} does not belong on partition {partition}")
    return Arrival(partition, message.offset, arrived.prev, Applied(arrived.event))


def _mark(chunk: Chunk, topics: Topics, ids: Ids) -> Mark | None:
    """The last one; what is none of ours is the relay's affair."""
    for message in reversed(chunk.records):
        if message.key != topics.events.name.encode() or message.value is None:
            continue
        try:
            marker = Marker.loads(message.value)
        except ToyboxError:
            continue
        return Mark(marker.topic, marker.position, marker.prev, ids.marks, chunk.records[-1].offset + 1)
    return None


def source_in(source: str) -> bytes:
    """How the source of our events stands in an envelope."""
    return b'"source":' + orjson.dumps(source)
