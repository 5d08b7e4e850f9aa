"""What may be asked of budgets: open, change and close them; count what nobody reported in time."""

from functools import partial
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from commands.handling import Command, handler
from commands.work import UnitOfWork
from domain.budgets import (
    LIFETIME,
    AskedWindow,
    Budget,
    CostRules,
    CostSettings,
    KnownZone,
    Percent,
    rules_of,
    terms_under,
)
from domain.charges import Unit
from domain.costs import Cost, Paid
from domain.errors import NotFound, Refused
from domain.identity.access_keys import AccessKey, check_first
from domain.ids import Scope, budget_id, cost_id, cost_settings_id
from domain.kernel import Aggregate
from domain.llm_jobs import LlmJob
from domain.projects import Project
from domain.values import Amount, Slug

_PARTS = {
    "global": (),
    "project": ("project_id",),
    "phase": ("project_id", "phase"),
    "agent": ("project_id", "agent_id"),
    "provider": ("provider",),
    "model": ("provider", "model"),
    "key": ("key_id",),
}
"""What each kind of scope names, and nothing else."""


class OpenBudget(Command, permission="budgets.open"):
    """Limit what a scope may spend; one that has a budget gets another limit, in another unit or window, besides."""

    scope: Scope
    limit: Amount
    unit: Unit = "usd"
    window: AskedWindow = LIFETIME
    hard: bool = True
    """A soft limit holds nothing back: its thresholds are told, and that is all."""
    thresholds: Annotated[list[Percent], Field(max_length=20)] | None = None

    def streams(self) -> tuple[UUID, ...]:
        """The scope's one budget, its project, and the settings."""
        return (budget_id(self.scope), cost_settings_id(), *filter(None, [self.scope.project_id]))


class ChangeBudgetLimit(Command, permission="budgets.change"):
    """Let a scope spend more, or less. Its window and unit stay: open another limit in their place."""

    budget_id: UUID
    limit: Amount
    name: Slug | None = None
    """Which of several limits."""


class CloseBudget(Command, permission="budgets.close"):
    """Limit a scope no longer: not in this unit and window, or not at all."""

    budget_id: UUID
    name: Slug | None = None
    """Only this limit of several."""


class RollBudgetWindows(Command, permission="budgets.expire"):
    """Go on to the windows of this moment, so that jobs that wait for them are woken."""

    budget_id: UUID


class ChangeCostSettings(Command, permission="cost_settings.change"):
    """Choose what holds for every new budget and every admission."""

    thresholds: Annotated[list[Percent], Field(max_length=20)] = Field(default_factory=lambda: [50, 80, 100])
    time_zone: KnownZone = "UTC"
    shape: bool = True
    exhausted: Literal["park", "deny"] = "park"
    impossible: Literal["park", "deny"] = "park"

    def streams(self) -> tuple[UUID, ...]:
        """The one set of settings."""
        return (cost_settings_id(),)


class ExpireHold(Command, permission="budgets.expire"):
    """Count a hold whose time is over as spent, until its attempt reports."""

    budget_id: UUID
    attempt_id: UUID

    def streams(self) -> tuple[UUID, ...]:
        """The budget and what the attempt cost."""
        return (self.budget_id, cost_id(self.attempt_id))


@handler
def open_budget(command: OpenBudget, work: UnitOfWork) -> None:
    """A scope has one budget for ever, so that its id needs no look-up."""
    scope = command.scope
    _check_scope(scope, work)
    terms = terms_under(
        rules_of(work.find(CostSettings, cost_settings_id())),
        command.limit,
        command.unit,
        command.window,
        thresholds=command.thresholds,
        hard=command.hard,
        now=work.now,
    )
    stream = budget_id(scope)
    known = work.find(Budget, stream)
    if known is None:
        work.add(Budget(id=stream, scope=scope, project_id=scope.project_id, limit=command.limit, **dict(terms)))
    elif known.is_open:
        known.add_limit(command.limit, terms, work.now)
    else:
        known.reopen(command.limit, terms, work.now)


def _check_scope(scope: Scope, work: UnitOfWork) -> None:
    parts = ("project_id", "phase", "agent_id", "provider", "model", "key_id")
    named = tuple(name for name in parts if getattr(scope, name) is not None)
    wanted = _PARTS[scope.kind]
    if named != wanted:
        said = " and ".join(wanted) or "nothing else"
        raise Refused(f"a budget of scope {scope.kind} names {said}", code="invalid_scope")
    if scope.key_id:
        check_first(work.get(AccessKey, scope.key_id), partial(work.get, AccessKey))
    if scope.project_id is None:
        return
    project = work.get(Project, scope.project_id)
    if scope.phase and scope.phase not in project.phases:
        raise NotFound(
            f"project {project.name} has no phase {scope.phase}; it has {', '.join(project.phases) or 'none'}"
        )
    if scope.agent_id and scope.agent_id not in {node.agent_id for node in project.agents.values()}:
        raise NotFound(f"project {project.name} has no agent {scope.agent_id}")


@handler
def change_budget_limit(command: ChangeBudgetLimit, work: UnitOfWork) -> None:
    """Raising it wakes parked jobs; it never goes below what is spent and held."""
    work.get(Budget, command.budget_id).change_limit(command.limit, work.now, command.name)


@handler
def close_budget(command: CloseBudget, work: UnitOfWork) -> None:
    """Parked jobs go on; open holds still settle."""
    budget = work.get(Budget, command.budget_id)
    if command.name is None or [command.name] == list(budget.limits):
        budget.close()
    else:
        budget.remove_limit(command.name, work.now)


@handler
def roll_budget_windows(command: RollBudgetWindows, work: UnitOfWork) -> None:
    """Jobs that fit now are resumed by whoever hears of it."""
    work.get(Budget, command.budget_id).roll(work.now)


@handler
def change_cost_settings(command: ChangeCostSettings, work: UnitOfWork) -> None:
    """Open limits keep their thresholds and windows; admission follows at once."""
    rules = CostRules.model_validate(command.model_dump() | {"thresholds": sorted(set(command.thresholds))})
    if known := work.find(CostSettings, cost_settings_id()):
        known.change(rules)
    else:
        work.add(CostSettings(id=cost_settings_id(), rules=rules))


@handler
def expire_hold(command: ExpireHold, work: UnitOfWork) -> None:
    """Silence is never free: the hold counts in full, and so does the attempt's cost, as an estimate."""
    budget = work.get(Budget, command.budget_id)
    hold = budget.check_expired(command.attempt_id, work.now)
    entry = cost_id(command.attempt_id)
    work.find_all(Aggregate, [hold.job_id, entry])
    job, known = work.get(LlmJob, hold.job_id), work.find(Cost, entry)
    attempt = None if known else job.charged(command.attempt_id)
    others = work.get_all(Budget, [each.budget_id for each in attempt.holds]) if attempt else []
    counted = [each.counted(command.attempt_id) for each in others]
    budget.expire(command.attempt_id, work.now)
    if attempt:
        work.add(
            Cost(
                id=entry,
                project_id=job.project_id,
                phase=job.phase,
                agent_id=job.agent_id,
                key_id=job.key_id,
                job_id=job.id,
                attempt_id=attempt.attempt_id,
                provider=attempt.provider,
                model=attempt.model,
                tier=None,
                usage=None,
                lines=[],
                amount=attempt.bound,
                estimated=True,
                problem="its hold ran out before anybody said what it used",
                priced_on=None,
                paid_by=[Paid(**each) for each in counted if each],
            )
        )
