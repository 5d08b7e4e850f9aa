"""The relay as the settings want it: which cluster, which topics, which compression."""

from collections.abc import Callable

from adapters.kafka.outlet import KafkaOutlet
from adapters.postgres.following import PostgresLeadership
from domain.log import LogReader
from streams.relay import Relay
from streams.relay.state import Relayed
from streams.topics import Topics
from toybox.settings import Settings


def topics_of(settings: Settings) -> Topics:
    """The topics of this installation."""
    return Topics.named(settings.kafka_prefix)


def compression_of(settings: Settings) -> str | None:
    """As producers are told."""
    return None if settings.kafka_compression == "none" else settings.kafka_compression


def relay_of(
    settings: Settings, reader: LogReader, conninfo: str, *, observe: Callable[[Relayed], None] = lambda _: None
) -> Relay:
    """A relay that does not run yet. Refused where no Kafka is named, or a file that it needs cannot be read."""
    outlet = KafkaOutlet(settings.cluster(), f"{settings.kafka_prefix}.relay", compression=compression_of(settings))
    return Relay(
        outlet,
        reader=reader,
        leadership=PostgresLeadership(conninfo),
        topics=topics_of(settings),
        replication=settings.kafka_replication,
        observe=observe,
    )
