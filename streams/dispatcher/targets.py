"""Where a worker sends a job: to the first of its targets that no circuit and no rate limit keeps it from."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from domain.errors import Refused
from domain.ids import provider_health_id
from domain.kernel import evolve
from domain.llm_jobs import LlmJob
from domain.log import StoredEvent
from domain.provider_health import ProviderHealth
from domain.values import Target

LONGEST_LOOK = 5.0
"""Seconds after which a job that no target is free for is looked at again, should nothing be heard before."""
SHORTEST_LOOK = 0.05
ELSEWHERE = frozenset({"provider_unhealthy", "other_target"})
"""Codes of admissions that were refused because a circuit changed since its worker looked."""
NEWS = frozenset(
    each.TYPE
    for each in (
        ProviderHealth.CircuitOpened,
        ProviderHealth.CircuitHalfOpened,
        ProviderHealth.CircuitClosed,
        ProviderHealth.ProbeAbandoned,
        ProviderHealth.RateLimited,
    )
)
"""After these a job may have to go elsewhere, or need wait no longer."""
History = Callable[[UUID], Awaitable[Sequence[StoredEvent]]]
"""A stream's events as the log has them now."""


def key_of(model: object) -> UUID | None:
    """The stored key that a client pays with; None for one of the environment."""
    key_id = getattr(model, "key_id", None)
    return key_id if isinstance(key_id, UUID) else None


@dataclass(frozen=True, slots=True)
class Way:
    """Where a job goes now, or how long it is best left alone."""

    target: Target
    wait: float | None = None


@dataclass(slots=True)
class Circuits:
    """What one worker knows of circuits and limits: a moment old, never the judge."""

    known: dict[UUID, tuple[float, ProviderHealth | None]] = field(
        default_factory=dict[UUID, tuple[float, ProviderHealth | None]]
    )
    changes: int = 0

    def heard(self, stored: StoredEvent) -> None:
        """The provider's health has changed: it is read again when it is needed next."""
        self.known.pop(stored.stream_id, None)
        self.changes += 1

    def forget(self, job: LlmJob) -> None:
        """An admission was refused: what was known was out of date."""
        for each in job.route.targets:
            self.known.pop(provider_health_id(each.provider), None)

    def forget_all(self) -> None:
        """Something may have happened that was not heard."""
        self.known.clear()
        self.changes += 1

    async def way(
        self, job: LlmJob, history: History, now: datetime, client: Callable[[str], Awaitable[object]]
    ) -> Way:
        """The first free target, in the order of the job's route."""
        order, waits = job.route.order, list[float]()
        for each in order:
            health = await self._health(each.provider, history)
            if health is None:
                return Way(each)
            last = each == order[-1]
            if not health.lets_pass(each.model, now, last_resort=last and len(waits) == len(order) - 1):
                waits.append(_seconds(health.blocked_until(each.model, now), now))
            elif limited := health.has_limits(now) and await _limit(health, client, now):
                waits.append(_seconds(limited, now))
            else:
                return Way(each)
        return Way(order[0], wait=min(waits))

    async def _health(self, provider: str, history: History) -> ProviderHealth | None:
        stream, now = provider_health_id(provider), time.monotonic()
        read_at, health = self.known.get(stream, (float("-inf"), None))
        if stream in self.known and (health is None or now - read_at < LONGEST_LOOK):
            return health
        health, changes = None, self.changes
        for stored in await history(stream):
            health = evolve(health, stored)
        if changes == self.changes:  # else it may be out of date already
            self.known[stream] = now, health
        return health


async def _limit(health: ProviderHealth, client: Callable[[str], Awaitable[object]], now: datetime) -> datetime | None:
    """Until when the key that would pay has to wait."""
    try:
        key_id = key_of(await client(health.name))
    except Refused:
        return None  # it is denied where it is prepared, with its reason
    return health.limited_until(key_id, now)


def _seconds(until: datetime | None, now: datetime) -> float:
    wait = LONGEST_LOOK if until is None else (until - now).total_seconds()
    return min(max(wait, SHORTEST_LOOK), LONGEST_LOOK)
