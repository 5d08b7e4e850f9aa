"""Who goes on when a budget has room: jobs that wait for it, the longest waiting first, as many as fit together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self
from uuid import UUID

from commands.work import UnitOfWork
from domain.agents import Agent
from domain.budgets import Budget
from domain.ids import budget_ids
from domain.kernel import Aggregate
from domain.llm_jobs import LlmJob
from domain.projects import Project

MOST_AT_ONCE = 200
"""Jobs that one append wakes; where more fit, its first event asks for the next ones."""


@dataclass(frozen=True, slots=True)
class Woken:
    """Parked jobs of one budget that may be admitted now, loaded before anything is triggered."""

    budget: Budget
    jobs: Sequence[LlmJob]
    more: bool
    """Whether others fit as well."""
    now: datetime

    @classmethod
    def of(cls, budget: Budget, work: UnitOfWork) -> Self:
        """Jobs that nobody would admit, because their project is paused for instance, go back to the queue as well.

        They are counted as needing nothing: admission decides about them anew when their time comes, and if they kept
        room for themselves until then, nothing would ever wake those behind them.
        """
        idle = set[UUID]()
        while True:
            fitting = budget.resumable(work.now, idle)
            jobs = work.get_all(LlmJob, fitting[:MOST_AT_ONCE])
            found = _idle(budget, jobs, work)
            if found <= idle:
                return cls(budget, jobs, len(fitting) > len(jobs), work.now)
            idle |= found

    @classmethod
    def behind(cls, job: LlmJob, work: UnitOfWork, *, but: Budget | None = None) -> list[Self]:
        """Those that may go on because this job, which was to be admitted next, no longer takes any room.

        But for those that wait for one budget, where it would have found none.
        """
        if job.status != "queued":
            return []
        ids = budget_ids(job.project_id, job.phase, job.agent_id, **dict(job.target), key_id=job.key_id)
        budgets = [each for each in work.find_all(Budget, ids).values() if each and each.parked and each is not but]
        return [cls.of(each, work) for each in budgets]

    def resume(self) -> None:
        """Back to the queue; whoever was cancelled meanwhile is only forgotten."""
        for number, job in enumerate(self.jobs):
            if job.parked_on == self.budget.id:
                job.resume(self.budget.id)
            # Not the last one: that tells when the next window ends.
            self.budget.unpark(job.id, self.now, more=self.more and number == 0)


def _idle(budget: Budget, jobs: Iterable[LlmJob], work: UnitOfWork) -> set[UUID]:
    """Those that would not be admitted, whatever room there is."""
    parked = [job for job in jobs if job.parked_on == budget.id]
    work.find_all(Aggregate, {each for job in parked for each in (job.project_id, job.agent_id) if each})
    going = {job.id for job in parked if _runs(job, work) and _is_wanted(job, work)}
    return {job.id for job in jobs} - going


def _runs(job: LlmJob, work: UnitOfWork) -> bool:
    return job.project_id is None or work.get(Project, job.project_id).status == "running"


def _is_wanted(job: LlmJob, work: UnitOfWork) -> bool:
    return job.agent_id is None or work.get(Agent, job.agent_id).job_id == job.id
