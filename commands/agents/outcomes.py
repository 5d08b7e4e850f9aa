"""What follows when an attempt brings a result: it counts at once, or after a person's decision at a checkpoint."""

from datetime import timedelta
from uuid import UUID

from commands.agents.attempts import NextAttempt, project_of
from commands.handling import Command, handler
from commands.work import UnitOfWork
from domain.agents import Agent, AssetRef, Awaited, Review
from domain.checkpoints import Asset, Checkpoint
from domain.errors import Refused
from domain.ids import asset_id, checkpoint_id
from domain.llm_jobs import LlmJob
from domain.projects import Project
from domain.values import Text

UNREVIEWED = "toybox"
"""Who approves a result that nobody asked to review."""


class FinishAgentAttempt(Command, permission="agents.settle"):
    """Take the answer of an agent's job as the attempt's result."""

    job_id: UUID


class ApplyDecision(Command, permission="agents.settle"):
    """Do with an agent what was decided about its result, or what its checkpoint's expiry means."""

    agent_id: UUID
    checkpoint_id: UUID


class ApplyDecisionsHeldByPause(Command, permission="agents.settle"):
    """Begin the attempts that were asked for while the project was paused."""

    project_id: UUID


@handler
def finish_agent_attempt(command: FinishAgentAttempt, work: UnitOfWork) -> None:
    """Result, review and agent are one append: no reader sees a completed agent without its asset."""
    job = work.get(LlmJob, command.job_id)
    if job.agent_id is None or job.output is None:
        raise Refused(f"job {job.id} has no answer for an agent", code="not_due")
    agent = work.get(Agent, job.agent_id)
    agent.check_attempt(job.id)
    project = project_of(work, agent)
    review = agent.definition.checkpoint or (Review() if project.wants_review(agent.name) else None)
    held_by = work.check_new(Checkpoint, checkpoint_id(agent.id, agent.run, agent.attempt)) if review else None

    name = agent.definition.asset_name(agent.name)
    known = work.find(Asset, asset_id(project.id, name))
    version = known.newest + 1 if known else 1
    result = AssetRef(asset_id=asset_id(project.id, name), version=version, digest=job.output.digest)
    # Made before anything is triggered: what a checkpoint refuses must leave nothing behind.
    checkpoint = _checkpoint(held_by, review, project, agent, result, work) if review and held_by else None

    asset = _store(work, project.id, name, known, agent, job.output, held_by)
    if review and checkpoint:
        work.add(checkpoint)
        agent.hold([Awaited(kind="checkpoint", id=checkpoint.id, name=review.title)], result)
    else:
        asset.approve(result.version, result.digest, by=UNREVIEWED)
        agent.complete(result)
    job.deliver(f"agent {agent.name}")


def _store(
    work: UnitOfWork,
    project_id: UUID,
    name: str,
    known: Asset | None,
    agent: Agent,
    output: Text,
    held_by: UUID | None,
) -> Asset:
    """The result as the next version of an asset, or as the first."""
    media_type, by = agent.definition.media_type, f"agent {agent.name}"
    if known:
        known.supersede(
            output.digest,
            output.size,
            media_type=media_type,
            agent_id=agent.id,
            run=agent.run,
            held_by=held_by,
            by=by,
        )
        return known
    return work.add(
        Asset(
            id=asset_id(project_id, name),
            project_id=project_id,
            name=name,
            media_type=media_type,
            digest=output.digest,
            size=output.size,
            agent_id=agent.id,
            run=agent.run,
            held_by=held_by,
            by=by,
        )
    )


def _checkpoint(
    stream: UUID, review: Review, project: Project, agent: Agent, result: AssetRef, work: UnitOfWork
) -> Checkpoint:
    lasts = review.expires_in_seconds
    return Checkpoint(
        id=stream,
        project_id=project.id,
        phase=agent.phase,
        agent_id=agent.id,
        agent_name=agent.name,
        run=agent.run,
        attempt=agent.attempt,
        title=review.title,
        question=review.question,
        asset_id=result.asset_id,
        asset_version=result.version,
        digest=result.digest,
        due_at=None if lasts is None else work.now + timedelta(seconds=lasts),
    )


@handler
def apply_decision(command: ApplyDecision, work: UnitOfWork) -> None:
    """A paused project takes results, but starts nothing: another attempt waits until it is resumed."""
    checkpoint = work.get(Checkpoint, command.checkpoint_id)
    agent = work.get(Agent, checkpoint.agent_id)
    agent.check_held(checkpoint.run, checkpoint.attempt)
    if checkpoint.status == "expired":
        agent.fail("checkpoint_expired", "nobody decided about the result in time")
    elif checkpoint.decision in ("approve", "edit"):
        agent.complete(
            AssetRef(asset_id=checkpoint.asset_id, version=checkpoint.asset_version, digest=checkpoint.digest)
        )
    elif checkpoint.decision == "reject":
        agent.fail("rejected", "the result was rejected at its checkpoint")
    elif checkpoint.decision == "respond":
        project = project_of(work, agent)
        project.check_runs()
        NextAttempt.of(work, project, agent).begin(work, feedback=checkpoint.comment)
    else:
        raise Refused("this checkpoint has not been decided", code="not_due")


@handler
def apply_decisions_held_by_pause(command: ApplyDecisionsHeldByPause, work: UnitOfWork) -> None:
    """Whoever waits at a checkpoint that was answered meanwhile tries again."""
    project = work.get(Project, command.project_id)
    project.check_runs()
    agents = work.get_all(Agent, [node.agent_id for node in project.agents.values()])
    waiting = {awaited.id: agent for agent in agents for awaited in agent.waiting_for if awaited.kind == "checkpoint"}
    found = work.get_all(Checkpoint, waiting)
    answered = [(waiting[each.id], each.comment) for each in found if each.decision == "respond"]
    if not answered:
        raise Refused(f"no agent of project {project.name} waits to try again", code="not_due")
    attempts = NextAttempt.all_of(work, project, [agent for agent, _ in answered])
    for attempt, (_, comment) in zip(attempts, answered, strict=True):
        attempt.begin(work, feedback=comment)
