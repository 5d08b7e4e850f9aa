"""What may be asked of agents' definitions: add them to a project or the library, change them, remove them."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, StringConstraints

from commands.handling import Command, handler
from commands.work import UnitOfWork
from domain.agents import Agent, AssetName, Definition, MediaType, OnFailure, Patience, Retries, Review, Timeout
from domain.errors import NotFound, Refused
from domain.ids import agent_id, library_agent_id
from domain.projects import NewAgent, Project
from domain.values import AiConfig, FreeText, Name, Prose, Slug

Template = Annotated[FreeText, StringConstraints(max_length=65_536)]
Question = Annotated[Prose, StringConstraints(min_length=1, max_length=4_096)]


class WantedReview(BaseModel):
    """A review as it is asked for, its question not sealed yet."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    title: Name = Review().title
    question: Question | None = None
    expires_in_seconds: Patience | None = None

    def sealed(self, work: UnitOfWork) -> Review:
        """The review as the log keeps it."""
        question = None if self.question is None else work.seal(self.question)
        return Review(title=self.title, question=question, expires_in_seconds=self.expires_in_seconds)


class Wanted(BaseModel):
    """A definition as it is asked for, its texts not sealed yet. Fields that are not given stay as they were."""

    role: Slug | None = None
    instructions: Template | None = None
    prompt: Template | None = None
    ai: AiConfig = AiConfig()
    retries: Retries | None = None
    on_failure: OnFailure = "block"
    checkpoint: WantedReview | None = None
    output_name: AssetName | None = None
    media_type: MediaType = "text/markdown"
    timeout_seconds: Timeout | None = None

    def over(self, known: Definition, work: UnitOfWork) -> Definition:
        """What was known, changed where something was given."""
        given: dict[str, Any] = {
            name: getattr(self, name) for name in Definition.model_fields if name in self.model_fields_set
        }
        for name in ("instructions", "prompt"):
            if given.get(name) is not None:
                given[name] = work.seal(given[name])
        if self.checkpoint:
            given["checkpoint"] = self.checkpoint.sealed(work)
        return Definition.model_validate({**dict(known), **given})

    def has_text(self) -> bool:
        """Whether it brings text to seal."""
        question = self.checkpoint.question if self.checkpoint else None
        return any(text is not None for text in (self.instructions, self.prompt, question))


class AddAgent(Wanted, Command, permission="agents.add"):
    """Add an agent to a phase; what is not given is taken from the library's definition, where one is named."""

    project_id: UUID
    name: Slug
    phase: Slug
    depends_on: list[Slug] = []
    library: Slug | None = None

    def sealed_under(self) -> UUID | None:
        """The project's key. Text copied from the library stays under the library's."""
        return self.project_id if self.has_text() else None

    def streams(self) -> tuple[UUID, ...]:
        """The project, the agent, and where it is copied from."""
        copied = [library_agent_id(self.library)] if self.library else []
        return (self.project_id, agent_id(self.project_id, self.name), *copied)


class DefineLibraryAgent(Wanted, Command, permission="agents.define"):
    """Keep a definition in the library, for projects to copy."""

    name: Slug

    def sealed_under(self) -> UUID:
        """The definition's own key: it belongs to no project."""
        return library_agent_id(self.name)

    def makes_key(self) -> bool:
        """It is what the key is for."""
        return True

    def streams(self) -> tuple[UUID, ...]:
        """The definition."""
        return (library_agent_id(self.name),)


class ConfigureAgent(Wanted, Command, permission="agents.configure"):
    """Change an agent's definition; `project_id` is left out for a definition of the library."""

    agent_id: UUID
    project_id: UUID | None = None

    def sealed_under(self) -> UUID | None:
        """The project's key, or the definition's own."""
        return (self.project_id or self.agent_id) if self.has_text() else None


class RemoveAgent(Command, permission="agents.remove"):
    """Take an agent out of its project, before that runs, or out of the library."""

    agent_id: UUID


@handler
def add_agent(command: AddAgent, work: UnitOfWork) -> None:
    """The project checks how it fits into the graph; both events are one append."""
    project = work.get(Project, command.project_id)
    copied = Definition()
    if command.library:
        copied = _there(work.find(Agent, library_agent_id(command.library)), f"called {command.library}").definition
    stream = agent_id(project.id, command.name)
    definition = command.over(copied, work)
    removed = work.find(Agent, stream)
    _check_output(command.name, definition, project, work)
    node = NewAgent(
        agent_id=stream,
        name=command.name,
        phase=command.phase,
        depends_on=command.depends_on,
        on_failure=definition.on_failure,
        retries=definition.retries,
    )
    project.add_agents([node])
    if removed:
        removed.redefine(node.phase, definition)
    else:
        work.add(Agent.define(stream, project.id, node.name, node.phase, definition))


@handler
def define_library_agent(command: DefineLibraryAgent, work: UnitOfWork) -> None:
    """A name is taken once; a removed one may be defined again."""
    stream = library_agent_id(command.name)
    definition = command.over(Definition(), work)
    if known := work.find(Agent, stream):
        known.redefine(None, definition)
    else:
        work.add(Agent.define(stream, None, command.name, None, definition))


@handler
def configure_agent(command: ConfigureAgent, work: UnitOfWork) -> None:
    """While the project is under way, the agent must not be left without a model."""
    agent = work.get(Agent, command.agent_id)
    if agent.project_id != command.project_id:
        raise NotFound(f"agent {agent.name} is not there: name the project that it belongs to, or none for the library")
    definition = command.over(agent.definition, work)
    if agent.project_id:
        project = work.get(Project, agent.project_id)
        project.check_open("have an agent changed")
        if project.status in ("running", "paused"):
            project.ai_for(agent.name, definition.ai)
        _check_output(agent.name, definition, project, work)
    agent.configure(definition)


@handler
def remove_agent(command: RemoveAgent, work: UnitOfWork) -> None:
    """Its history stays; its name may be given again."""
    agent = _there(work.get(Agent, command.agent_id), str(command.agent_id))
    project = work.get(Project, agent.project_id) if agent.project_id else None
    if project:
        project.check_removable(agent.name)
    agent.remove()
    if project:
        project.remove_agent(agent.name)


def _check_output(name: str, definition: Definition, project: Project, work: UnitOfWork) -> None:
    """A file has one author: else one agent's result would pass for another's."""
    file = definition.asset_name(name)
    others = [node.agent_id for node in project.agents.values() if node.name != name]
    for other in work.get_all(Agent, others):
        if other.definition.asset_name(other.name) == file:
            raise Refused(
                f"agent {other.name} produces {file} already: give {name} an output_name of its own",
                code="output_taken",
                agent=other.name,
            )


def _there(agent: Agent | None, said: str) -> Agent:
    if agent is None or agent.status == "removed":
        raise NotFound(f"there is no agent {said}")
    return agent
