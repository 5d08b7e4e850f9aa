"""Judges circuits from the log alone: who was let through, why they opened, whether they were probed in time."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from domain.log import StoredEvent

TROUBLE = {"overloaded", "timeout", "unreachable", "malformed", "cut_stream"}
"""Failures that are a provider's own; spelled again, so that a slip of the product's list is noticed."""
FAILED = {"llm_job.failed", "llm_job.retry_scheduled", "llm_job.rerouted"}


@dataclass
class _Known:
    """One provider, as its events tell."""

    open: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    probes: dict[str, tuple[str, datetime]] = field(default_factory=dict[str, tuple[str, datetime]])
    troubles: list[str | None] = field(default_factory=list[str | None])
    """Kinds of the outcomes since a circuit closed last; None for an answer."""
    refused_credit: bool = False
    late: set[str] = field(default_factory=set[str])
    """Attempts that reported after they had been given up: their events say no kind."""


class Judge:
    """Reads the log once, in pieces that hold whole appends; finds every breach of what circuits promise."""

    def __init__(self, *, minimum_samples: int = 4) -> None:
        self.faults: list[str] = []
        self._minimum = minimum_samples
        self._known: defaultdict[str, _Known] = defaultdict(_Known)
        self._at: dict[str, str] = {}

    def read(self, log: Sequence[StoredEvent]) -> None:
        """Go on."""
        for position, each in enumerate(log):
            said = each.payload()
            if each.type == "llm_job.late_usage":
                self._known[self._at[said["attempt_id"]]].late.add(said["attempt_id"])
            elif each.type in FAILED or each.type == "llm_job.completed":
                _count(self._known[said["provider"]], each.type, said)
            elif each.type == "llm_job.admitted":
                self._at[said["attempt_id"]] = said["provider"]
                # The circuit half-opens in the same append, behind the job's own events.
                append = [other for other in log[position : position + 20] if other.command_id == each.command_id]
                self.faults += _admitted(self._known[said["provider"]], each, said, append)
            elif each.type.startswith("provider.") and "provider" in said:
                self.faults += _circuit(self._known[said["provider"]], each, said, self._minimum)


def faults_of(log: Sequence[StoredEvent], *, minimum_samples: int = 4) -> list[str]:
    """Every breach in a whole log, in words."""
    judge = Judge(minimum_samples=minimum_samples)
    judge.read(log)
    return judge.faults


def unprobed(log: Sequence[StoredEvent], now: datetime, patience: timedelta) -> list[str]:
    """Circuits that nobody has probed although they might have been for so long; jobs must have been waiting."""
    since: dict[tuple[str, str], datetime] = {}
    for each in log:
        said = each.payload()
        place = (said.get("provider", ""), said.get("model") or "")
        if each.type == "provider.circuit_opened" and said["retry_at"]:
            since[place] = datetime.fromisoformat(said["retry_at"])
        elif each.type in ("provider.circuit_closed", "provider.circuit_half_opened"):
            since.pop(place, None)
    return [f"nobody probed {place} since {at}" for place, at in since.items() if now - at > patience]


def _count(known: _Known, kind: str, said: dict[str, Any]) -> None:
    if kind == "llm_job.completed":
        known.troubles.append(None)
    elif said["kind"] in TROUBLE:
        known.troubles.append(said["kind"])
    elif said["kind"] == "credit_exhausted":
        known.refused_credit = True


def _admitted(known: _Known, each: StoredEvent, said: dict[str, Any], append: Sequence[StoredEvent]) -> list[str]:
    stopping = [model for model in ("", said["model"]) if model in known.open]
    mine = {
        other.payload()["model"] or ""
        for other in append
        if other.type == "provider.circuit_half_opened" and other.payload()["attempt_id"] == said["attempt_id"]
    }
    wrong: list[str] = []
    if set(stopping) - mine:
        wrong.append(f"{each.position}: let through an open circuit of {said['provider']}")
    if bool(stopping) != said["probe"]:
        wrong.append(f"{each.position}: an attempt that probes must say so, and no other")
    return wrong


def _circuit(known: _Known, each: StoredEvent, said: dict[str, Any], minimum_samples: int) -> list[str]:
    model = said.get("model") or ""
    match each.type:
        case "provider.circuit_opened":
            fault = _without_cause(known, each, said, model, minimum_samples)
            known.open[model] = said
            known.probes.pop(model, None)
            return fault
        case "provider.circuit_half_opened":
            running = known.probes.get(model)
            known.probes[model] = said["attempt_id"], datetime.fromisoformat(said["expires_at"])
            if running and each.recorded_at < running[1]:
                return [f"{each.position}: two probes of {said['provider']} at once"]
            retry_at = known.open[model]["retry_at"] if model in known.open else None
            if retry_at is None:
                return [f"{each.position}: nobody may probe {said['provider']} now"]
            if each.recorded_at < datetime.fromisoformat(retry_at) and not said["last_resort"]:
                return [f"{each.position}: {said['provider']} was probed too soon"]
        case "provider.circuit_closed":
            del known.open[model]
            known.probes.pop(model, None)
            if not model:
                known.troubles.clear()
        case "provider.probe_abandoned":
            known.probes.pop(model, None)
        case _:
            pass
    return []


def _without_cause(
    known: _Known, each: StoredEvent, said: dict[str, Any], model: str, minimum_samples: int
) -> list[str]:
    troubles = known.troubles[-64:]
    if said["attempt_id"] in known.late:
        return []
    match said["cause"]:
        case "errors":
            enough = len(troubles) >= minimum_samples and sum(kind is not None for kind in troubles) >= 3
            return [] if enough else [f"{each.position}: opened after {troubles}"]
        case "probe_failed":
            is_it = known.probes.get(model, ("", None))[0] == said["attempt_id"] and troubles and troubles[-1]
            return [] if is_it else [f"{each.position}: opened by a probe that did not fail"]
        case "credit_exhausted":
            return [] if known.refused_credit else [f"{each.position}: nobody refused for want of credit"]
        case _:
            return []
