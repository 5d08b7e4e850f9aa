"""What may be asked of a project's life: start, pause, resume, cancel, archive, reset."""

from typing import Self
from uuid import UUID

from pydantic import model_validator

from commands.handling import Command, handler
from commands.projects.definition import OfProject
from commands.projects.stopping import AtWork, agents_of
from commands.work import UnitOfWork
from domain.errors import NotFound, Refused
from domain.projects import Project, ResetScope
from domain.values import Code, Prose, Slug


class StartProject(Command, permission="projects.start"):
    """Let the agents of the first phase run; after a reset, those of the phase that it names."""

    project_id: UUID


class PauseProject(OfProject, Command, permission="projects.pause"):
    """Start nothing new until the project is resumed."""

    reason: Code = "requested"
    note: Prose | None = None

    def has_text(self) -> bool:
        """The note."""
        return self.note is not None


class ResumeProject(Command, permission="projects.resume"):
    """Go on where the pause began."""

    project_id: UUID


class CancelProject(OfProject, Command, permission="projects.cancel"):
    """Stop the project and every agent that is at work."""

    reason: Code = "requested"
    note: Prose | None = None

    def has_text(self) -> bool:
        """The note."""
        return self.note is not None


class ArchiveProject(Command, permission="projects.archive"):
    """Put a project that has ended away."""

    project_id: UUID


class ResetProject(Command, permission="projects.reset"):
    """Have agents run again: all, those from one phase on, or those that failed and what depends on them."""

    project_id: UUID
    what: ResetScope = "all"
    phase: Slug | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.what == "agent":
            raise ValueError("reset one agent with ResetAgent")
        if (self.what == "phase") != (self.phase is not None):
            raise ValueError("name the phase when, and only when, one phase is reset")
        return self


@handler
def start_project(command: StartProject, work: UnitOfWork) -> None:
    """Every agent must have a model before the first one spends money."""
    project = work.get(Project, command.project_id)
    for agent in agents_of(project, work):
        project.ai_for(agent.name, agent.definition.ai)
    project.start(work.key_id)


@handler
def pause_project(command: PauseProject, work: UnitOfWork) -> None:
    """Jobs that were sent to a model may end; their results are kept."""
    project = work.get(Project, command.project_id)
    project.pause(command.reason, _note(command.note, work))


@handler
def resume_project(command: ResumeProject, work: UnitOfWork) -> None:
    """What became due in the meantime is started by reactions."""
    work.get(Project, command.project_id).resume()


@handler
def cancel_project(command: CancelProject, work: UnitOfWork) -> None:
    """In one append, so that no agent ever works for a cancelled project."""
    project = work.get(Project, command.project_id)
    at_work = AtWork.of(agents_of(project, work), work)
    project.cancel(command.reason, _note(command.note, work))
    at_work.cancel("project_cancelled")


@handler
def archive_project(command: ArchiveProject, work: UnitOfWork) -> None:
    """It can only be read from then on."""
    work.get(Project, command.project_id).archive()


@handler
def reset_project(command: ResetProject, work: UnitOfWork) -> None:
    """In one append, so that a start that follows at once finds every agent in its place."""
    project = work.get(Project, command.project_id)
    project.check_resettable()
    agents = {agent.name: agent for agent in agents_of(project, work)}
    match command.what:
        case "phase":
            if command.phase not in project.phases:
                raise NotFound(f"project {project.name} has no phase {command.phase}: {', '.join(project.phases)}")
            later = project.phases[project.phases.index(command.phase) :]
            names = [name for name in agents if project.node(name).phase in later]
        case "failed":
            failed = [name for name, agent in agents.items() if agent.status in ("failed", "cancelled")]
            if not failed and project.status == "completed":
                raise Refused(f"no agent of project {project.name} has failed", code="nothing_to_reset")
            names = [*failed, *project.dependents_of(failed)]
        case _:
            names = list(agents)
    first = min((project.node(name).phase for name in names), key=project.phases.index, default=project.current_phase)
    again = [agents[name] for name in names if agents[name].status != "defined"]
    project.reset(command.what, command.phase or first, [agent.name for agent in again])
    for agent in again:
        agent.reset()


def _note(note: str | None, work: UnitOfWork) -> str | None:
    return None if note is None else work.seal(note)
