"""What follows when an attempt brings no result: another attempt, a failed run, dependents passed over."""

from uuid import UUID

from commands.agents.attempts import project_of
from commands.handling import Command, handler
from commands.work import UnitOfWork
from domain.agents import Agent
from domain.errors import Refused
from domain.llm_jobs import LlmJob, reason_of
from domain.projects import Project
from domain.values import Code


class FailAgentAttempt(Command, permission="agents.settle"):
    """End the attempt whose job brought no answer."""

    job_id: UUID
    kind: Code


class RecoverAgent(Command, permission="agents.settle"):
    """Note that an agent's job lost its worker and goes on elsewhere."""

    job_id: UUID
    job_attempt: int


class SettleFailedAgent(Command, permission="agents.settle"):
    """Pass over everything that depends on an agent that failed, where its policy says so."""

    project_id: UUID
    agent_id: UUID


@handler
def fail_agent_attempt(command: FailAgentAttempt, work: UnitOfWork) -> None:
    """Another attempt later, while retries are left and may help; else the agent has failed."""
    job, agent = _agent_of(command.job_id, work)
    if job.status not in ("failed", "cancelled"):
        raise Refused(f"job {job.id} is {job.status}", code="not_due")
    project = project_of(work, agent)
    agent.fail_attempt(command.kind, reason_of(command.kind), retries=project.quality.retries, now=work.now)
    job.deliver(f"agent {agent.name}")


@handler
def recover_agent(command: RecoverAgent, work: UnitOfWork) -> None:
    """A job that has no attempt left fails instead, which is another event's story."""
    job, agent = _agent_of(command.job_id, work)
    if job.status == "failed":
        raise Refused(f"job {job.id} has failed", code="not_due")
    agent.recover(job.id, command.job_attempt)


def _agent_of(job_id: UUID, work: UnitOfWork) -> tuple[LlmJob, Agent]:
    """The job and the agent whose present attempt it is."""
    job = work.get(LlmJob, job_id)
    if job.agent_id is None:
        raise Refused(f"job {job.id} belongs to no agent", code="not_due")
    agent = work.get(Agent, job.agent_id)
    agent.check_attempt(job.id)
    return job, agent


@handler
def settle_failed_agent(command: SettleFailedAgent, work: UnitOfWork) -> None:
    """However far on they are; those of later phases too."""
    project = work.get(Project, command.project_id)
    agent = work.get(Agent, command.agent_id)
    if project.status not in ("running", "paused") or agent.status not in ("failed", "cancelled") or agent.blocks:
        raise Refused(f"what depends on agent {agent.name} stays as it is", code="not_due")
    ids = [project.node(name).agent_id for name in project.dependents_of([agent.name])]
    waiting = [each for each in work.get_all(Agent, ids) if each.status == "defined"]
    if not waiting:
        raise Refused(f"nothing waits for agent {agent.name}", code="not_due")
    for each in waiting:
        each.skip(agent.name)
