"""Health of providers: what outcomes say of them, circuits that open and are probed, rate limits and used-up credit."""

from domain.provider_health.circuits import Circuit, Probe
from domain.provider_health.health import CAUSES, SHORTEST_LIMIT, WHOLE, ProviderHealth, RateLimit
from domain.provider_health.rules import AllOpen, HealthRules, HealthSettings
from domain.provider_health.signals import FAILURES, MOST_OUTCOMES, Finding, Level, Outcome, Signal, Window, judged

__all__ = [
    "CAUSES",
    "FAILURES",
    "MOST_OUTCOMES",
    "SHORTEST_LIMIT",
    "WHOLE",
    "AllOpen",
    "Circuit",
    "Finding",
    "HealthRules",
    "HealthSettings",
    "Level",
    "Outcome",
    "Probe",
    "ProviderHealth",
    "RateLimit",
    "Signal",
    "Window",
    "judged",
]
