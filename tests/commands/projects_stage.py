"""Projects for stories: built from a sketch of their graph, their agents finished and held back by hand."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from commands.agents import AddAgent
from commands.agents.attempts import NextAttempt, project_of
from commands.handling import Command, handler
from commands.projects import AddPhase, CreateProject, GivenInput, InitializeProject, StartProject
from commands.work import UnitOfWork
from domain.agents import Agent, AssetRef, Awaited
from domain.checkpoints import Checkpoint
from domain.ids import agent_id, asset_id, checkpoint_id
from domain.projects import Project
from domain.values import AiConfig
from tests.commands.staging import admit, fail
from tests.support.story import Story

SCRIPTED = AiConfig(provider="scripted", model="scripted-small")
DIGEST = "0" * 64
HOLD = 700
"""Seconds: longer than the deadline of a job on this stage."""
Sketch = Mapping[str, Mapping[str, Sequence[str]]]
"""Phases, their agents, and what each agent depends on."""
DIAMOND: Sketch = {"write": {"top": [], "left": ["top"], "right": ["top"], "join": ["left", "right"]}}


class FinishAgentByHand(Command, permission="staging.finish"):
    """Complete an agent that runs or is held back, with some asset."""

    agent_id: UUID


class HoldAgentByHand(Command, permission="staging.finish"):
    """Hold the result of an agent back, as for a review."""

    agent_id: UUID
    with_asset: bool = True


class BreakAgentByHand(Command, permission="staging.finish"):
    """Have an agent fail that had completed, as no command of the product can."""

    agent_id: UUID


class AnswerByHand(Command, permission="staging.finish"):
    """Let an agent that is held back run again with a reviewer's answer."""

    agent_id: UUID
    project_id: UUID
    feedback: str

    def sealed_under(self) -> UUID:
        """The project's key."""
        return self.project_id


@handler
def finish_agent_by_hand(command: FinishAgentByHand, work: UnitOfWork) -> None:
    """Completed."""
    agent = work.get(Agent, command.agent_id)
    agent.complete(_asset(agent))


@handler
def hold_agent_by_hand(command: HoldAgentByHand, work: UnitOfWork) -> None:
    """Waiting."""
    agent = work.get(Agent, command.agent_id)
    assert agent.project_id
    stream = work.check_new(Checkpoint, checkpoint_id(agent.id, agent.run, agent.attempt))
    awaited, asset = Awaited(kind="checkpoint", id=stream, name="Review"), _asset(agent)
    checkpoint = Checkpoint(
        id=stream,
        project_id=agent.project_id,
        phase=agent.phase,
        agent_id=agent.id,
        agent_name=agent.name,
        run=agent.run,
        attempt=agent.attempt,
        title="Review",
        question=None,
        asset_id=asset.asset_id,
        asset_version=1,
        digest=asset.digest,
        due_at=None,
    )
    agent.hold([awaited], asset if command.with_asset else None)
    work.add(checkpoint)


@handler
def break_agent_by_hand(command: BreakAgentByHand, work: UnitOfWork) -> None:
    """Failed."""
    agent = work.get(Agent, command.agent_id)
    facts = {"run": agent.run, "attempt": agent.attempt, "code": "test", "reason": "test", "on_failure": "block"}
    agent.trigger_event(Agent.Failed, **facts)


@handler
def answer_by_hand(command: AnswerByHand, work: UnitOfWork) -> None:
    """Running again."""
    agent = work.get(Agent, command.agent_id)
    agent.check_held(agent.run, agent.attempt)
    project = project_of(work, agent)
    NextAttempt.of(work, project, agent).begin(work, feedback=work.seal(command.feedback))


def _asset(agent: Agent) -> AssetRef:
    assert agent.project_id
    return AssetRef(asset_id=asset_id(agent.project_id, f"{agent.name}.md"), version=1, digest=DIGEST)


async def build(
    story: Story, sketch: Sketch, *, started: bool = False, initialized: bool = True, **of: Mapping[str, Any]
) -> UUID:
    """A project from a sketch; `of` adds fields to the agents that it names."""
    project = story.id("project")
    await story.given(CreateProject(project_id=project, name="Stage", ai=SCRIPTED))
    for phase, agents in sketch.items():
        await story.given(AddPhase(project_id=project, name=phase))
        for name, needs in agents.items():
            facts = {"project_id": project, "phase": phase, "name": name, "depends_on": list(needs)}
            await story.given(AddAgent(**facts, **of.get(name, {})))
    if initialized or started:
        topic = GivenInput(name="topic", text="tides")
        await story.given(InitializeProject(project_id=project, inputs=[topic]))
    if started:
        await story.given(StartProject(project_id=project))
    return project


def an_agent(story: Story, name: str) -> Agent:
    """An agent of the project on the stage."""
    return story.state(Agent, agent_id(story.id("project"), name))


def the_project(story: Story) -> Project:
    """The project on the stage."""
    return story.state(Project, story.id("project"))


def statuses(story: Story) -> dict[str, str]:
    """Every agent's status, by name."""
    return {name: an_agent(story, name).status for name in the_project(story).agents}


async def fail_job(story: Story, name: str, kind: str = "timeout") -> UUID:
    """Admit the job of an agent's present attempt and have it fail for good."""
    job = an_agent(story, name).job_id
    assert job
    project = story.id("project")
    await story.given(
        admit(job, hold_seconds=HOLD, project_id=project),
        fail(job, kind=kind, retryable=False, detail="busy", project_id=project),
    )
    return job
