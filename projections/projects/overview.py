"""Answers "how does this project stand?": its life and phases; a fold over every event that carries its id."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal
from uuid import UUID

from domain.kernel import Event
from domain.log import StoredEvent
from domain.projects import Project
from projections.documents import Column
from projections.projector import on
from projections.projects.agents import OverviewOfAgents
from projections.projects.changes import with_new_agent, with_phases, with_phases_from, without_agent
from projections.projects.views import AgentLine, InputLine, PhaseLine, PhaseStatus, ProjectOverview

EndStatus = Literal["completed", "failed", "cancelled"]
ENDS: Mapping[type[Event], EndStatus] = {
    Project.Completed: "completed",
    Project.Failed: "failed",
    Project.Cancelled: "cancelled",
}


class ProjectOverviews(OverviewOfAgents):
    """Answers "how does this project stand?": one view per project."""

    name = "project_overviews"
    version = 2
    begins = Project.Created
    columns: ClassVar[Mapping[str, Column]] = {
        "name": Column(),
        "status": Column(),
        "reason": Column(),
        "phase": Column(),
        "counts": Column(),
        "spent": Column("numeric"),
        "created_at": Column(),
        "started_at": Column(),
        "ended_at": Column(),
        "version": Column("bigint"),
    }
    indexes: ClassVar[Sequence[Sequence[str]]] = (("created_at",), ("status", "created_at"))

    def key(self, stored: StoredEvent, event: Event) -> UUID | None:  # noqa: ARG002
        """The project; what belongs to none is of no interest."""
        return stored.project_id

    @on(Project.Created)
    def created(self, _view: None, event: Project.Created, stored: StoredEvent) -> ProjectOverview:
        """An empty project."""
        return ProjectOverview(
            id=stored.stream_id,
            name=event.name,
            description=event.description,
            ai=event.ai,
            quality=event.quality,
            settings=event.settings,
            blueprint_name=event.blueprint_name,
            blueprint_digest=event.blueprint_digest,
            created_at=stored.recorded_at,
        )

    @on(Project.PhaseAdded)
    def phase_added(self, view: ProjectOverview, event: Project.PhaseAdded, _stored: StoredEvent) -> ProjectOverview:
        """One phase more, behind the others."""
        return view.but(phases=(*view.phases, PhaseLine(name=event.name)))

    @on(Project.AgentAdded)
    def agent_added(self, view: ProjectOverview, event: Project.AgentAdded, _stored: StoredEvent) -> ProjectOverview:
        """One agent more."""
        agent = AgentLine(
            id=event.agent_id,
            name=event.name,
            run=view.removed_runs.get(event.agent_id, 0) + 1,
            depends_on=tuple(event.depends_on),
            on_failure=event.on_failure,
        )
        return with_new_agent(view, event.phase, agent)

    @on(Project.AgentRemoved)
    def agent_removed(
        self, view: ProjectOverview, event: Project.AgentRemoved, _stored: StoredEvent
    ) -> ProjectOverview:
        """One agent less."""
        return without_agent(view, event.agent_id)

    @on(Project.Initialized)
    def initialized(self, view: ProjectOverview, event: Project.Initialized, _stored: StoredEvent) -> ProjectOverview:
        """It can be started."""
        inputs = tuple(
            InputLine(name=each.name, kind=each.kind, digest=each.text.digest, size=each.text.size)
            for each in event.inputs
        )
        return view.but(status="initialized", inputs=inputs)

    @on(Project.Started)
    def started(self, view: ProjectOverview, event: Project.Started, stored: StoredEvent) -> ProjectOverview:
        """It runs."""
        running = with_phases(view, {event.phase: "running"})
        return running.but(
            status="running", phase=event.phase, started_at=view.started_at or stored.recorded_at, **NO_REASON
        )

    @on(Project.Paused)
    def paused(self, view: ProjectOverview, event: Project.Paused, _stored: StoredEvent) -> ProjectOverview:
        """Nothing new is started."""
        return view.but(status="paused", reason=event.reason, note=event.note)

    @on(Project.Resumed)
    def resumed(self, view: ProjectOverview, _event: Project.Resumed, _stored: StoredEvent) -> ProjectOverview:
        """It runs again."""
        return view.but(status="running", **NO_REASON)

    @on(Project.PhaseAdvanced)
    def phase_advanced(
        self, view: ProjectOverview, event: Project.PhaseAdvanced, _stored: StoredEvent
    ) -> ProjectOverview:
        """One phase is through, the next one runs."""
        after = with_phases(view, {event.from_phase: "completed", event.to_phase: "running"})
        return after.but(phase=event.to_phase)

    @on(Project.PhaseReopened)
    def phase_reopened(
        self, view: ProjectOverview, event: Project.PhaseReopened, _stored: StoredEvent
    ) -> ProjectOverview:
        """It went back: what lies behind is still to come."""
        back = with_phases_from(view, event.to_phase, "pending")
        return with_phases(back, {event.to_phase: "running"}).but(phase=event.to_phase)

    @on(Project.Completed, Project.Failed, Project.Cancelled)
    def ended(
        self,
        view: ProjectOverview,
        event: Project.Completed | Project.Failed | Project.Cancelled,
        stored: StoredEvent,
    ) -> ProjectOverview:
        """It is over, and so is the phase that ran."""
        status: EndStatus = next(status for kind, status in ENDS.items() if isinstance(event, kind))
        left: dict[str, PhaseStatus] = {each.name: status for each in view.phases if each.status == "running"}
        return with_phases(view, left).but(
            status=status,
            reason=getattr(event, "reason", None),
            note=getattr(event, "note", None),
            failed_agent=getattr(event, "agent", None),
            ended_at=stored.recorded_at,
        )

    @on(Project.Archived)
    def archived(self, view: ProjectOverview, _event: Project.Archived, _stored: StoredEvent) -> ProjectOverview:
        """Put away."""
        return view.but(status="archived")

    @on(Project.Reset)
    def reset(self, view: ProjectOverview, event: Project.Reset, _stored: StoredEvent) -> ProjectOverview:
        """It can be started again, from this phase on."""
        back = with_phases_from(view, event.phase, "pending")
        return back.but(status="initialized", phase=event.phase, started_at=None, ended_at=None, **NO_REASON)

    @on(Project.SettingsChanged)
    def settings_changed(
        self, view: ProjectOverview, event: Project.SettingsChanged, _stored: StoredEvent
    ) -> ProjectOverview:
        """A description that is not given stays."""
        return view.but(name=event.name, settings=event.settings, description=event.description or view.description)

    @on(Project.QualitySettingsChanged)
    def quality_changed(
        self, view: ProjectOverview, event: Project.QualitySettingsChanged, _stored: StoredEvent
    ) -> ProjectOverview:
        """What is asked of the agents' work."""
        return view.but(quality=event.quality)

    @on(Project.AiConfigChanged)
    def ai_changed(
        self, view: ProjectOverview, event: Project.AiConfigChanged, _stored: StoredEvent
    ) -> ProjectOverview:
        """The model of those that name none."""
        return view.but(ai=event.ai)


NO_REASON: Mapping[str, None] = {"reason": None, "note": None, "failed_agent": None}
