"""The auditor's half of the verdict: every budget at every position, and every request against the log."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from domain.log import StoredEvent
from faults.dag.money import price
from faults.dag.verdict import Verdict

Entry = Mapping[str, Any]
"""One request in the provider's journal."""
KINDS = {
    "rate_limited": "rate_limited",
    "server_error": "overloaded",
    "cut": "cut_stream",
    "quota": "credit_exhausted",
    "refusal": "refused",
}
"""How the log names what the provider did."""


@dataclass(slots=True)
class Account:
    """A budget, folded here from nothing but payloads."""

    limit: Decimal = Decimal(0)
    settled: Decimal = Decimal(0)
    holds: dict[str, tuple[Decimal, datetime]] = field(default_factory=dict[str, tuple[Decimal, datetime]])

    @property
    def used(self) -> Decimal:
        """What is spent or may be."""
        return self.settled + sum((amount for amount, _ in self.holds.values()), Decimal(0))


def audit_budgets(verdict: Verdict, log: Sequence[StoredEvent]) -> None:
    """At every position, every budget; at the end, every hold."""
    accounts: dict[UUID, Account] = defaultdict(Account)
    fullest = Decimal(0)
    for stored in log:
        if not stored.type.startswith("budget."):
            continue
        account, said = accounts[stored.stream_id], stored.payload()
        _enter(verdict, account, stored, said)
        if account.used > account.limit:
            verdict.found("over the limit", f"position {stored.position}: {account.used} of {account.limit}")
        if account.limit:
            fullest = max(fullest, account.used / account.limit)
    now = log[-1].recorded_at
    for stream, account in accounts.items():
        for attempt, (amount, expires_at) in account.holds.items():
            if expires_at < now:
                verdict.found("hold left", f"{amount} for attempt {attempt} in budget {stream}, due at {expires_at}")
    verdict.figures["holds still running"] = sum(len(each.holds) for each in accounts.values())
    verdict.figures["% of its limit used at most by a budget"] = round(100 * fullest, 2)


def _enter(verdict: Verdict, account: Account, stored: StoredEvent, said: Mapping[str, Any]) -> None:
    match stored.type:
        case "budget.opened" | "budget.limit_changed":
            account.limit = Decimal(said["limit"])
        case "budget.reserved":
            account.holds[said["attempt_id"]] = Decimal(said["amount"]), datetime.fromisoformat(said["expires_at"])
        case "budget.settled" | "budget.hold_expired" | "budget.released":
            if account.holds.pop(said["attempt_id"], None) is None:
                verdict.found("hold left", f"position {stored.position} ends a hold that is not there")
            if stored.type != "budget.released":
                account.settled += Decimal(said["amount"])
        case "budget.adjusted":
            account.settled += Decimal(said["delta"])
        case "budget.overdrawn":
            verdict.found("overdrawn", f"position {stored.position}: {said['amount']} for a hold of {said['held']}")
        case _:
            pass


@dataclass(slots=True)
class Life:
    """What the log knows of one attempt."""

    job: UUID
    admitted_at: datetime
    bound: Decimal
    outcome: str = ""
    kind: str = ""
    ended_at: datetime | None = None
    lost_at: datetime | None = None
    late: bool = False
    cost: Decimal | None = None
    estimated: bool = False


def lives(verdict: Verdict, log: Sequence[StoredEvent]) -> dict[str, Life]:
    """Every attempt by its id; and whether every open budget of its scopes held for it in the same command."""
    found: dict[str, Life] = {}
    current: dict[UUID, str] = {}
    budgets: dict[tuple[str | None, ...], UUID] = {}
    places: dict[UUID, tuple[str | None, ...]] = {}
    held: dict[UUID, set[UUID]] = defaultdict(set)
    asked: dict[UUID, list[StoredEvent]] = defaultdict(list)
    for stored in log:
        said = stored.payload()
        if stored.type == "budget.opened":
            scope = said["scope"]
            budgets[scope["kind"], scope["project_id"], scope["phase"], scope["agent_id"]] = stored.stream_id
        elif stored.type == "budget.reserved":
            held[stored.command_id].add(stored.stream_id)
        elif stored.type == "llm_job.queued":
            places[stored.stream_id] = said["project_id"], said["phase"], said["agent_id"]
        elif stored.type == "llm_job.admitted":
            asked[stored.command_id].append(stored)
        _follow(found, current, stored, said)
    for command, admissions in asked.items():
        project, phase, agent = places[admissions[0].stream_id]
        scopes = [("global", None, None, None), ("project", project, None, None)]
        scopes += [("phase", project, phase, None), ("agent", project, None, agent)]
        if missing := {budgets[scope] for scope in scopes if scope in budgets} - held[command]:
            verdict.found("not held", f"position {admissions[0].position}: nothing in {missing}")
    return found


def _follow(found: dict[str, Life], current: dict[UUID, str], stored: StoredEvent, said: Mapping[str, Any]) -> None:
    context, _, what = stored.type.partition(".")
    if stored.type == "llm_job.admitted":
        found[said["attempt_id"]] = Life(stored.stream_id, stored.recorded_at, Decimal(said["bound"]))
        current[stored.stream_id] = said["attempt_id"]
    elif context == "cost" and said["attempt_id"] in found:
        life = found[said["attempt_id"]]
        life.cost, life.estimated = Decimal(said["amount"]), bool(said.get("estimated"))
    elif context == "llm_job" and stored.stream_id in current:
        life = found[current[stored.stream_id]]
        if what == "attempt_lost":
            life.lost_at = stored.recorded_at
        elif what == "late_usage":
            found[said["attempt_id"]].late = True
        elif what in ("completed", "failed", "retry_scheduled") and life.lost_at is None:
            life.outcome, life.kind, life.ended_at = what, said.get("kind", ""), stored.recorded_at


def audit_requests(verdict: Verdict, log: Sequence[StoredEvent], journal: Sequence[Entry]) -> None:
    """Every request that the provider saw."""
    attempts = lives(verdict, log)
    answered = {life.job: life.ended_at for life in attempts.values() if life.outcome == "completed" and life.ended_at}
    for attempt, times in Counter(each["attempt_id"] for each in journal).items():
        if times > 1:
            verdict.found("asked twice", f"attempt {attempt}: {times} times")
    for entry in journal:
        at, life = datetime.fromtimestamp(entry["at"], UTC), attempts.get(entry["attempt_id"])
        if life is None or at < life.admitted_at:
            verdict.found("not admitted", f"request {entry['number']} for attempt {entry['attempt_id']}")
            continue
        if at > answered.get(life.job, at) or at > (life.lost_at or at) or at > (life.ended_at or at):
            verdict.found("asked too late", f"request {entry['number']} at {at} for job {life.job}")
        _compare(verdict, entry, life)
    told = Counter(life.outcome or ("lost" if life.lost_at else "open") for life in attempts.values())
    verdict.figures |= {
        "requests": len(journal),
        "attempts": len(attempts),
        "attempts lost with their workers": told["lost"],
        "late reports": sum(life.late for life in attempts.values()),
        "retries": told["retry_scheduled"],
    }


def _compare(verdict: Verdict, entry: Entry, life: Life) -> None:
    """Whether the log tells of this request what the provider did."""
    if life.outcome:
        wanted = KINDS.get(entry["behaviour"], "")
        if life.kind != wanted:
            verdict.found("untrue", f"request {entry['number']}: {entry['behaviour']}, but {life.outcome} {life.kind}")
        elif wanted == "" and entry["outcome"] != "answered":
            verdict.found("untrue", f"request {entry['number']}: {entry['outcome']}, but completed")
    elif life.lost_at is None:
        verdict.found("untrue", f"request {entry['number']}: the log never says what became of its attempt")
    real = price(entry["usage"]) if entry["usage"] and entry["outcome"] == "answered" else None
    if life.outcome == "completed" and life.cost != real:
        verdict.found("miscounted", f"request {entry['number']} cost {real}, the log has {life.cost}")
    elif life.cost is not None and life.estimated and life.cost != life.bound:
        verdict.found("miscounted", f"attempt estimated at {life.cost}, not at its bound {life.bound}")
