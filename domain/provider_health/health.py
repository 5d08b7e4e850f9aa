"""The health of one provider: its level, its circuits, its rate limits; its events, what it decides, how it follows."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from domain.errors import Refused
from domain.kernel import Aggregate, Created, event
from domain.provider_health.circuits import Circuit, Probe
from domain.provider_health.rules import AllOpen, HealthRules
from domain.provider_health.signals import Finding, Level
from domain.values import Code, Fraction, Instant, ModelName, Name, Sealed, Slug, Value

Count = Annotated[int, Field(ge=0)]
WHOLE = ""
"""Stands for the whole provider, among names of its models."""
MOST_LIMITS = 20
SHORTEST_LIMIT = timedelta(seconds=1)
"""A limit that lasts so much longer than the known one is news."""
CAUSES = {
    "errors": "too many of its last attempts failed: look at the provider's status page; a probe finds out by itself",
    "probe_failed": "the probe failed as well: look at the provider's status page; the next probe comes later",
    "credit_exhausted": "the provider's credit is used up: add credit or raise the spend limit there, then close the"
    " circuit, or wait for the next probe",
    "operator": "an operator opened it: toybox providers close lets jobs through again",
}
"""Why a circuit is open and what to do about it, by cause."""


class RateLimit(Value):
    """How long the provider does not want to hear of one of our keys; None is the key of the environment."""

    key_id: UUID | None
    until: Instant


class ProviderHealth(Aggregate):
    """What is known of a provider's health, and who may pass; kept by name, registered or built in."""

    TOPIC = "provider_health"
    FOLD = 1
    name: str
    level: Level
    circuits: dict[str, Circuit]
    limits: list[RateLimit]

    class HealthWatched(Created, type="provider.health_watched"):
        """Something happened to a provider for the first time that its health depends on."""

        name: Slug

    class HealthChanged(Aggregate.Event, type="provider.health_changed"):
        """The averages over the last outcomes of a provider crossed a threshold."""

        provider: Slug
        level: Level
        previous: Level
        error_rate: Fraction
        latency_ms: Count | None
        samples: Count
        through: Count

    class CircuitOpened(Aggregate.Event, type="provider.circuit_opened"):
        """No job is sent to a provider, or to one of its models, for a while; jobs go to their next target, or wait."""

        provider: Slug
        model: ModelName | None
        cause: Code
        reason: Name
        note: Sealed | None
        openings: Count
        retry_at: Instant | None
        all_open: AllOpen
        error_rate: Fraction | None
        samples: Count | None
        attempt_id: UUID | None

    class CircuitHalfOpened(Aggregate.Event, type="provider.circuit_half_opened"):
        """One job is let through to find out whether the provider works again."""

        provider: Slug
        model: ModelName | None
        attempt_id: UUID
        job_id: UUID
        expires_at: Instant
        last_resort: bool

    class ProbeAbandoned(Aggregate.Event, type="provider.probe_abandoned"):
        """The job that was to find out ended without saying anything about the provider; the next one may try."""

        provider: Slug
        model: ModelName | None
        attempt_id: UUID
        kind: Code

    class CircuitClosed(Aggregate.Event, type="provider.circuit_closed"):
        """Jobs are sent there again."""

        provider: Slug
        model: ModelName | None
        cause: Code
        note: Sealed | None
        attempt_id: UUID | None

    class RateLimited(Aggregate.Event, type="provider.rate_limited"):
        """Our own limit at the provider is reached with one key: jobs that use it wait, nobody else does."""

        provider: Slug
        key_id: UUID | None
        until: Instant
        attempt_id: UUID

    class CreditExhausted(Aggregate.Event, type="provider.credit_exhausted"):
        """The provider answers no more until somebody pays."""

        provider: Slug
        key_id: UUID | None
        attempt_id: UUID
        reason: Name

    # --- decisions ---

    @event(HealthWatched)
    def __init__(self, id: UUID, name: str) -> None:  # noqa: ARG002 -- the library's name for it
        self.name, self.level = name, "healthy"
        self.circuits, self.limits = {}, []

    def circuits_of(self, model: str) -> dict[str, Circuit]:
        """The circuits that are not closed and that a request for this model has to pass."""
        return {each: self.circuits[each] for each in (WHOLE, model) if each in self.circuits}

    def lets_pass(self, model: str, now: datetime, *, last_resort: bool = False) -> bool:
        """Whether a request for this model may go out, be it as a probe."""
        found = self.circuits_of(model).values()
        return all(each.lets_probe(now, last_resort=last_resort) for each in found)

    def blocked_until(self, model: str, now: datetime) -> datetime | None:
        """When to ask again, if nobody says more; None where only an operator helps."""
        times = [each.blocked_until(now) for each in self.circuits_of(model).values() if not each.lets_probe(now)]
        known = [each for each in times if each is not None]
        return max(known) if times and len(known) == len(times) else None

    def limited_until(self, key_id: UUID | None, now: datetime) -> datetime | None:
        """Until when a key has to wait; None where it need not."""
        return next((each.until for each in self.limits if each.key_id == key_id and each.until > now), None)

    def has_limits(self, now: datetime) -> bool:
        """Whether any key has to wait."""
        return any(each.until > now for each in self.limits)

    def begin_probe(
        self, model: str, attempt_id: UUID, job_id: UUID, *, expires_at: datetime, now: datetime, last_resort: bool
    ) -> None:
        """Let this attempt, and no other, find out."""
        for each, circuit in self.circuits_of(model).items():
            if not circuit.lets_probe(now, last_resort=last_resort):
                raise Refused(f"the circuit of provider {self.name} is open", code="provider_unhealthy")
            self.trigger_event(
                ProviderHealth.CircuitHalfOpened,
                provider=self.name,
                model=each or None,
                attempt_id=attempt_id,
                job_id=job_id,
                expires_at=expires_at,
                last_resort=last_resort and circuit.retry_at is not None and now < circuit.retry_at,
            )

    def end_probe(self, attempt_id: UUID, *, ok: bool | None, kind: str, rules: HealthRules, now: datetime) -> None:
        """What the probe showed: the circuit closes, opens for longer, or waits for the next one."""
        for each, circuit in list(self.circuits.items()):
            if circuit.probe is None or circuit.probe.attempt_id != attempt_id:
                continue
            if ok:
                self._close(each, cause="probe", note=None, attempt_id=attempt_id)
            elif ok is False:
                self._open(each, "probe_failed", rules, now, attempt_id=attempt_id)
            else:
                self.trigger_event(
                    ProviderHealth.ProbeAbandoned,
                    provider=self.name,
                    model=each or None,
                    attempt_id=attempt_id,
                    kind=kind,
                )

    def exhaust_credit(self, attempt_id: UUID, key_id: UUID | None, rules: HealthRules, now: datetime) -> None:
        """Open the circuit of the whole provider, at once."""
        known = self.circuits.get(WHOLE)
        if known and known.cause in ("credit_exhausted", "operator") and not self._is_probe(known, attempt_id):
            return
        self.trigger_event(
            ProviderHealth.CreditExhausted,
            provider=self.name,
            key_id=key_id,
            attempt_id=attempt_id,
            reason=CAUSES["credit_exhausted"],
        )
        self._open(WHOLE, "credit_exhausted", rules, now, attempt_id=attempt_id)

    def limit_rate(self, attempt_id: UUID, key_id: UUID | None, until: datetime, now: datetime) -> None:
        """Note until when a key has to wait, where that is news."""
        known = self.limited_until(key_id, now)
        if until - (known or now) >= SHORTEST_LIMIT:
            self.trigger_event(
                ProviderHealth.RateLimited, provider=self.name, key_id=key_id, until=until, attempt_id=attempt_id
            )

    def follow(self, finding: Finding, rules: HealthRules, now: datetime) -> None:
        """Take over what the outcomes say; a circuit that is not closed has its probe to decide it."""
        if self.circuits_of(finding.model or WHOLE):
            raise Refused(f"the circuit of provider {self.name} is open already", code="not_due")
        opens = finding.level == "failing"
        if finding.model is None and finding.level != self.level:
            self._change_level(finding)
        elif not opens:
            raise Refused(f"the health of provider {self.name} is known to be so", code="not_due")
        if opens:
            signal = finding.signal
            self._open(
                finding.model or WHOLE, "errors", rules, now, error_rate=signal.error_rate, samples=signal.samples
            )

    def open_by_hand(self, model: str | None, note: str | None) -> None:
        """Let nobody through until somebody closes it."""
        known = self.circuits.get(model or WHOLE)
        if known and known.cause == "operator":
            raise Refused(f"the circuit of {self._named(model)} was opened by an operator before", code="circuit_open")
        self._trigger_opening(model or WHOLE, "operator", openings=1, retry_at=None, all_open="wait", note=note)

    def close_by_hand(self, model: str | None, note: str | None) -> None:
        """Let everybody through again."""
        if (model or WHOLE) not in self.circuits:
            raise Refused(f"the circuit of {self._named(model)} is closed", code="circuit_closed")
        self._close(model or WHOLE, cause="operator", note=note, attempt_id=None)

    def _named(self, model: str | None) -> str:
        return f"model {self.name}/{model}" if model else f"provider {self.name}"

    @staticmethod
    def _is_probe(circuit: Circuit, attempt_id: UUID) -> bool:
        return circuit.probe is not None and circuit.probe.attempt_id == attempt_id

    def _open(self, of: str, cause: str, rules: HealthRules, now: datetime, **evidence: Any) -> None:
        known = self.circuits.get(of)
        openings = known.openings + 1 if known else 1
        credit = cause == "credit_exhausted" or (known is not None and known.cause == "credit_exhausted")
        rest = rules.rest(openings, f"{self.id}|{of}|{self.version}", credit=credit)
        self._trigger_opening(
            of, cause, openings=openings, retry_at=now + rest, all_open=rules.all_open, note=None, **evidence
        )

    def _trigger_opening(self, of: str, cause: str, **facts: Any) -> None:
        evidence: dict[str, Any] = {"error_rate": None, "samples": None, "attempt_id": None}
        self.trigger_event(
            ProviderHealth.CircuitOpened,
            provider=self.name,
            model=of or None,
            cause=cause,
            reason=CAUSES[cause],
            **(evidence | facts),
        )

    def _close(self, of: str, *, cause: str, note: str | None, attempt_id: UUID | None) -> None:
        self.trigger_event(
            ProviderHealth.CircuitClosed,
            provider=self.name,
            model=of or None,
            cause=cause,
            note=note,
            attempt_id=attempt_id,
        )

    def _change_level(self, finding: Finding) -> None:
        self.trigger_event(
            ProviderHealth.HealthChanged,
            provider=self.name,
            level=finding.level,
            previous=self.level,
            error_rate=finding.signal.error_rate,
            latency_ms=finding.signal.latency_ms,
            samples=finding.signal.samples,
            through=finding.through,
        )

    def probing(self) -> Iterator[tuple[str | None, Probe]]:
        """Which models' circuits are being probed, by whom."""
        for each, circuit in self.circuits.items():
            if circuit.probe:
                yield each or None, circuit.probe

    # --- appliers ---

    @event(HealthChanged)
    def _health_changed(self, level: Level) -> None:
        self.level = level

    @event(CircuitOpened)
    def _circuit_opened(
        self, *, model: str | None, cause: str, openings: int, retry_at: datetime | None, all_open: AllOpen
    ) -> None:
        self.circuits[model or WHOLE] = Circuit(cause=cause, openings=openings, retry_at=retry_at, all_open=all_open)

    @event(CircuitHalfOpened)
    def _circuit_half_opened(self, *, model: str | None, attempt_id: UUID, job_id: UUID, expires_at: datetime) -> None:
        probe = Probe(attempt_id=attempt_id, job_id=job_id, expires_at=expires_at)
        self.circuits[model or WHOLE] = self.circuits[model or WHOLE].model_copy(update={"probe": probe})

    @event(ProbeAbandoned)
    def _probe_abandoned(self, model: str | None) -> None:
        self.circuits[model or WHOLE] = self.circuits[model or WHOLE].model_copy(update={"probe": None})

    @event(CircuitClosed)
    def _circuit_closed(self, model: str | None) -> None:
        del self.circuits[model or WHOLE]
        if model is None:
            self.level = "healthy"

    @event(RateLimited)
    def _rate_limited(self, key_id: UUID | None, until: datetime) -> None:
        others = [each for each in self.limits if each.key_id != key_id]
        self.limits = [*others, RateLimit(key_id=key_id, until=until)][-MOST_LIMITS:]

    @event(CreditExhausted)
    def _credit_exhausted(self) -> None:
        """The opening of the circuit says the rest."""
