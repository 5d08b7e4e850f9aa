"""How an attempt begins, be it the first, a retry or the answer to a review: the agent starts and its job queues."""

from collections.abc import Sequence
from dataclasses import dataclass

from commands.work import UnitOfWork
from domain.agents import Agent
from domain.errors import Refused
from domain.llm_jobs import LlmJob, distinct
from domain.projects import Project
from domain.values import AiConfig, Target

OUTPUT_TOKENS = 4_096
"""The longest answer of an agent whose AI config does not say."""


def project_of(work: UnitOfWork, agent: Agent) -> Project:
    """The agent's project; refused for a definition of the library, which never runs."""
    if agent.project_id is None:
        raise Refused(
            f"agent {agent.name} is a definition in the library: add it to a project, and run it there",
            code="library_agent",
        )
    return work.get(Project, agent.project_id)


@dataclass(frozen=True, slots=True)
class NextAttempt:
    """An attempt that was checked and may begin."""

    agent: Agent
    project: Project
    ai: AiConfig

    @classmethod
    def all_of(cls, work: UnitOfWork, project: Project, agents: Sequence[Agent]) -> list["NextAttempt"]:
        """The next attempts of these agents; refused, with nothing done, when one of them cannot begin."""
        work.find_all(LlmJob, [agent.next_job_id for agent in agents])
        for agent in agents:
            work.check_new(LlmJob, agent.next_job_id)
        return [cls(agent, project, project.ai_for(agent.name, agent.definition.ai)) for agent in agents]

    @classmethod
    def of(cls, work: UnitOfWork, project: Project, agent: Agent) -> "NextAttempt":
        """The next attempt of one agent."""
        return cls.all_of(work, project, [agent])[0]

    def begin(self, work: UnitOfWork, *, feedback: str | None = None) -> None:
        """Start the agent and queue its job; the prompt is rendered from definition and inputs when it is sent."""
        agent, settings = self.agent, self.project.settings
        assert self.ai.provider is not None  # noqa: S101 -- for the type checker: `ai_for` made sure
        assert self.ai.model is not None  # noqa: S101
        job = LlmJob(
            id=agent.next_job_id,
            project_id=agent.project_id,
            phase=agent.phase,
            agent_id=agent.id,
            run=agent.run,
            attempt=agent.next_attempt,
            provider=self.ai.provider,
            model=self.ai.model,
            max_output_tokens=self.ai.max_output_tokens or OUTPUT_TOKENS,
            temperature=self.ai.temperature,
            priority=settings.priority,
            timeout_seconds=agent.definition.timeout_seconds or settings.timeout_seconds,
            max_attempts=settings.job_attempts,
            messages=None,
            not_before=None,
            min_output_tokens=None,
            key_id=self.project.key_id,
            deadline=None,
            fallbacks=distinct(Target(provider=self.ai.provider, model=self.ai.model), self.ai.fallbacks),
        )
        agent.start(feedback=feedback)
        work.add(job)
