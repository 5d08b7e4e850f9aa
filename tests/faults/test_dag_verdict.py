"""The judge of the DAG campaign finds each fault in a log that has it, and nothing in the log that has none."""

from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import pytest

from domain.log import StoredEvent, canonical
from domain.values import NAMESPACE
from faults.dag.audit import audit_budgets, audit_requests
from faults.dag.plan import Plan, Worker
from faults.dag.verdict import Verdict, judge

START = datetime(2026, 11, 21, 10, tzinfo=UTC)


def named(name: str) -> UUID:
    """An id that says what it is of."""
    return uuid5(NAMESPACE, name)


PROJECT, AGENT, JOB, BUDGET = named("project"), named("agent"), named("job"), named("budget")
FIRST, SECOND = str(named("first attempt")), str(named("second attempt"))
SCOPE = {"kind": "project", "project_id": str(PROJECT), "phase": None, "agent_id": None}
Told = tuple[str, UUID, str, dict[str, Any]]
"""Type, stream, command, payload."""


def hold(attempt: str, number: int, worker: str) -> list[Told]:
    """An admission and its hold, in one command."""
    expires = (START + timedelta(seconds=500)).isoformat()
    return [
        ("llm_job.admitted", JOB, attempt, {"attempt": number, "attempt_id": attempt, "bound": "4", "worker": worker}),
        ("budget.reserved", BUDGET, attempt, {"attempt_id": attempt, "amount": "4", "expires_at": expires}),
    ]


def story() -> list[Told]:
    """One agent: its first attempt is lost with its worker, its second is answered; its first hold expires."""
    place = {"project_id": str(PROJECT), "phase": "work", "agent_id": str(AGENT), "run": 1, "attempt": 1}
    cost = "0.000015"
    return [
        ("budget.opened", BUDGET, "create", {"scope": SCOPE, "limit": "8"}),
        ("agent.defined", AGENT, "create", {"name": "one"}),
        ("project.started", PROJECT, "start", {"phase": "work"}),
        ("agent.ready", AGENT, "ready", {"run": 1}),
        ("agent.started", AGENT, "go", {"run": 1, "attempt": 1}),
        ("llm_job.queued", JOB, "go", place),
        *hold(FIRST, 1, "w1"),
        ("llm_job.attempt_lost", JOB, "lose", {"attempt": 1, "attempt_id": FIRST}),
        *hold(SECOND, 2, "w2"),
        ("llm_job.completed", JOB, "done", {"attempt": 2, "attempt_id": SECOND, "cost": cost}),
        ("budget.settled", BUDGET, "done", {"attempt_id": SECOND, "amount": cost, "held": "4"}),
        ("cost.recorded", named("cost"), "done", {"attempt_id": SECOND, "amount": cost, "estimated": False}),
        ("agent.completed", AGENT, "take", {"run": 1, "attempt": 1}),
        ("project.completed", PROJECT, "end", {}),
        ("budget.hold_expired", BUDGET, "expire", {"attempt_id": FIRST, "amount": "4"}),
        ("cost.recorded", named("other"), "expire", {"attempt_id": FIRST, "amount": "4", "estimated": True}),
    ]


USAGE = {"prompt_tokens": 5, "completion_tokens": 2}


def entry(number: int, attempt: str, second: float, outcome: str, usage: object = None) -> dict[str, Any]:
    """A request in the provider's journal."""
    at = (START + timedelta(seconds=second)).timestamp()
    facts = {"number": number, "attempt_id": attempt, "at": at, "outcome": outcome, "usage": usage}
    return {**facts, "behaviour": "answer"}


def journal() -> list[dict[str, Any]]:
    """What the provider saw of it. An event's second is its position."""
    return [entry(0, FIRST, 8.5, "disconnected"), entry(1, SECOND, 11.5, "answered", USAGE)]


def examined(told: list[Told], seen: list[dict[str, Any]]) -> Verdict:
    """What the judge makes of them."""
    log: list[StoredEvent] = []
    for position, (kind, stream, command, payload) in enumerate(told, start=1):
        log.append(
            StoredEvent(
                position=position,
                stream_id=stream,
                version=1 + sum(each.stream_id == stream for each in log),
                type=kind,
                schema_version=1,
                project_id=PROJECT,
                data=canonical(payload),
                actor="tester",
                command_id=named(command),
                correlation_id=named(command),
                causation_id=None,
                trace_id=None,
                recorded_at=START + timedelta(seconds=position),
            )
        )
    verdict = Verdict()
    judge(verdict, log, [Plan("plan", PROJECT, [Worker("one", "work", ())])])
    audit_budgets(verdict, log)
    audit_requests(verdict, log, seen)
    return verdict


Break = Callable[[list[Told], list[dict[str, Any]]], object]
"""Makes one thing wrong."""


def at(told: list[Told], kind: str, nth: int = 0) -> int:
    """The place of the nth event of a type."""
    return [place for place, each in enumerate(told) if each[0] == kind][nth]


def twice(kind: str, *, nth: int = 0) -> Break:
    """An event happens again at the end."""
    return lambda told, _: told.append(deepcopy(told[at(told, kind, nth)]))


def never(kind: str, *, nth: int = 0) -> Break:
    """An event is left out."""
    return lambda told, _: told.pop(at(told, kind, nth))


def says(kind: str, *, nth: int = 0, **other: Any) -> Break:
    """An event says something else."""
    return lambda told, _: told[at(told, kind, nth)][3].update(other)


def saw(number: int, **other: Any) -> Break:
    """The provider saw something else."""
    return lambda _, seen: seen[number].update(other)


def moment(second: float) -> float:
    """Seconds after the start, as the journal counts."""
    return (START + timedelta(seconds=second)).timestamp()


def test_a_log_and_a_journal_without_fault_are_clean() -> None:
    verdict = examined(story(), journal())
    assert verdict.clean, "\n".join(verdict.lines())


LONG_AGO = (START + timedelta(seconds=1)).isoformat()
OVERDRAFT: Told = ("budget.overdrawn", BUDGET, "late", {"amount": "5", "held": "4"})
BROKEN: dict[str, tuple[str, Break]] = {
    "a project never ends": ("wrong end", never("project.completed")),
    "an agent never ends": ("wrong end", never("agent.completed")),
    "an agent is completed twice": ("doubled", twice("agent.completed")),
    "an attempt has two jobs": ("doubled", twice("llm_job.queued")),
    "a cost counts twice": ("doubled", twice("cost.recorded")),
    "an attempt id is used again": ("asked twice", saw(0, attempt_id=SECOND)),
    "a request is sent again": ("asked twice", lambda _, seen: seen.append(seen[1])),
    "a request comes before its admission": ("not admitted", saw(1, at=moment(9.5))),
    "a request was never admitted": ("not admitted", saw(1, attempt_id=str(named("stranger")))),
    "a request comes after the answer": ("asked too late", saw(1, at=moment(12.5))),
    "a request comes after its worker was given up": ("asked too late", saw(0, at=moment(9.5))),
    "a hold goes over the limit": ("over the limit", says("budget.opened", limit="7.9")),
    "a settlement goes over the limit": ("over the limit", says("budget.hold_expired", amount="9")),
    "nothing was held": ("not held", never("budget.reserved", nth=1)),
    "a hold ends twice": ("hold left", twice("budget.settled")),
    "a hold is forgotten": ("hold left", says("budget.reserved", expires_at=LONG_AGO, attempt_id="x")),
    "more is charged than was held": ("overdrawn", lambda told, _: told.append(OVERDRAFT)),
    "a failure passes for an answer": ("untrue", saw(1, behaviour="server_error")),
    "a broken answer passes for a whole one": ("untrue", saw(1, outcome="disconnected")),
    "a request is never heard of again": ("untrue", never("llm_job.attempt_lost")),
    "a token is not charged": ("miscounted", saw(1, usage={"prompt_tokens": 5, "completion_tokens": 3})),
    "an estimate is below the bound": ("miscounted", says("cost.recorded", nth=1, amount="3")),
}


@pytest.mark.parametrize("sentence", BROKEN)
def test_each_fault_is_found(sentence: str) -> None:
    fault, break_it = BROKEN[sentence]
    told, seen = story(), journal()
    break_it(told, seen)
    verdict = examined(told, seen)
    assert verdict.counts[fault] > 0, "\n".join(verdict.lines())


def test_ends_are_computed_from_the_graph_and_the_planned_failures() -> None:
    quota: dict[str, Any] = {"trouble": "quota", "times": -1}
    diamond = [
        Worker("top", "one", ()),
        Worker("left", "one", ("top",), on_failure="skip", **quota),
        Worker("right", "one", ("top",)),
        Worker("join", "one", ("left", "right")),
        Worker("next", "two", ("join",)),
        Worker("other", "two", ("right",)),
    ]
    passed = {"top": "completed", "left": "failed", "right": "completed", "join": "skipped", "next": "skipped"}
    assert Plan("plan", PROJECT, diamond).ends() == ("completed", {**passed, "other": "completed"})
    diamond[1] = Worker("left", "one", ("top",), on_failure="block", **quota)
    stuck = {"top": "completed", "left": "failed", "right": "completed", "join": "defined", "next": "defined"}
    assert Plan("plan", PROJECT, diamond).ends() == ("failed", {**stuck, "other": "defined"})
