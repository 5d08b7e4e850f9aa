"""What may be asked of budgets: open, change and close them; count what nobody reported in time."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from commands.handling import Command, handler
from commands.work import UnitOfWork
from domain.budgets import Budget, Percent
from domain.costs import Cost
from domain.errors import NotFound, Refused
from domain.ids import Scope, budget_id, cost_id
from domain.kernel import Aggregate
from domain.llm_jobs import LlmJob
from domain.projects import Project
from domain.values import Amount

_PARTS = {
    "global": (),
    "project": ("project_id",),
    "phase": ("project_id", "phase"),
    "agent": ("project_id", "agent_id"),
}
"""What each kind of scope names, and nothing else."""


class OpenBudget(Command, permission="budgets.open"):
    """Give a scope money to spend; a scope whose budget was closed gets it back."""

    scope: Scope
    limit: Amount
    thresholds: Annotated[list[Percent], Field(max_length=20)] = Field(default_factory=lambda: [50, 80, 100])

    def streams(self) -> tuple[UUID, ...]:
        """The scope's one budget, and its project."""
        return (budget_id(self.scope), *filter(None, [self.scope.project_id]))


class ChangeBudgetLimit(Command, permission="budgets.change"):
    """Let a scope spend more, or less."""

    budget_id: UUID
    limit: Amount


class CloseBudget(Command, permission="budgets.close"):
    """Limit a scope no longer."""

    budget_id: UUID


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
    scope, thresholds = command.scope, sorted(set(command.thresholds))
    _check_scope(scope, work)
    stream = budget_id(scope)
    if closed := work.find(Budget, stream):
        closed.reopen(command.limit, thresholds)
    else:
        work.add(
            Budget(id=stream, scope=scope, project_id=scope.project_id, limit=command.limit, thresholds=thresholds)
        )


def _check_scope(scope: Scope, work: UnitOfWork) -> None:
    named = tuple(name for name in ("project_id", "phase", "agent_id") if getattr(scope, name) is not None)
    wanted = _PARTS[scope.kind]
    if named != wanted:
        said = " and ".join(wanted) or "nothing else"
        raise Refused(f"a budget of scope {scope.kind} names {said}", code="invalid_scope")
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
    work.get(Budget, command.budget_id).change_limit(command.limit)


@handler
def close_budget(command: CloseBudget, work: UnitOfWork) -> None:
    """Parked jobs go on; open holds still settle."""
    work.get(Budget, command.budget_id).close()


@handler
def expire_hold(command: ExpireHold, work: UnitOfWork) -> None:
    """Silence is never free: the hold counts in full, and so does the attempt's cost, as an estimate."""
    budget = work.get(Budget, command.budget_id)
    hold = budget.check_expired(command.attempt_id, work.now)
    entry = cost_id(command.attempt_id)
    work.find_all(Aggregate, [hold.job_id, entry])
    job, known = work.get(LlmJob, hold.job_id), work.find(Cost, entry)
    budget.expire(command.attempt_id, work.now)
    if known is None:
        attempt = job.charged(command.attempt_id)
        work.add(
            Cost(
                id=entry,
                project_id=job.project_id,
                phase=job.phase,
                agent_id=job.agent_id,
                job_id=job.id,
                attempt_id=attempt.attempt_id,
                provider=attempt.provider,
                model=attempt.model,
                usage=None,
                lines=[],
                amount=attempt.bound,
                estimated=True,
                problem="its hold ran out before anybody said what it used",
            )
        )
