"""Projects that run and stay running, so that jobs may be queued for them all the time."""

from uuid import UUID

from commands.handling import Command, handler
from commands.work import UnitOfWork
from domain.agents import Agent, Definition
from domain.ids import agent_id
from domain.projects import Project, ProjectSettings, QualitySettings
from domain.values import AiConfig

PHASE, AGENT = "work", "keeper"


class StageRunningProject(Command, permission="faults.stage"):
    """A running project whose only agent never comes to an end."""

    project_id: UUID

    def sealed_under(self) -> UUID:
        """The project's key."""
        return self.project_id

    def makes_key(self) -> bool:
        """A project has one from its beginning."""
        return True


@handler
def stage_running_project(command: StageRunningProject, work: UnitOfWork) -> None:
    """All at once, as their own commands would have left it; the keeper's job is nowhere."""
    project = Project(
        id=work.check_new(Project, command.project_id),
        project_id=command.project_id,
        name="Stage",
        description=None,
        blueprint_name=None,
        blueprint_digest=None,
        ai=AiConfig(),
        quality=QualitySettings(),
        settings=ProjectSettings(),
    )
    keeper = work.check_new(Agent, agent_id(command.project_id, AGENT))
    agent = Agent.define(keeper, command.project_id, AGENT, PHASE, Definition())
    project.add_phase(PHASE)
    project.trigger_event(
        Project.AgentAdded,
        agent_id=keeper,
        name=AGENT,
        phase=PHASE,
        depends_on=[],
        on_failure="block",
        retries=None,
    )
    project.initialize([])
    project.start(None)
    agent.make_ready()
    agent.start()
    work.add(project)
    work.add(agent)
