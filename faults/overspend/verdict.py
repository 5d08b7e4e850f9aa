"""The judge: the checker's findings over the log alone, then the log beside the provider's own journal."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from domain.ids import Scope, budget_id, scopes_of
from domain.log import StoredEvent
from faults.crew.findings import Findings
from faults.money.checker import Checker
from faults.overspend.plan import INPUT, OUTPUT
from faults.overspend.provider import FREE

NOTHING = Decimal(0)
USABLE = Decimal("0.95")
FAULTS: Mapping[str, str] = {
    "over the limit": "positions at which settled + held was above a limit, and no overdraft explains it",
    "late hold": "holds in a window that was over",
    "ended twice": "settlements, releases, expiries of what was not held",
    "held twice": "holds of an attempt that had one",
    "held while closed": "holds in a closed budget",
    "unexplained": "charges above their hold of which no event tells",
    "not one append": "admissions whose holds are not all in the same append",
    "rolled early": "windows that ended before their end",
    "wrong window": "windows that are not what their limit says",
    "hold left": "holds that outlived the expiry horizon",
    "not held": "attempts that were admitted without a hold in every open budget of their scopes",
    "overdrawn": "overdrafts although the provider told no more than it was allowed to",
    "untold": "counts above the bound of which no overdraft tells",
    "asked twice": "attempts that the provider saw more than once",
    "asked unheld": "requests that arrived before everything was held for them",
    "asked too late": "requests for an attempt that had been accounted for, or for a lost one without a worker's stall",
    "miscounted": "attempts whose cost is neither what the provider counted nor, uncounted, their bound",
    "sums differ": "budgets that settled something else than the costs of their attempts",
    "unusable": "limits that held jobs back although there was room for them, or of which too little could be used",
    "log": "gaps in positions or versions",
    "complaint": "errors that a process wrote into its log",
    "not done": "work or blows that were not over in time",
}
Said = Mapping[str, Any]


class Verdict(Findings):
    """What is wrong with money."""

    FAULTS = FAULTS
    SAYS_NOUGHT = False


@dataclass(slots=True)
class Life:
    """What the log says of one attempt."""

    job: UUID
    admitted_at: datetime
    bound: Decimal
    held_at: datetime | None = None
    accounted_at: datetime | None = None
    lost_at: datetime | None = None
    settled: dict[UUID, Decimal] = field(default_factory=dict[UUID, Decimal])
    cost: Decimal | None = None
    estimated: bool = False
    overdrawn: bool = False
    expired: bool = False
    released: bool = False


class Audit:
    """One pass over the log."""

    def __init__(self, verdict: Verdict, log: Sequence[StoredEvent]) -> None:
        self._verdict, self._log = verdict, log
        self.lives: dict[str, Life] = {}
        self.waiting: dict[UUID, dict[str, Said]] = defaultdict(dict)
        """By budget, those that wait there, with what they ask for."""
        self.unfinished: set[UUID] = set()
        """Jobs that have come to no end; those that wait for money as well."""
        self._open: set[UUID] = set()
        self._scopes: dict[UUID, list[Scope]] = {}
        self._versions: Counter[UUID] = Counter()
        for place, stored in enumerate(log, start=1):
            self._versions[stored.stream_id] += 1
            if stored.position != place or stored.version != self._versions[stored.stream_id]:
                verdict.found("log", f"position {stored.position}, version {stored.version} of {stored.stream_id}")
            self._take(stored, stored.payload())

    def _take(self, stored: StoredEvent, said: Said) -> None:  # noqa: C901, PLR0912 -- a case for each kind of event
        life = self.lives.get(said.get("attempt_id", ""))
        if stored.type in ("llm_job.completed", "llm_job.failed", "llm_job.cancelled"):
            self.unfinished.discard(stored.stream_id)
        match stored.type:
            case "budget.opened" | "budget.reopened":
                self._open.add(stored.stream_id)
            case "budget.closed":
                self._open.discard(stored.stream_id)
            case "llm_job.queued":
                self.unfinished.add(stored.stream_id)
                facts = {name: said[name] and UUID(said[name]) for name in ("project_id", "agent_id", "key_id")}
                self._scopes[stored.stream_id] = scopes_of(
                    facts["project_id"],
                    said["phase"],
                    facts["agent_id"],
                    provider=said["provider"],
                    model=said["model"],
                    key_id=facts["key_id"],
                )
            case "llm_job.admitted":
                self._admitted(stored, said)
            case "budget.reserved" if life:
                life.held_at = stored.recorded_at
            case "budget.settled" | "budget.hold_expired" if life:
                life.expired = life.expired or stored.type == "budget.hold_expired"
                life.settled[stored.stream_id] = life.settled.get(stored.stream_id, NOTHING) + Decimal(said["amount"])
            case "budget.released" if life:
                life.released, life.accounted_at = True, stored.recorded_at
            case "budget.adjusted" if life:
                life.settled[stored.stream_id] += Decimal(said["delta"])
            case "budget.overdrawn" if life:
                life.overdrawn = True
            case "budget.job_parked":
                self.waiting[stored.stream_id][said["job_id"]] = said
            case "budget.job_unparked":
                del self.waiting[stored.stream_id][said["job_id"]]
            case "cost.recorded" if life:
                life.cost, life.estimated = Decimal(said["amount"]), said["estimated"]
            case "cost.corrected" if life:
                life.cost, life.estimated = Decimal(said["amount"]), False
            case "llm_job.completed" if life:
                life.accounted_at = stored.recorded_at
            case "llm_job.attempt_lost" if life:
                life.lost_at = stored.recorded_at
            case _:
                pass

    def _admitted(self, stored: StoredEvent, said: Said) -> None:
        life = Life(stored.stream_id, stored.recorded_at, Decimal(said["bound"]))
        self.lives[said["attempt_id"]] = life
        wanted = {budget_id(each) for each in self._scopes[stored.stream_id]} & self._open
        if wanted != {UUID(each["budget_id"]) for each in said["holds"]}:
            self._verdict.found("not held", f"position {stored.position}: {said['holds']} instead of {wanted}")

    def sums(self) -> None:
        """Every budget that held for an attempt settled just what the attempt cost."""
        settled, cost = defaultdict[UUID, Decimal](Decimal), defaultdict[UUID, Decimal](Decimal)
        for attempt, life in self.lives.items():
            if any(amount != (life.cost or NOTHING) for amount in life.settled.values()):
                self._verdict.found("sums differ", f"attempt {attempt} cost {life.cost}, settled {life.settled}")
            for budget, amount in life.settled.items():
                settled[budget] += amount
                cost[budget] += life.cost or NOTHING
        for budget in settled.keys() | cost.keys():
            if settled[budget] != cost[budget]:
                self._verdict.found("sums differ", f"budget {budget}: settled {settled[budget]}, cost {cost[budget]}")

    def requests(self, journal: Sequence[Said], *, astray: int = 0) -> None:
        """Every request that the provider saw, beside what the log says of its attempt.

        A worker that is stopped between its last look at its lease and the write sends when it goes on: nobody but the
        provider could keep such a request out. So many may arrive for lost attempts, whose holds stand or count.
        """
        strays = list[str]()
        seen = Counter(each["attempt_id"] for each in journal)
        for attempt, times in seen.items():
            if times > 1:
                self._verdict.found("asked twice", f"attempt {attempt}: {times} times")
        for entry in journal:
            at, life = datetime.fromtimestamp(entry["at"], UTC), self.lives.get(entry["attempt_id"])
            if life is None or life.held_at is None or at < max(life.held_at, life.admitted_at):
                self._verdict.found("asked unheld", f"attempt {entry['attempt_id']} at {at}")
            else:
                if life.accounted_at and at > life.accounted_at:
                    self._verdict.found("asked too late", f"attempt {entry['attempt_id']} at {at}")
                elif life.lost_at and at > life.lost_at:
                    strays.append(f"attempt {entry['attempt_id']} at {at}, lost at {life.lost_at}")
                self._compare(entry, life)
        self._verdict.figures["astray"] = len(strays)
        for each in strays[astray:]:
            self._verdict.found("asked too late", each)
        for attempt, life in self.lives.items():
            if attempt not in seen and life.cost and not life.estimated:
                self._verdict.found("miscounted", f"attempt {attempt} was never sent and cost {life.cost}")

    def _compare(self, entry: Said, life: Life) -> None:
        """What the provider said that it charges, or the bound where it said nothing or nobody heard it."""
        attempt, told = entry["attempt_id"], entry.get("told")
        charged = told and told["prompt_tokens"] * INPUT + told["completion_tokens"] * OUTPUT
        if life.overdrawn and entry["behaviour"] != "excessive":
            self._verdict.found("overdrawn", f"attempt {attempt}, {entry['behaviour']}: {life.cost} of {life.bound}")
        if charged is not None and charged > life.bound and life.cost == charged and not life.overdrawn:
            self._verdict.found("untold", f"attempt {attempt}: {charged} for a bound of {life.bound}")
        if life.cost is None and not life.settled and not life.released:
            return  # still held: what is left over at the end is found as such
        right = life.cost == (life.bound if life.estimated else charged)
        # Nothing, or nothing any more: a refusal that was told after its hold had expired takes the estimate back.
        free = entry["behaviour"] in FREE and not life.cost
        if not (right or free):
            self._verdict.found(
                "miscounted",
                f"attempt {attempt}, {entry['behaviour']}: cost {life.cost}, charged {charged}, bound {life.bound}",
            )


def judge(
    verdict: Verdict, log: Sequence[StoredEvent], journal: Sequence[Said], whole: Decimal, *, astray: int
) -> None:
    """All that the log and the journal say; `whole` is what the global budget comes to in the end."""
    checker, audit = judge_money(verdict, log, journal, astray=astray)
    _usable(verdict, checker, audit, whole)
    told = Counter(each.type for each in log)
    verdict.figures |= {
        "events": len(log),
        "attempts": len(audit.lives),
        "requests": len(journal),
        "completed": told["llm_job.completed"],
        "parked": told["llm_job.parked"],
        "shaped": told["llm_job.shaped"],
        "lost": told["llm_job.attempt_lost"],
        "expired": told["budget.hold_expired"],
        "late": told["budget.adjusted"],
        "overdrawn": told["budget.overdrawn"],
        "cancelled": told["llm_job.cancelled"],
        "rolled": told["budget.window_rolled"],
    }


def judge_money(
    verdict: Verdict, log: Sequence[StoredEvent], journal: Sequence[Said], *, astray: int = 0
) -> tuple[Checker, Audit]:
    """No overspending, no request without its hold, no cost but the right one."""
    checker = Checker().read(log)
    for each in checker.close():
        verdict.found(each.kind, f"position {each.position}: {each.said}")
    audit = Audit(verdict, log)
    audit.sums()
    audit.requests(journal, astray=astray)
    return checker, audit


def _usable(verdict: Verdict, checker: Checker, audit: Audit, whole: Decimal) -> None:
    """Nobody waits for a budget that has room for them; and of the global limit nearly all was spent."""
    unit = {"usd": "requested", "input_tokens": "input_tokens", "output_tokens": "output_tokens"}
    waiting = 0
    for budget, jobs in audit.waiting.items():
        limits = checker.limits(budget)
        waiting += len(jobs)
        for job, said in jobs.items():
            wants = {name: Decimal(said[where]) for name, where in unit.items()}
            wants["total_tokens"] = wants["input_tokens"] + wants["output_tokens"]
            if all(wants[each.unit] <= each.limit - each.used for each in limits.values() if each.hard):
                verdict.found("unusable", f"job {job} waits for budget {budget}, which has room for {wants}")
    verdict.figures["waiting at the end"] = waiting
    everything = checker.limits(budget_id(Scope(kind="global")))["usd-lifetime"]
    share = everything.used / everything.limit if everything.limit else NOTHING
    verdict.figures["% of the global limit spent"] = round(100 * share, 2)
    if everything.limit != whole or share < USABLE:
        verdict.found("unusable", f"{everything.used} of {everything.limit} were spent ({whole} planned)")
