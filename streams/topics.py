"""The topics of toybox, one line each: partitions, retention, compaction. Makes them and says what is wrong."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import Final
from uuid import UUID

from domain.relaying import TopicAdmin, TopicFacts

MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""More than the largest event that the edge lets in, with its envelope."""
FOREVER: Final = None
_ANY_AGE: Final = str(2**63 - 1)
_SIGN: Final = 0x7FFFFFFF


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic as toybox needs it."""

    name: str
    partitions: int
    retention: timedelta | None = FOREVER
    compacted: bool = False
    tuning: Mapping[str, str] = field(default_factory=dict[str, str])

    def facts(self, replication: int) -> TopicFacts:
        """What to ask of a broker."""
        kept = str(int(self.retention.total_seconds() * 1000)) if self.retention else "-1"
        settings = {
            "cleanup.policy": "compact" if self.compacted else "delete",
            "retention.ms": kept,
            "retention.bytes": "-1",
            "min.insync.replicas": str(2 if replication > 2 else 1),
            "max.message.bytes": str(MAX_MESSAGE_BYTES),
            # The record's time is the event's, by the log's clock; the broker's own must not refuse it.
            "message.timestamp.type": "CreateTime",
            "message.timestamp.after.max.ms": _ANY_AGE,
            "message.timestamp.before.max.ms": _ANY_AGE,
            **self.tuning,
        }
        return TopicFacts(self.name, self.partitions, replication, settings)


_SMALL_SEGMENTS: Final = {"segment.bytes": str(16 * 1024 * 1024), "segment.ms": "3600000"}
"""A closed segment is what compaction works on: without these a marker would keep a week of predecessors."""


@dataclass(frozen=True, slots=True)
class Topics:
    """All topics of one installation; another prefix keeps another installation apart on the same broker."""

    events: Topic
    costs: Topic
    projects: Topic
    budgets: Topic
    dead_letters: Topic
    relay_position: Topic

    @classmethod
    def named(cls, prefix: str = "toybox") -> "Topics":
        """The topics under a prefix."""
        return cls(
            events=Topic(f"{prefix}.events", 12),
            costs=Topic(f"{prefix}.costs", 12),
            projects=Topic(f"{prefix}.projects.state", 12, compacted=True),
            budgets=Topic(f"{prefix}.budgets.state", 12, compacted=True),
            dead_letters=Topic(f"{prefix}.dead-letters", 1, retention=timedelta(days=90)),
            relay_position=Topic(f"{prefix}.relay.position", 1, compacted=True, tuning=_SMALL_SEGMENTS),
        )

    def __iter__(self) -> Iterator[Topic]:
        return iter((self.events, self.costs, self.projects, self.budgets, self.dead_letters, self.relay_position))


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a topic that is not as it should be."""

    topic: str
    setting: str
    expected: str
    found: str
    remedy: str
    fatal: bool
    """History would be lost or torn: the relay does not write while this is so."""

    def __str__(self) -> str:
        return f"{self.topic}: {self.setting} is {self.found}, not {self.expected}: {self.remedy}"


async def init(admin: TopicAdmin, topics: Topics, *, replication: int) -> list[str]:
    """Make the topics that do not exist; answers their names. Never changes one that does."""
    there = await admin.describe([each.name for each in topics])
    missing = [each.facts(replication) for each in topics if each.name not in there]
    if missing:
        await admin.create(missing)
    return [each.name for each in missing]


async def check(admin: TopicAdmin, topics: Topics, *, replication: int) -> list[Finding]:
    """Everything that differs from what `init` would make, the gravest first."""
    there = await admin.describe([each.name for each in topics])
    found = [
        finding for each in topics for finding in _differences(each, each.facts(replication), there.get(each.name))
    ]
    return sorted(found, key=lambda finding: not finding.fatal)


def _differences(topic: Topic, wanted: TopicFacts, found: TopicFacts | None) -> Iterator[Finding]:
    if found is None:
        yield Finding(topic.name, "the topic", "there", "missing", "make it: toybox kafka init", fatal=True)
        return
    if found.partitions != wanted.partitions:
        remedy = (
            "keys would move between partitions and tear the order of projects: delete the topic and make it again "
            "with toybox kafka init; the relay fills it anew from the log"
        )
        yield Finding(topic.name, "partitions", str(wanted.partitions), str(found.partitions), remedy, fatal=True)
    if found.replication < wanted.replication:
        remedy = "reassign its partitions to more brokers, or correct the setting for replication"
        yield Finding(topic.name, "replication", str(wanted.replication), str(found.replication), remedy, fatal=False)
    for name, value in wanted.settings.items():
        if (has := found.settings.get(name, "unset")) != value:
            remedy = f"set it: kafka-configs --alter --topic {topic.name} --add-config {name}={value}"
            yield Finding(topic.name, name, value, has, remedy, fatal=_loses(topic, name))


def _loses(topic: Topic, setting: str) -> bool:
    """Whether another value of this setting takes records away that must stay."""
    return setting == "cleanup.policy" or (setting.startswith("retention.") and topic.retention is FOREVER)


def fatal(findings: Sequence[Finding]) -> list[Finding]:
    """Those that keep the relay from writing."""
    return [each for each in findings if each.fatal]


@lru_cache(maxsize=65_536)
def partition_of(key: bytes, partitions: int) -> int:
    """Where a key belongs, by the same hash as the Java clients, so that every producer and reader agrees."""
    return (_murmur2(key) & _SIGN) % partitions


def partition_of_key(key: UUID, partitions: int) -> int:
    """Where the events of a key belong."""
    return partition_of(str(key).encode(), partitions)


def _murmur2(data: bytes) -> int:
    """32-bit MurmurHash2, seed 0x9747b28c."""
    size, mix, mask = len(data), 0x5BD1E995, 0xFFFFFFFF
    value = 0x9747B28C ^ size
    whole = size - size % 4
    for start in range(0, whole, 4):
        word = int.from_bytes(data[start : start + 4], "little") * mix & mask
        word = (word ^ word >> 24) * mix & mask
        value = value * mix & mask ^ word
    if rest := data[whole:]:
        value = (value ^ int.from_bytes(rest, "little")) * mix & mask
    value = (value ^ value >> 13) * mix & mask
    return value ^ value >> 15
