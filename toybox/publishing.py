"""The publisher of state products as the settings want it."""

from adapters.kafka.outlet import KafkaOutlet
from adapters.postgres.following import PostgresLeadership
from adapters.postgres.keyring import PostgresKeyring
from domain.log import LogReader
from projections.projector import Connections
from streams.products.publisher import StatePublisher
from toybox.relaying import compression_of, topics_of
from toybox.settings import Settings


def publisher_of(
    settings: Settings, reader: LogReader, connections: Connections, conninfo: str, keyring: PostgresKeyring
) -> StatePublisher:
    """A publisher that does not run yet."""
    outlet = KafkaOutlet(settings.cluster(), f"{settings.kafka_prefix}.products", compression=compression_of(settings))
    return StatePublisher(
        outlet,
        reader=reader,
        connections=connections,
        leadership=PostgresLeadership(conninfo),
        topics=topics_of(settings),
        replication=settings.kafka_replication,
        erased=keyring.destroyed,
    )
