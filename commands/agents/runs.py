"""What may be asked of running agents: start what is due, tell how far it is, stop it, have it run again."""

from collections.abc import Iterable
from typing import Annotated
from uuid import UUID

from pydantic import Field

from commands.agents.attempts import NextAttempt, project_of
from commands.handling import Command, handler
from commands.work import UnitOfWork
from domain.agents import Agent
from domain.checkpoints import Checkpoint
from domain.errors import NotFound, Refused
from domain.ids import job_id
from domain.projects import Project
from domain.values import Prose

Count = Annotated[int, Field(ge=1)]


class StartAgent(Command, permission="agents.start"):
    """Begin the first attempt of a run."""

    agent_id: UUID
    run: Count

    def streams(self) -> tuple[UUID, ...]:
        """The agent and the job that it will have."""
        return (self.agent_id, job_id(self.agent_id, self.run, 1))


class StartAgentAttempt(Command, permission="agents.start"):
    """Begin the attempt that a retry was scheduled for."""

    agent_id: UUID
    run: Count
    attempt: Count

    def streams(self) -> tuple[UUID, ...]:
        """The agent and the job that it will have."""
        return (self.agent_id, job_id(self.agent_id, self.run, self.attempt))


class StartReadyAgents(Command, permission="agents.start"):
    """Begin whatever became due while the project was paused."""

    project_id: UUID


class ReportAgentProgress(Command, permission="agents.report"):
    """Say how far an attempt has come."""

    agent_id: UUID
    run: Count
    attempt: Count
    percentage: Annotated[int, Field(ge=0, le=100)]


class CancelAgent(Command, permission="agents.cancel"):
    """Stop one agent; its failure policy decides about those that depend on it."""

    agent_id: UUID
    project_id: UUID
    note: Prose | None = None

    def sealed_under(self) -> UUID | None:
        """The project's key, for the note."""
        return None if self.note is None else self.project_id


class ResetAgent(Command, permission="agents.reset"):
    """Have an agent run again, and everything that depends on it."""

    agent_id: UUID


class RetryAgent(Command, permission="agents.retry"):
    """Have an agent that failed or was cancelled run again at once, and everything that depends on it."""

    agent_id: UUID


@handler
def start_agent(command: StartAgent, work: UnitOfWork) -> None:
    """Only the first attempt of the present run, and only while the project runs."""
    _start(command.agent_id, command.run, 1, work)


@handler
def start_agent_attempt(command: StartAgentAttempt, work: UnitOfWork) -> None:
    """Only the attempt that is due, and only while the project runs; what a pause held back starts when it ends."""
    _start(command.agent_id, command.run, command.attempt, work)


def _start(agent_id: UUID, run: int, attempt: int, work: UnitOfWork) -> None:
    agent = work.get(Agent, agent_id)
    agent.check_due(run, attempt, work.now)
    project = project_of(work, agent)
    project.check_runs()
    NextAttempt.of(work, project, agent).begin(work)


@handler
def start_ready_agents(command: StartReadyAgents, work: UnitOfWork) -> None:
    """Agents that are ready, and retries whose time has come."""
    project = work.get(Project, command.project_id)
    project.check_runs()
    agents = work.get_all(Agent, [node.agent_id for node in project.agents.values()])
    due = [agent for agent in agents if agent.is_due(work.now)]
    if not due:
        raise Refused(f"no agent of project {project.name} waits to be started", code="not_due")
    for attempt in NextAttempt.all_of(work, project, due):
        attempt.begin(work)


@handler
def report_agent_progress(command: ReportAgentProgress, work: UnitOfWork) -> None:
    """Progress of an attempt that no longer runs is of no interest."""
    agent = work.get(Agent, command.agent_id)
    if agent.status != "running" or (command.run, command.attempt) != (agent.run, agent.attempt):
        raise Refused(f"attempt {command.attempt} of run {command.run} does not run", code="not_due")
    agent.progress(command.percentage)


@handler
def cancel_agent(command: CancelAgent, work: UnitOfWork) -> None:
    """An agent that has not ended, of a project that is under way."""
    agent = work.get(Agent, command.agent_id)
    project = project_of(work, agent)
    if project.id != command.project_id:
        raise NotFound(f"project {command.project_id} has no agent {command.agent_id}")
    reviews = _reviews_of([agent], work)
    project.check_under_way("have an agent cancelled")
    agent.cancel("requested", None if command.note is None else work.seal(command.note))
    for each in reviews:
        each.withdraw("agent_cancelled")


@handler
def reset_agent(command: ResetAgent, work: UnitOfWork) -> None:
    """In a project that is under way they run again at once; otherwise the project can be started again."""
    agent = work.get(Agent, command.agent_id)
    _run_again(agent, project_of(work, agent), work)


@handler
def retry_agent(command: RetryAgent, work: UnitOfWork) -> None:
    """Never what has succeeded. A project that has failed or is completed goes on, in the same append."""
    agent = work.get(Agent, command.agent_id)
    project = project_of(work, agent)
    if agent.status not in ("failed", "cancelled"):
        msg = f"agent {agent.name} is {agent.status}; only what failed or was cancelled is retried: reset it"
        raise Refused(msg, code="wrong_status", status=agent.status)
    ended = project.status in ("failed", "completed")
    if not ended:
        project.check_under_way("have an agent retried")
    for each in work.get_all(Agent, [node.agent_id for node in project.agents.values()] if ended else []):
        project.ai_for(each.name, each.definition.ai)
    _run_again(agent, project, work)
    if ended:
        project.start(work.key_id or project.key_id)


def _run_again(agent: Agent, project: Project, work: UnitOfWork) -> None:
    """Checks everything before anything is triggered."""
    node = project.node(agent.name)
    names = [node.name, *project.dependents_of([node.name])]
    agents = work.get_all(Agent, [project.node(name).agent_id for name in names])
    again = [each for each in agents if each.status != "defined"]
    if not again:
        raise Refused(f"agent {agent.name} has not run yet, so there is nothing to reset", code="nothing_to_reset")
    reviews = _reviews_of(again, work)
    if project.status in ("running", "paused"):
        project.reopen(node.phase)
    else:
        project.reset("agent", node.phase, [each.name for each in again])
    for each in again:
        each.reset()
    for each in reviews:
        each.withdraw("agent_reset")


def _reviews_of(agents: Iterable[Agent], work: UnitOfWork) -> list[Checkpoint]:
    """The checkpoints that these agents wait at."""
    return work.get_all(Checkpoint, [each.reviewed_at for each in agents if each.reviewed_at])
