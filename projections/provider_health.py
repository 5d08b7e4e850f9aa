"""Answers "which providers work, which rest, until when and why?": one view per provider, and its last outcomes."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Literal
from uuid import UUID

from domain.ids import provider_health_id
from domain.log import StoredEvent
from domain.provider_health import FAILURES, MOST_OUTCOMES, Level, ProviderHealth
from domain.values import Fraction, Instant, Sealed
from projections.documents import Column, Document, Row
from projections.listing import bounded
from projections.paging import Page
from projections.projector import Connection, on
from projections.views import View, without

MOST_LIMITS = 20


class CircuitView(View):
    """One circuit that is not closed."""

    model: str | None
    """None: the whole provider's."""
    state: Literal["open", "half_open"]
    cause: str
    reason: str
    """And what to do about it."""
    note: Sealed | None
    """What the operator said."""
    openings: int
    """In a row, without having been closed in between."""
    opened_at: Instant
    retry_at: Instant | None
    """From when a job may probe it; None: only an operator closes it."""
    probed_by: UUID | None
    """The job that finds out now."""


class LimitView(View):
    """How long one of our keys has to wait."""

    key_id: UUID | None
    """None: the key of the environment."""
    until: Instant


class ProviderHealthView(View):
    """What is known of a provider's health."""

    name: str
    level: Level = "healthy"
    since: Instant | None = None
    """Since when it has this level; None where nothing ever happened to it."""
    error_rate: Fraction | None = None
    """The averages that changed the level."""
    latency_ms: int | None = None
    circuits: tuple[CircuitView, ...] = ()
    limits: tuple[LimitView, ...] = ()
    """Some may be over."""
    credit_exhausted_at: Instant | None = None
    """Since the circuit was closed last."""
    version: int = 1


class RecentView(View):
    """The last outcomes of a provider, counted."""

    attempts: int
    answered: int
    failed: int
    """By trouble of the provider's own."""
    median_ms: int | None
    last_at: Instant | None


class ProviderHealths(Document[ProviderHealthView]):
    """Answers "which providers work, which rest, until when and why?": one view per provider."""

    name = "provider_healths"
    begins = ProviderHealth.HealthWatched
    columns: ClassVar[Mapping[str, Column]] = {"name": Column(), "level": Column()}
    indexes: ClassVar[Sequence[Sequence[str]]] = (("name",),)

    @on(ProviderHealth.HealthWatched)
    def watched(self, _view: None, event: ProviderHealth.HealthWatched, stored: StoredEvent) -> ProviderHealthView:
        """Healthy until something else is said."""
        return ProviderHealthView(name=event.name, since=stored.recorded_at)

    @on(ProviderHealth.HealthChanged)
    def changed(
        self, view: ProviderHealthView, event: ProviderHealth.HealthChanged, stored: StoredEvent
    ) -> ProviderHealthView:
        """Another level."""
        averages = {"error_rate": event.error_rate, "latency_ms": event.latency_ms}
        return view.but(level=event.level, since=stored.recorded_at, **averages)

    @on(ProviderHealth.CircuitOpened)
    def opened(
        self, view: ProviderHealthView, event: ProviderHealth.CircuitOpened, stored: StoredEvent
    ) -> ProviderHealthView:
        """Anew, or for longer."""
        circuit = CircuitView(
            model=event.model,
            state="open",
            cause=event.cause,
            reason=event.reason,
            note=event.note,
            openings=event.openings,
            opened_at=stored.recorded_at,
            retry_at=event.retry_at,
            probed_by=None,
        )
        others = without(view.circuits, lambda each: each.model == event.model)
        return view.but(circuits=(*others, circuit))

    @on(ProviderHealth.CircuitHalfOpened)
    def half_opened(
        self, view: ProviderHealthView, event: ProviderHealth.CircuitHalfOpened, _stored: StoredEvent
    ) -> ProviderHealthView:
        """Somebody finds out."""
        return _circuit(view, event.model, state="half_open", probed_by=event.job_id)

    @on(ProviderHealth.ProbeAbandoned)
    def abandoned(
        self, view: ProviderHealthView, event: ProviderHealth.ProbeAbandoned, _stored: StoredEvent
    ) -> ProviderHealthView:
        """The next one may."""
        return _circuit(view, event.model, state="open", probed_by=None)

    @on(ProviderHealth.CircuitClosed)
    def closed(
        self, view: ProviderHealthView, event: ProviderHealth.CircuitClosed, stored: StoredEvent
    ) -> ProviderHealthView:
        """And with the whole provider's circuit, whatever was said of it before."""
        after = view.but(circuits=without(view.circuits, lambda each: each.model == event.model))
        if event.model is None:
            forgotten = {"error_rate": None, "latency_ms": None, "credit_exhausted_at": None}
            return after.but(level="healthy", since=stored.recorded_at, **forgotten)
        return after

    @on(ProviderHealth.CreditExhausted)
    def exhausted(
        self, view: ProviderHealthView, _event: ProviderHealth.CreditExhausted, stored: StoredEvent
    ) -> ProviderHealthView:
        """The circuit opens in the same append."""
        return view.but(credit_exhausted_at=stored.recorded_at)

    @on(ProviderHealth.RateLimited)
    def limited(
        self, view: ProviderHealthView, event: ProviderHealth.RateLimited, _stored: StoredEvent
    ) -> ProviderHealthView:
        """One key waits."""
        others = without(view.limits, lambda each: each.key_id == event.key_id)
        return view.but(limits=(*others, LimitView(key_id=event.key_id, until=event.until))[-MOST_LIMITS:])


def _circuit(view: ProviderHealthView, model: str | None, **changes: object) -> ProviderHealthView:
    return view.but(circuits=tuple(each.but(**changes) if each.model == model else each for each in view.circuits))


_RECENT: Final = (
    "select count(*), count(*) filter (where status = 'completed'),"
    " count(*) filter (where failure = any(%(failures)s)),"
    " (percentile_cont(0.5) within group (order by total_ms))::bigint, max(ended_at) from"
    " (select status, failure, total_ms, ended_at from llm_job_attempts where provider = %(provider)s"
    " and ended_at is not null order by ended_at desc limit %(most)s) as last"
)


async def recent_outcomes(connection: Connection, provider: str) -> RecentView:
    """The last outcomes at a provider. Reads LlmJobs."""
    values = {"provider": provider, "failures": sorted(FAILURES), "most": MOST_OUTCOMES}
    row = await (await connection.execute(_RECENT, values)).fetchone()
    attempts, answered, failed, median, last = row or (0, 0, 0, None, None)
    return RecentView(attempts=attempts, answered=answered, failed=failed, median_ms=median, last_at=last)


async def provider_healths(
    connection: Connection, *, level: Level | None = None, cursor: str | None = None, limit: int = 50
) -> Page[Row[ProviderHealthView]]:
    """By name. Reads ProviderHealths."""
    where = {"level": level} if level else {}
    return await ProviderHealths.page(connection, where=where, order_by="name", cursor=cursor, limit=bounded(limit))


async def healths_of(connection: Connection, names: Sequence[str]) -> Mapping[str, ProviderHealthView]:
    """Of these providers, as far as anything ever happened to them. Reads ProviderHealths."""
    rows = await ProviderHealths.many(connection, [provider_health_id(each) for each in names])
    return {row.view.name: row.view for row in rows}
