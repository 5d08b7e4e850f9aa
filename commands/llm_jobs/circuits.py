"""Circuits on the way of a job: who may pass to a provider, who probes it, and what an outcome shows of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self
from uuid import UUID

from commands.work import UnitOfWork
from domain.errors import Refused
from domain.ids import health_settings_id, provider_health_id
from domain.kernel import Aggregate
from domain.llm_jobs import Attempt, LlmJob, Patience
from domain.provider_health import SHORTEST_LIMIT, HealthRules, HealthSettings, ProviderHealth, judged
from domain.values import Target

TOLD = frozenset({"credit_exhausted", "rate_limited"})
"""Kinds of failure that a provider's health hears of at once."""


def health_rules(work: UnitOfWork) -> HealthRules:
    """Those that somebody chose, or the defaults."""
    settings = work.find(HealthSettings, health_settings_id())
    return settings.rules if settings else HealthRules()


def patience(rules: HealthRules) -> Patience:
    """How long a job bears with one target."""
    return Patience(rules.tries_per_target, timedelta(seconds=rules.rate_limit_patience_seconds))


@dataclass(frozen=True, slots=True)
class Passage:
    """A job's way to one target, checked before anything is triggered."""

    job: LlmJob
    target: Target
    health: ProviderHealth | None
    now: datetime
    why: str = "circuit_open"
    """Why it does not go where its turn was."""
    is_last_resort: bool = False

    @classmethod
    def of(cls, job: LlmJob, target: Target, work: UnitOfWork) -> Self:
        """Refused where a circuit is in the way, and where an earlier target of the job is free."""
        order = job.route.order
        if target not in order:
            raise Refused(f"the job does not go to {target.label}, or no more", code="not_due")
        before = order[: order.index(target)]
        streams = {each: provider_health_id(each.provider) for each in [*before, target]}
        known = work.find_all(ProviderHealth, streams.values())
        limited = False
        for each in before:
            health = known[streams[each]]
            passes = health is None or health.lets_pass(each.model, work.now)
            if passes and (health is None or not health.has_limits(work.now)):
                raise Refused(f"it is the turn of {each.label}, which is free", code="other_target")
            limited = limited or passes
        health = known[streams[target]]
        why = "rate_limited" if limited else "circuit_open"
        if health is None or health.lets_pass(target.model, work.now):
            return cls(job, target, health, work.now, why)
        if target == order[-1] and health.lets_pass(target.model, work.now, last_resort=True):
            return cls(job, target, health, work.now, why, is_last_resort=True)
        raise Refused(
            f"the circuit of {target.label} is open",
            code="provider_unhealthy",
            retry_at=health.blocked_until(target.model, work.now),
        )

    @property
    def is_probe(self) -> bool:
        """Whether the attempt finds out for all others."""
        return self.health is not None and bool(self.health.circuits_of(self.target.model))

    def take(self, attempt: Attempt, expires_at: datetime) -> None:
        """Say where the job goes, where that is not its turn; and keep others away while it finds out."""
        if self.target != self.job.target:
            self.job.reroute(attempt.number, self.job.target, self.target, kind=self.why)
        if self.health is not None and self.is_probe:
            self.health.begin_probe(
                self.target.model,
                attempt.attempt_id,
                self.job.id,
                expires_at=expires_at,
                now=self.now,
                last_resort=self.is_last_resort,
            )


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an attempt's end says of its provider; loaded before anything is triggered."""

    attempt: Attempt
    health: ProviderHealth | None
    rules: HealthRules
    work: UnitOfWork
    kind: str | None = None
    """Of its failure; None for an answer."""

    @classmethod
    def of(cls, attempt: Attempt, work: UnitOfWork, kind: str | None = None) -> Self:
        """Nothing is loaded for attempts that say nothing by themselves: nearly all of them."""
        if not attempt.probe and kind not in TOLD:
            return cls(attempt, None, HealthRules(), work, kind)
        stream = provider_health_id(attempt.provider)
        work.find_all(Aggregate, [stream, health_settings_id()])
        return cls(attempt, work.find(ProviderHealth, stream), health_rules(work), work, kind)

    def tell(self, *, key_id: UUID | None = None, wait: timedelta | None = None) -> None:
        """Circuits and limits follow in the same append."""
        attempt, now, health = self.attempt, self.work.now, self.health
        limited = self.kind == "rate_limited" and wait is not None and wait >= SHORTEST_LIMIT
        if health is None:
            if self.kind != "credit_exhausted" and not limited:
                return
            stream = provider_health_id(attempt.provider)
            health = self.work.add(ProviderHealth(id=stream, name=attempt.provider))
        if self.kind == "credit_exhausted":
            health.exhaust_credit(attempt.attempt_id, key_id, self.rules, now)
        elif limited and wait:
            health.limit_rate(attempt.attempt_id, key_id, now + wait, now)
        if attempt.probe:
            ok = True if self.kind is None else judged(self.kind)
            health.end_probe(attempt.attempt_id, ok=ok, kind=self.kind or "answered", rules=self.rules, now=now)
