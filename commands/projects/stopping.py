"""What stops with a project: its agents that are at work, and the checkpoints that they wait at."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from commands.work import UnitOfWork
from domain.agents import Agent
from domain.checkpoints import Checkpoint
from domain.projects import Project


def agents_of(project: Project, work: UnitOfWork) -> list[Agent]:
    """Every agent of a project, dependencies first."""
    return work.get_all(Agent, [node.agent_id for node in project.agents.values()])


@dataclass(frozen=True, slots=True)
class AtWork:
    """Agents whose run has not ended, loaded before anything is triggered."""

    agents: list[Agent]
    reviews: list[Checkpoint]

    @classmethod
    def of(cls, agents: Iterable[Agent], work: UnitOfWork) -> Self:
        """Those of them that are at work."""
        found = [each for each in agents if each.is_open]
        return cls(found, work.get_all(Checkpoint, [each.reviewed_at for each in found if each.reviewed_at]))

    def cancel(self, reason: str) -> None:
        """End every run, and ask nobody any more what to do with its result."""
        for agent in self.agents:
            agent.cancel(reason)
        for review in self.reviews:
            review.withdraw(reason)
