"""What outcomes say of a provider: moving averages of errors and latency over its last ones. Pure, without events."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

from domain.provider_health.rules import HealthRules

MOST_OUTCOMES = 64
"""Of one provider are remembered: at the default weight the oldest counts a millionth. So its health is a function of
a short piece of the log, from wherever that is read."""
_PARTS = 1_000_000

Level = Literal["healthy", "degraded", "failing"]
FAILURES = frozenset({"overloaded", "timeout", "unreachable", "malformed", "cut_stream"})
"""Kinds of failure that tell of the provider's own trouble."""
ANSWERED = frozenset({"refused", "output_too_long", "not_kept"})
"""Kinds of failure behind which the provider did answer. Any other says nothing about its health: our own rate limit,
our key, our credit, a request that nobody would take, a worker that died."""


def judged(kind: str) -> bool | None:
    """Whether a failed attempt shows a provider that works: False for its own trouble, None for no evidence."""
    if kind in FAILURES:
        return False
    return True if kind in ANSWERED else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one attempt ended at a provider."""

    model: str
    ok: bool
    latency_ms: int | None
    at: datetime
    position: int


@dataclass(frozen=True, slots=True)
class Signal:
    """Averages over some outcomes; nothing known reads as healthy."""

    error_rate: Decimal = Decimal(0)
    latency_ms: int | None = None
    samples: int = 0

    @classmethod
    def of(cls, outcomes: Iterable[Outcome], alpha: Decimal) -> "Signal":
        """Beginning without errors; whole numbers, so that every machine finds the same."""
        weight = int(alpha * _PARTS)
        errors, latency, samples = 0, None, 0
        for each in outcomes:
            errors += (weight * ((0 if each.ok else _PARTS) - errors)) // _PARTS
            samples += 1
            if each.ok and each.latency_ms is not None:
                known = each.latency_ms if latency is None else latency
                latency = known + weight * (each.latency_ms - known) // _PARTS
        return cls(Decimal(errors) / _PARTS, latency, samples)

    def level(self, rules: HealthRules, before: Level = "healthy") -> Level:
        """With some slack on the way back, so that it does not flutter."""
        if self.error_rate >= rules.open_at and self.samples >= rules.minimum_samples:
            return "failing"
        slow = rules.slow_ms is not None and self.latency_ms is not None and self.latency_ms >= rules.slow_ms
        back = rules.degraded_at if before == "healthy" else rules.healthy_at
        return "degraded" if slow or self.error_rate >= back else "healthy"


@dataclass(slots=True)
class Window:
    """The last outcomes of one provider, the oldest first."""

    outcomes: deque[Outcome] = field(default_factory=lambda: deque[Outcome](maxlen=MOST_OUTCOMES))

    def add(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def forget(self, model: str | None) -> None:
        """What was before a circuit closed says nothing about what comes; all of it, or one model's."""
        kept = [each for each in self.outcomes if model is not None and each.model != model]
        self.outcomes.clear()
        self.outcomes.extend(kept)

    def recent(self, now: datetime, rules: HealthRules) -> Sequence[Outcome]:
        """Those that are not too old."""
        since = now - timedelta(seconds=rules.window_seconds)
        return [each for each in self.outcomes if each.at >= since]

    def finding(self, now: datetime, rules: HealthRules, before: Level) -> "Finding":
        """What the newest outcome makes of the provider, or of its model alone where the others go on answering."""
        recent = self.recent(now, rules)
        newest = recent[-1]
        whole = Signal.of(recent, rules.alpha)
        own = Signal.of((each for each in recent if each.model == newest.model), rules.alpha)
        others = Signal.of((each for each in recent if each.model != newest.model), rules.alpha)
        others_answer = others.samples > 0 and others.error_rate < rules.degraded_at
        if others_answer and own.level(rules) == "failing":
            return Finding(newest.model, "failing", own, newest.position)
        level = whole.level(rules, before)
        if level == "failing" and others_answer:
            level = "degraded"
        if level != "failing" and own.level(rules) == "failing":
            return Finding(None, "failing", own, newest.position)
        return Finding(None, level, whole, newest.position)


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of a provider, or of one of its models, at a position of the log."""

    model: str | None
    level: Level
    signal: Signal
    through: int
