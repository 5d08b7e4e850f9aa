"""What projectors and workers follow, as the settings want it: the log itself, or what the relay made of it."""

from typing import Any, Literal

from psycopg_pool import AsyncConnectionPool

from adapters.kafka.topics import KafkaTopics
from adapters.postgres.partitioning import PostgresPartitionCursors
from domain.consuming import Consumption
from domain.errors import Refused
from domain.log import LogReader
from streams.follower import Follower
from streams.partitioned import KafkaReactions, KafkaViews
from streams.reacting import REACTIONS
from streams.reactor import Reactor
from toybox.relaying import topics_of
from toybox.settings import Settings


def follower_of(settings: Settings, reader: LogReader, pool: AsyncConnectionPool[Any]) -> Follower | KafkaViews:
    """Who keeps the read models; does not run yet."""
    if settings.follow == "postgres":
        return Follower(reader, pool)
    return KafkaViews(
        _consumption(settings, "projections"),
        KafkaTopics(settings.cluster()),
        reader=reader,
        connections=pool,
        topics=topics_of(settings),
    )


def reactor_of(
    settings: Settings, pool: AsyncConnectionPool[Any], reactor: Reactor, reader: LogReader
) -> Reactor | KafkaReactions:
    """Who answers events with commands; does not run yet."""
    if settings.follow == "postgres":
        return reactor
    return KafkaReactions(
        REACTIONS,
        _consumption(settings, "reactions"),
        KafkaTopics(settings.cluster()),
        reactor=reactor,
        reader=reader,
        cursors=PostgresPartitionCursors(pool),
        connections=pool,
        topics=topics_of(settings),
    )


def _consumption(settings: Settings, what: Literal["projections", "reactions"]) -> Consumption:
    if settings.kafka is None:
        raise Refused("TOYBOX_FOLLOW is kafka, but no Kafka is named: set TOYBOX_KAFKA, or follow postgres")
    from adapters.faust.app import FaustConsumption

    topics, group = topics_of(settings), f"{settings.kafka_prefix}.{what}"
    # A name of its own makes a worker come back to its partitions after a short absence.
    instance = f"{group}.{settings.worker_name}" if settings.worker_name else None
    return FaustConsumption(
        settings.cluster(), [topics.events.name, topics.relay_position.name], group=group, instance=instance
    )
