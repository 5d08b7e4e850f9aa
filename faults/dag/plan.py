"""Generated projects: chains, diamonds, fan-ins, calls that fail on purpose; and how each of them must end."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from uuid import UUID, uuid5

from domain.values import NAMESPACE

Trouble = Literal["server_error", "rate_limited", "cut", "quota", "refusal"]
Answer = Literal["approve", "edit", "respond"]
Policy = Literal["block", "skip"]

MAX_OUTPUT_TOKENS = 400
TIMEOUT_SECONDS = 8
RETRIES = 10
"""Of agents that must succeed: eleven attempts with three tries each outlast every kill and every planned failure."""
TRIES = (RETRIES + 1) * 3
TRANSIENT: tuple[Trouble, ...] = ("server_error", "rate_limited", "cut")
"""Failures that pass."""
DECISIONS: tuple[tuple[Answer, ...], ...] = (("approve",), ("respond", "approve"), ("edit",), ("approve",))
FATAL: tuple[Trouble, ...] = ("quota", "refusal", "server_error")


@dataclass(frozen=True, slots=True)
class Worker:
    """One agent of a plan."""

    name: str
    phase: str
    needs: tuple[str, ...]
    on_failure: Policy = "block"
    trouble: Trouble | None = None
    times: int = 0
    """How often its calls fail before they succeed; -1: always."""
    answers: tuple[Answer, ...] = ()
    """What is decided at its checkpoint, attempt after attempt; empty: it has none."""
    delay: float = 0.0

    @property
    def fails(self) -> bool:
        """Whether it can never succeed."""
        return self.times < 0

    @property
    def tag(self) -> str:
        """What tells its prompt from all others."""
        return f"[[{self.name}]]"

    @property
    def says(self) -> str:
        """The answer of its model."""
        return f"{self.name} answered with a few words that others read"


@dataclass(slots=True)
class Plan:
    """One project."""

    name: str
    project_id: UUID
    workers: list[Worker] = field(default_factory=list[Worker])

    def blueprint(self, provider: str, model: str) -> dict[str, Any]:
        """As it may be written in a file."""
        phases = dict.fromkeys(each.phase for each in self.workers)
        return {
            "blueprint": 1,
            "name": self.name,
            "description": "Generated: chains, diamonds, fan-ins, and calls that fail on purpose.",
            "defaults": {"provider": provider, "model": model, "max_output_tokens": MAX_OUTPUT_TOKENS},
            "phases": [
                {"name": phase, "agents": [_spec(each) for each in self.workers if each.phase == phase]}
                for phase in phases
            ],
        }

    def ends(self) -> tuple[str, dict[str, str]]:
        """How the project and each of its agents must end, whatever is killed on the way."""
        status: dict[str, str] = {}
        policy: dict[str, Policy] = {each.name: each.on_failure for each in self.workers}
        for phase in dict.fromkeys(each.phase for each in self.workers):
            members = [each for each in self.workers if each.phase == phase]
            for each in members:  # the generator names whoever is needed first
                status[each.name] = _end(each, status, policy)
            if any(status[each.name] in ("failed", "defined") and each.on_failure == "block" for each in members):
                rest = [each.name for each in self.workers if each.name not in status]
                return "failed", status | dict.fromkeys(rest, "defined")
        return "completed", status

    def behaviours(self) -> Iterator[dict[str, Any]]:
        """What the provider is told to do with the calls of each agent."""
        for each in self.workers:
            if each.trouble and each.times:
                headers = [["retry-after-ms", "300"]] if each.trouble == "rate_limited" else []
                yield {"kind": each.trouble, "times": each.times, "when": each.tag, "headers": headers}
            yield {"kind": "answer", "times": -1, "when": each.tag, "text": each.says, "delay": each.delay}


def _end(each: Worker, status: Mapping[str, str], policy: Mapping[str, Policy]) -> str:
    needed = [(status[name], policy[name]) for name in each.needs]
    if any(end == "skipped" or (end == "failed" and how == "skip") for end, how in needed):
        return "skipped"
    if any(end in ("failed", "defined") for end, _ in needed):
        return "defined"
    return "failed" if each.fails else "completed"


def _spec(each: Worker) -> dict[str, Any]:
    outputs = "".join(f"\n{name}: {{{{ outputs.{name} }}}}" for name in each.needs)
    return {
        "name": each.name,
        "instructions": "You are one of many.",
        "prompt": f"{each.tag} Do your part.{outputs}",
        "depends_on": list(each.needs),
        "on_failure": each.on_failure,
        "retries": 0 if each.fails else RETRIES,
        "timeout_seconds": TIMEOUT_SECONDS,
        **({"checkpoint": {"title": f"Is the work of {each.name} good?"}} if each.answers else {}),
    }


# --- inventing ---


class _Inventor:
    """Grows a graph shape by shape."""

    def __init__(self, rng: random.Random, letter: str) -> None:
        self._rng, self._letter = rng, letter
        self.workers: list[Worker] = []
        self._before: list[str] = []
        """Agents of earlier phases."""

    def phase(self, name: str, count: int) -> None:
        start = len(self.workers)
        while (left := count - (len(self.workers) - start)) > 0:
            shapes: list[Callable[[str, int], None]] = [self._chain, self._diamond, self._fan_in]
            self._rng.choice(shapes)(name, left)
        self._before += [each.name for each in self.workers[start:]]

    def _add(self, phase: str, needs: Sequence[str]) -> str:
        name = f"{self._letter}{len(self.workers):03}"
        delay = round(self._rng.uniform(0.1, 0.8), 2)
        self.workers.append(Worker(name, phase, tuple(dict.fromkeys(needs)), delay=delay))
        return name

    def _some_before(self) -> list[str]:
        return self._rng.sample(self._before, min(len(self._before), self._rng.randrange(3)))

    def _chain(self, phase: str, left: int) -> None:
        last = self._some_before()
        for _ in range(min(left, self._rng.randrange(2, 5))):
            last = [self._add(phase, last)]

    def _diamond(self, phase: str, left: int) -> None:
        top = self._add(phase, self._some_before())
        branches = [self._add(phase, [top]) for _ in range(min(left - 1, self._rng.randrange(2, 5)))]
        if left - 1 > len(branches):
            self._add(phase, branches)

    def _fan_in(self, phase: str, left: int) -> None:
        sources = [self._add(phase, self._some_before()) for _ in range(min(left, self._rng.randrange(3, 7)))]
        if left > len(sources):
            self._add(phase, sources)


def through(agents: int, checkpoints: int, phases: int, seed: int) -> Plan:
    """A project that comes to its end: what fails in it either passes or is passed over."""
    rng = random.Random(f"through {seed}")
    inventor = _Inventor(rng, "a")
    shares = [agents // phases + (number < agents % phases) for number in range(phases)]
    for number, share in enumerate(shares, start=1):
        inventor.phase(f"phase{number}", share)
    workers = inventor.workers
    fatal = _with_some_dependents(workers, rng)[: max(1, agents // 40)]
    for number, place in enumerate(fatal):
        workers[place] = replace(workers[place], trouble=FATAL[number % len(FATAL)], times=-1, on_failure="skip")
    ends = Plan("", NAMESPACE, workers).ends()[1]
    run = [place for place, each in enumerate(workers) if ends[each.name] == "completed"]
    rng.shuffle(run)
    for number, place in enumerate(run[:checkpoints]):
        workers[place] = replace(workers[place], answers=DECISIONS[number % len(DECISIONS)])
    for place in run[checkpoints : checkpoints + agents // 4]:
        kind = rng.choice(TRANSIENT)
        workers[place] = replace(workers[place], trouble=kind, times=rng.choice([1, 1, 1, 2, 2, 4]))
    return Plan("through", uuid5(NAMESPACE, f"campaign through {seed}"), workers)


def _with_some_dependents(workers: Sequence[Worker], rng: random.Random) -> list[int]:
    """Places of agents that a few others wait for, in any order; of any agents, where there are no such."""
    counts: Counter[str] = Counter()
    for each in reversed(workers):  # at least as many as really are: a join counts once for each way to it
        counts.update(dict.fromkeys(each.needs, 1 + counts[each.name]))
    places = [place for place, each in enumerate(workers) if 1 <= counts[each.name] <= 12] or list(range(len(workers)))
    return rng.sample(places, len(places))


def blocked(agents: int, seed: int) -> Plan:
    """A project that one failing agent ends, once whatever does not depend on it is through."""
    rng = random.Random(f"blocked {seed}")
    inventor = _Inventor(rng, "b")
    for number in (1, 2, 3):
        inventor.phase(f"phase{number}", agents // 3)
    workers = inventor.workers
    middle = [place for place, each in enumerate(workers) if each.phase == "phase2"]
    needed = [place for place in middle if any(workers[place].name in each.needs for each in workers)]
    fatal = rng.choice(needed or middle)
    workers[fatal] = replace(workers[fatal], trouble="quota", times=-1)
    return Plan("blocked", uuid5(NAMESPACE, f"campaign blocked {seed}"), workers)
