"""The project aggregate: its phases and the graph of its agents, and its life from creation to archive."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from domain.errors import Conflict, NotFound, Refused
from domain.kernel import Aggregate, Created, event
from domain.projects.graph import MAX_PHASES, AgentNode, NewAgent, OnFailure, ancestors, dependents, grown
from domain.projects.settings import Input, ProjectSettings, QualitySettings, completed
from domain.projects.status import EDITABLE, ENDED, ProjectStatus, ResetScope
from domain.values import AiConfig, Code, Digest, Name, Sealed, Slug


class Project(Aggregate):
    """Work that agents do in phases. It decides what may happen when; each agent decides about itself."""

    TOPIC = "project"
    FOLD = 2
    project_id: UUID
    name: str
    status: ProjectStatus
    ai: AiConfig
    quality: QualitySettings
    settings: ProjectSettings
    phases: list[str]
    key_id: UUID | None
    phase: str | None
    """The phase that runs, or that the next start begins with; None before the first start."""
    agents: dict[str, AgentNode]
    """By name, dependencies before those that wait for them."""
    inputs: list[Input]
    was_initialized: bool
    """Whether it has ever been given its inputs: before that, there is nothing to run again."""

    class Created(Created, type="project.created"):
        """A project was created."""

        project_id: UUID
        name: Name
        description: Sealed | None
        blueprint_name: Slug | None
        blueprint_digest: Digest | None
        ai: AiConfig
        quality: QualitySettings
        settings: ProjectSettings

    class PhaseAdded(Aggregate.Event, type="project.phase_added"):
        """A phase was added behind the others."""

        name: Slug

    class AgentAdded(Aggregate.Event, type="project.agent_added"):
        """An agent was added to a phase, with what it depends on."""

        agent_id: UUID
        name: Slug
        phase: Slug
        depends_on: list[Slug]
        on_failure: OnFailure
        retries: int | None

    class AgentRemoved(Aggregate.Event, type="project.agent_removed"):
        """An agent was removed."""

        agent_id: UUID
        name: Slug

    class Initialized(Aggregate.Event, type="project.initialized"):
        """The project has all that it needs to be started; these are its inputs."""

        inputs: list[Input]

    class Started(Aggregate.Event, type="project.started"):
        """The project runs, beginning with this phase."""

        phase: Slug
        key_id: UUID | None
        """The access key of whoever started it: what its agents spend is asked for by that key."""

    class Paused(Aggregate.Event, type="project.paused"):
        """Nothing new is started until the project is resumed; what runs may end."""

        reason: Code
        note: Sealed | None

    class Resumed(Aggregate.Event, type="project.resumed"):
        """The project runs again."""

    class PhaseAdvanced(Aggregate.Event, type="project.phase_advanced"):
        """A phase is through, and the next one began."""

        from_phase: Slug
        to_phase: Slug

    class PhaseReopened(Aggregate.Event, type="project.phase_reopened"):
        """An agent of an earlier phase will run again, so the project went back to that phase."""

        from_phase: Slug
        to_phase: Slug

    class Completed(Aggregate.Event, type="project.completed"):
        """All phases are through."""

    class Failed(Aggregate.Event, type="project.failed"):
        """The project cannot go on: an agent failed, and what is left waits for it."""

        reason: Code
        agent: Slug | None

    class Cancelled(Aggregate.Event, type="project.cancelled"):
        """The project was stopped for good."""

        reason: Code
        note: Sealed | None

    class Archived(Aggregate.Event, type="project.archived"):
        """The project was put away; it can only be read."""

    class SettingsChanged(Aggregate.Event, type="project.settings_changed"):
        """Name, settings, and, where it is given, the description of the project were changed."""

        name: Name
        description: Sealed | None
        settings: ProjectSettings

    class QualitySettingsChanged(Aggregate.Event, type="project.quality_settings_changed"):
        """What the project asks of its agents' work was changed."""

        quality: QualitySettings

    class AiConfigChanged(Aggregate.Event, type="project.ai_config_changed"):
        """The model that agents use where they do not name their own was changed."""

        ai: AiConfig

    class Reset(Aggregate.Event, type="project.reset"):
        """These agents will run again; the project can be started again, beginning with this phase."""

        what: ResetScope
        phase: Slug
        agents: list[Slug]

    # --- decisions: definition ---

    @event(Created)
    def __init__(  # noqa: PLR0913, PLR0917 -- as many facts as the event has
        self,
        id: UUID,  # noqa: ARG002 -- the library's name for it
        project_id: UUID,
        name: str,
        description: str | None,  # noqa: ARG002 -- kept by the event alone
        blueprint_name: str | None,  # noqa: ARG002
        blueprint_digest: str | None,  # noqa: ARG002
        ai: AiConfig,
        quality: QualitySettings,
        settings: ProjectSettings,
    ) -> None:
        self.project_id, self.name, self.ai, self.quality, self.settings = project_id, name, ai, quality, settings
        self.status, self.key_id = "created", None
        self.phases, self.phase, self.agents, self.inputs, self.was_initialized = [], None, {}, [], False

    def add_phase(self, name: str) -> None:
        self._must_be(*EDITABLE, to="get another phase")
        if name in self.phases:
            raise Conflict(f"there is already a phase called {name}: choose another name")
        if len(self.phases) >= MAX_PHASES:
            raise Refused(f"a project has at most {MAX_PHASES} phases: split the work", code="too_many_phases")
        self.trigger_event(Project.PhaseAdded, name=name)

    def check_agents(self, agents: Sequence[NewAgent]) -> Sequence[NewAgent]:
        """The same, dependencies first, when they may be added."""
        self._must_be(*EDITABLE, to="get another agent")
        return grown(self.phases, self.agents, agents)

    def add_agents(self, agents: Sequence[NewAgent]) -> None:
        for agent in self.check_agents(agents):
            self.trigger_event(Project.AgentAdded, **dict(agent))

    def check_removable(self, name: str) -> AgentNode:
        self._must_be(*EDITABLE, to="lose an agent")
        node = self.node(name)
        waiting = [other.name for other in self.agents.values() if name in other.depends_on]
        if waiting:
            raise Refused(f"{', '.join(waiting)} depend on {name}: remove them first", code="agent_needed")
        return node

    def remove_agent(self, name: str) -> None:
        node = self.check_removable(name)
        self.trigger_event(Project.AgentRemoved, agent_id=node.agent_id, name=name)

    def initialize(self, inputs: list[Input]) -> None:
        self._must_be(*EDITABLE, to="be initialized")
        self._check_runnable()
        names = [each.name for each in inputs]
        if len(set(names)) < len(names):
            raise Refused("two inputs have the same name: give each once", code="input_given_twice")
        self.trigger_event(Project.Initialized, inputs=inputs)

    def _check_runnable(self) -> None:
        empty = [name for name in self.phases if not self.agents_of(name)]
        if empty or not self.phases:
            lacking = f"phase {empty[0]} has no agents: add one" if empty else "the project has no phases: add one"
            raise Refused(lacking, code="nothing_to_run")
        self._check_quality(self.quality)

    def change_settings(self, name: str | None, description: str | None, settings: ProjectSettings | None) -> None:
        self.check_open("be changed")
        name, settings = name or self.name, settings or self.settings
        if description is not None or (name, settings) != (self.name, self.settings):
            self.trigger_event(Project.SettingsChanged, name=name, description=description, settings=settings)

    def change_quality(self, quality: QualitySettings) -> None:
        self.check_open("be changed")
        if self.status != "created":  # before, the agents that it names may still be to come
            self._check_quality(quality)
        if quality != self.quality:
            self.trigger_event(Project.QualitySettingsChanged, quality=quality)

    def _check_quality(self, quality: QualitySettings) -> None:
        unknown = [name for name in quality.checkpoints if name not in self.agents]
        if unknown:
            raise Refused(
                f"quality settings ask for a checkpoint of {', '.join(unknown)}, which is no agent of this project",
                code="unknown_agent",
            )

    def change_ai(self, ai: AiConfig) -> None:
        self.check_open("be changed")
        if ai != self.ai:
            self.trigger_event(Project.AiConfigChanged, ai=ai)

    # --- decisions: life ---

    def start(self, key_id: UUID | None) -> None:
        self._must_be("initialized", to="be started")
        self._check_runnable()
        self.trigger_event(Project.Started, phase=self.phase or self.phases[0], key_id=key_id)

    def pause(self, reason: str, note: str | None) -> None:
        self._must_be("running", to="be paused")
        self.trigger_event(Project.Paused, reason=reason, note=note)

    def resume(self) -> None:
        self._must_be("paused", to="be resumed")
        self.trigger_event(Project.Resumed)

    def cancel(self, reason: str, note: str | None) -> None:
        self._must_be(*EDITABLE, "running", "paused", to="be cancelled")
        self.trigger_event(Project.Cancelled, reason=reason, note=note)

    def archive(self) -> None:
        self._must_be(*ENDED, to="be archived")
        self.trigger_event(Project.Archived)

    def check_runs(self) -> None:
        """Refuse what only a running project does; quietly, because a reaction asks."""
        if self.status != "running":
            raise Refused(f"project {self.name} is {self.status}", code="not_due")

    def check_under_way(self, to: str) -> None:
        self._must_be("running", "paused", to=to)

    def check_open(self, to: str) -> None:
        if self.status == "archived":
            raise Refused(f"project {self.name} is archived, so it can no longer {to}", code="wrong_status")

    def finish_phase(self) -> None:
        self.check_runs()
        phase = self.current_phase
        rest = self.phases[self.phases.index(phase) + 1 :]
        if rest:
            self.trigger_event(Project.PhaseAdvanced, from_phase=phase, to_phase=rest[0])
        else:
            self.trigger_event(Project.Completed)

    def fail(self, reason: str, agent: str | None) -> None:
        self.check_runs()
        self.trigger_event(Project.Failed, reason=reason, agent=agent)

    def check_resettable(self) -> None:
        self._must_be("initialized", *ENDED, to="be reset")
        if not self.was_initialized:
            message = f"project {self.name} was never initialized, so nothing can run again: create it anew"
            raise Refused(message, code="never_initialized")

    def reset(self, what: ResetScope, phase: str, agents: list[str]) -> None:
        self.check_resettable()
        first = min(phase, self.current_phase, key=self.phases.index)
        self.trigger_event(Project.Reset, what=what, phase=first, agents=agents)

    def reopen(self, phase: str) -> None:
        """Go back to an earlier phase; where it is there or before it, nothing changes."""
        self.check_under_way("go back to a phase")
        if self.phases.index(phase) < self.phases.index(self.current_phase):
            self.trigger_event(Project.PhaseReopened, from_phase=self.current_phase, to_phase=phase)

    # --- what others ask it ---

    @property
    def current_phase(self) -> str:
        """The phase that runs, or that the next start begins with."""
        return self.phase or self.phases[0]

    def node(self, name: str) -> AgentNode:
        if name not in self.agents:
            raise NotFound(f"project {self.name} has no agent called {name}")
        return self.agents[name]

    def agents_of(self, phase: str) -> list[AgentNode]:
        return [node for node in self.agents.values() if node.phase == phase]

    def dependents_of(self, names: Iterable[str]) -> Sequence[str]:
        return dependents(self.agents, names)

    def ancestors_of(self, name: str) -> Sequence[str]:
        """Every agent that this one waits for, however far back: those whose results its prompt may use."""
        return ancestors(self.agents, name)

    def wants_review(self, agent: str) -> bool:
        """Whether the project asks for a checkpoint after this agent, whatever its definition says."""
        return agent in self.quality.checkpoints

    def ai_for(self, agent: str, own: AiConfig) -> AiConfig:
        """The agent's own choices, completed by the project's; refused when that names no model."""
        return completed(agent, own, self.ai)

    def _must_be(self, *allowed: ProjectStatus, to: str) -> None:
        if self.status not in allowed:
            message = f"project {self.name} is {self.status}; it must be {' or '.join(allowed)} to {to}"
            raise Refused(message, code="wrong_status", status=self.status)

    # --- appliers ---

    @event(PhaseAdded)
    def _phase_added(self, name: str) -> None:
        self.phases.append(name)

    @event(AgentAdded)
    def _agent_added(self, agent_id: UUID, name: str, phase: str, depends_on: list[str]) -> None:
        self.agents[name] = AgentNode(agent_id=agent_id, name=name, phase=phase, depends_on=depends_on)

    @event(AgentRemoved)
    def _agent_removed(self, name: str) -> None:
        del self.agents[name]

    @event(Initialized)
    def _initialized(self, inputs: list[Input]) -> None:
        self.status, self.inputs, self.was_initialized = "initialized", inputs, True

    @event(Started)
    def _started(self, phase: str, key_id: UUID | None) -> None:
        self.status, self.phase, self.key_id = "running", phase, key_id

    @event(Paused)
    def _paused(self) -> None:
        self.status = "paused"

    @event(Resumed)
    def _resumed(self) -> None:
        self.status = "running"

    @event(PhaseAdvanced)
    def _phase_advanced(self, to_phase: str) -> None:
        self.phase = to_phase

    @event(PhaseReopened)
    def _phase_reopened(self, to_phase: str) -> None:
        self.phase = to_phase

    @event(Completed)
    def _completed(self) -> None:
        self.status = "completed"

    @event(Failed)
    def _failed(self) -> None:
        self.status = "failed"

    @event(Cancelled)
    def _cancelled(self) -> None:
        self.status = "cancelled"

    @event(Archived)
    def _archived(self) -> None:
        self.status = "archived"

    @event(SettingsChanged)
    def _settings_changed(self, name: str, settings: ProjectSettings) -> None:
        self.name, self.settings = name, settings

    @event(QualitySettingsChanged)
    def _quality_settings_changed(self, quality: QualitySettings) -> None:
        self.quality = quality

    @event(AiConfigChanged)
    def _ai_config_changed(self, ai: AiConfig) -> None:
        self.ai = ai

    @event(Reset)
    def _reset(self, phase: str) -> None:
        self.status, self.phase = "initialized", phase
