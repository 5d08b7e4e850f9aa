"""What a seed stands for: jobs of several owners, limits in many scopes and windows, changes of mind."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from commands.budgets import ChangeBudgetLimit, OpenBudget
from commands.handling import Command
from commands.llm_jobs import CancelLlmJob, ChatMessage, QueueLlmJob
from domain.budgets import AskedWindow, Window
from domain.charges import Unit
from domain.ids import Scope, budget_id
from domain.values import derived_id

PROVIDER, MODELS = "liar", ("large", "small")
INPUT, OUTPUT = Decimal("0.000001"), Decimal("0.00004")
"""USD a token."""
CARD: dict[str, Any] = {
    "provider": PROVIDER,
    "effective_from": "2020-01-01",
    "source": "made up for a fault campaign",
    "models": [{"model": "*", "prices": [{"rates": {"input": "1", "output": "40"}}]}],
}
DOLLARS = Decimal(5)
FOR_JOBS = 1_000
"""Limits are for so many jobs: a shorter campaign has shorter money."""
HASH = "5eed" * 16
CALLER_KEY = derived_id("access-key", HASH)
DAY, HOUR, HOURS = (
    Window(kind="day", time_zone="Europe/Berlin"),
    Window(kind="rolling", hours=1),
    Window(kind="rolling", hours=5),
)
Owner = Literal["one", "two", "caller", "nobody"]
"""A project, another project, somebody with an access key, somebody without."""
SHARES: dict[Owner, int] = {"one": 25, "two": 25, "caller": 15, "nobody": 35}


@dataclass(frozen=True, slots=True)
class Step:
    """A command, and the key under which it is sent again after every crash of whoever sends it."""

    key: str
    command: Command
    with_key: bool = False
    """Whether it comes with the caller's access key."""


@dataclass(slots=True)
class Plan:
    """One seed's campaign."""

    seed: int
    jobs: int
    projects: dict[str, UUID] = field(default_factory=dict[str, UUID])
    limits: list[Step] = field(default_factory=list[Step])
    steps: list[Step] = field(default_factory=list[Step])

    @classmethod
    def of(cls, seed: int, jobs: int) -> "Plan":
        """The same for the same seed."""
        plan, rng = cls(seed, jobs), random.Random(f"plan {seed}")
        plan.projects = {name: derived_id("overspend", seed, "project", name) for name in ("one", "two")}
        plan.limits = list(plan._limits())
        changes = plan._changes(rng)
        owners = rng.choices(list(SHARES), list(SHARES.values()), k=jobs)
        for number, owner in enumerate(owners):
            plan.steps.append(plan._job(number, owner, rng))
            plan.steps += changes.get(number, [])
            if rng.random() < 0.06:
                who = plan.job_id(max(0, number - rng.randrange(60)))
                plan.steps.append(Step(f"cancel {number}", CancelLlmJob(job_id=who, reason="changed_mind")))
        return plan

    @property
    def whole(self) -> Decimal:
        """What the global budget comes to in the end."""
        return DOLLARS * self.jobs / FOR_JOBS

    def job_id(self, number: int) -> UUID:
        """Of the job with this number."""
        return derived_id("overspend", self.seed, "job", number)

    def _job(self, number: int, owner: Owner, rng: random.Random) -> Step:
        most = rng.choice((60, 150, 250, 400))
        command = QueueLlmJob(
            job_id=self.job_id(number),
            project_id=self.projects.get(owner),
            provider=PROVIDER,
            model=rng.choice(MODELS),
            messages=[ChatMessage(role="user", content=f"Question {number}: " + "why? " * rng.randrange(40))],
            max_output_tokens=most,
            min_output_tokens=rng.choice((None, None, most // 4)),
            priority=rng.choice((3, 5, 5, 7)),
            timeout_seconds=rng.choice((1, 1, 2)),
            max_attempts=3,
        )
        return Step(f"job {number}", command, with_key=owner == "caller")

    def _limits(self) -> Sequence[Step]:
        """Tight ones for the projects and for everything, wide ones besides, each in its own unit and window."""
        share = Decimal(self.jobs) / FOR_JOBS
        tokens = (400_000 * share).to_integral_value()
        one, two = (Scope(kind="project", project_id=each) for each in self.projects.values())
        everything, provider = Scope(kind="global"), Scope(kind="provider", provider=PROVIDER)
        opened: list[tuple[Scope, Decimal, Unit, AskedWindow]] = [
            (everything, self.whole * Decimal("0.6"), "usd", Window()),
            (everything, self.whole * 3, "usd", HOURS),
            (everything, tokens * 10, "total_tokens", DAY),
            (one, Decimal(1) * share, "usd", DAY),
            (two, (60_000 * share).to_integral_value(), "total_tokens", HOUR),
            (two, self.whole, "usd", Window()),
            (provider, self.whole * 2, "usd", HOUR),
            (provider, tokens * 5, "input_tokens", Window()),
            (Scope(kind="model", provider=PROVIDER, model=MODELS[0]), tokens * 2, "output_tokens", HOURS),
            (
                Scope(kind="key", key_id=CALLER_KEY),
                Decimal("0.8") * share,
                "usd",
                Window(kind="week", time_zone="Asia/Tokyo"),
            ),
        ]
        return [
            Step(f"open {number}", OpenBudget(scope=scope, limit=limit, unit=unit, window=window))
            for number, (scope, limit, unit, window) in enumerate(opened)
        ]

    def _changes(self, rng: random.Random) -> dict[int, list[Step]]:
        """Up, down (which is refused where more is spent or held), and up to the whole in the end."""
        found: dict[int, list[Step]] = {}
        parts = [Decimal(rng.randrange(20, 90)) / 100 for _ in range(6)]
        for turn, part in enumerate([*parts, Decimal(1)]):
            at = self.jobs - 1 if part == 1 else rng.randrange(self.jobs // 8, self.jobs - 1)
            command = ChangeBudgetLimit(
                budget_id=budget_id(Scope(kind="global")), limit=self.whole * part, name="usd-lifetime"
            )
            found.setdefault(at, []).append(Step(f"change {turn}", command))
        return found
