"""What may be asked of a project's definition: create it, add phases, give it inputs, change its settings."""

from typing import Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator

from commands.handling import Command, handler
from commands.work import UnitOfWork
from domain.agents import Agent
from domain.projects import (
    Input,
    InputKind,
    InputName,
    InputNumber,
    Project,
    ProjectSettings,
    QualitySettings,
    completed,
)
from domain.values import AiConfig, FreeText, Name, Prose, Slug, Text

_NUMBER = TypeAdapter[str](InputNumber)


class GivenInput(BaseModel):
    """An input as it is given: its text, or, when that is long, the digest under which it was stored before."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: InputName
    kind: InputKind = "text"
    text: FreeText | Text

    @model_validator(mode="after")
    def _is_a_number(self) -> Self:
        if self.kind == "number":
            try:
                _NUMBER.validate_python(self.text, strict=True)
            except ValidationError as error:
                raise ValueError(f"{self.name} is no number: write one such as 3 or 0.25") from error
        return self

    def sealed(self, work: UnitOfWork) -> Input:
        """The input as the log keeps it."""
        return Input(name=self.name, kind=self.kind, text=work.text(self.text))


class OfProject(BaseModel):
    """A command about one project; its texts are sealed under the project's key."""

    project_id: UUID

    def has_text(self) -> bool:
        """Whether it brings text to seal."""
        return True

    def sealed_under(self) -> UUID | None:
        """The project's key. A command without text works without it too: a project may outlive its key."""
        return self.project_id if self.has_text() else None


class CreateProject(OfProject, Command, permission="projects.create"):
    """Make an empty project."""

    name: Name
    description: Prose | None = None
    ai: AiConfig = AiConfig()
    quality: QualitySettings = QualitySettings()
    settings: ProjectSettings = ProjectSettings()

    def makes_key(self) -> bool:
        """From now on the project has one."""
        return True


class AddPhase(Command, permission="projects.define"):
    """Add a phase behind the others."""

    project_id: UUID
    name: Slug


class InitializeProject(OfProject, Command, permission="projects.initialize"):
    """Give a project its inputs; from then on it can be started."""

    inputs: list[GivenInput] = []

    def has_text(self) -> bool:
        """Inputs that were stored before are sealed already."""
        return any(isinstance(each.text, str) for each in self.inputs)


class ChangeProjectSettings(OfProject, Command, permission="projects.configure"):
    """Change name, description or settings; what is left out stays."""

    name: Name | None = None
    description: Prose | None = None
    settings: ProjectSettings | None = None

    def has_text(self) -> bool:
        """The description."""
        return self.description is not None


class ChangeQualitySettings(Command, permission="projects.configure"):
    """Change what the project asks of its agents' work; results that were accepted stay so."""

    project_id: UUID
    quality: QualitySettings


class ChangeAiConfig(Command, permission="projects.configure"):
    """Change the model of all agents that do not name their own; attempts that run keep theirs."""

    project_id: UUID
    ai: AiConfig


@handler
def create_project(command: CreateProject, work: UnitOfWork) -> None:
    """Phases and agents are added later."""
    work.add(
        Project(
            id=work.check_new(Project, command.project_id),
            project_id=command.project_id,
            name=command.name,
            description=_sealed(command.description, work),
            blueprint_name=None,
            blueprint_digest=None,
            ai=command.ai,
            quality=command.quality,
            settings=command.settings,
        )
    )


@handler
def add_phase(command: AddPhase, work: UnitOfWork) -> None:
    """Phases run in the order in which they were added."""
    work.get(Project, command.project_id).add_phase(command.name)


@handler
def initialize_project(command: InitializeProject, work: UnitOfWork) -> None:
    """Until it is started, other inputs may be given again."""
    work.get(Project, command.project_id).initialize([each.sealed(work) for each in command.inputs])


@handler
def change_project_settings(command: ChangeProjectSettings, work: UnitOfWork) -> None:
    """Settings count for jobs that are queued from now on."""
    project = work.get(Project, command.project_id)
    project.change_settings(command.name, _sealed(command.description, work), command.settings)


@handler
def change_quality_settings(command: ChangeQualitySettings, work: UnitOfWork) -> None:
    """They count for results that arrive from now on."""
    work.get(Project, command.project_id).change_quality(command.quality)


@handler
def change_ai_config(command: ChangeAiConfig, work: UnitOfWork) -> None:
    """While the project is under way, no agent must be left without a model."""
    project = work.get(Project, command.project_id)
    if project.status in ("running", "paused"):
        for agent in work.get_all(Agent, [node.agent_id for node in project.agents.values()]):
            completed(agent.name, agent.definition.ai, command.ai)
    project.change_ai(command.ai)


def _sealed(text: str | None, work: UnitOfWork) -> str | None:
    return None if text is None else work.seal(text)
