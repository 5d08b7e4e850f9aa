"""The delivery ledger of a running system: who writes it beside the relay, and who answers from it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from psycopg_pool import AsyncConnectionPool

from adapters.clock import now
from adapters.kafka.finding import KafkaFinder
from adapters.postgres.deliveries import PostgresLedger
from domain.delivering import Finder
from domain.following import ParkedReaction
from domain.log import LogReader
from streams.reacting import REACTIONS
from streams.recording import Recorder
from streams.tracing import EventTracer
from toybox.relaying import topics_of
from toybox.settings import Settings


def recorder_of(settings: Settings, pool: AsyncConnectionPool[Any]) -> Recorder:
    """Whose `observe` is the relay's hook; it runs beside it."""
    return Recorder(PostgresLedger(pool), topic=topics_of(settings).events.name, now=now)


def tracer_of(
    settings: Settings,
    reader: LogReader,
    pool: AsyncConnectionPool[Any],
    *,
    positions: Callable[[], Awaitable[Mapping[str, int]]],
    parked: Callable[[], Awaitable[Sequence[ParkedReaction]]],
) -> EventTracer:
    """Looks into Kafka only where one is named."""
    finder: Finder | None = KafkaFinder(settings.cluster()) if settings.kafka else None
    return EventTracer(
        reader=reader,
        connections=pool,
        ledger=PostgresLedger(pool),
        topic=topics_of(settings).events,
        finder=finder,
        reactions=REACTIONS,
        positions=positions,
        parked=parked,
    )
