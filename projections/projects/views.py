"""What a project looks like at a glance: its phases with their agents, what it waits for, what it has spent."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, computed_field

from domain.agents import AgentStatus, OnFailure
from domain.charges import Unit
from domain.llm_jobs import JobStatus
from domain.projects import InputKind, ProjectSettings, ProjectStatus, QualitySettings
from domain.values import ZERO, AiConfig, Instant, Money, Sealed
from projections.views import View

PhaseStatus = Literal["pending", "running", "completed", "failed", "cancelled"]


class AssetLine(View):
    """One version of an asset. The name is missing until the asset's own event, of the same append, is folded."""

    id: UUID
    version: int
    digest: str
    name: str | None


class Failure(View):
    """Why something failed."""

    code: str
    reason: str


class JobLine(View):
    """The LLM job of an agent's present attempt."""

    id: UUID
    status: JobStatus


class AwaitedLine(View):
    """One thing that an agent's result is held back for."""

    kind: Literal["checkpoint", "dependency", "budget"]
    id: UUID
    name: str


class AgentLine(View):
    """An agent of a phase."""

    id: UUID
    name: str
    status: AgentStatus = "defined"
    run: int = 1
    attempt: int = 0
    percentage: int | None = None
    """How far the present attempt says it is."""
    depends_on: tuple[str, ...]
    on_failure: OnFailure
    role: str | None = None
    waiting_for: tuple[AwaitedLine, ...] = ()
    asset: AssetLine | None = None
    failure: Failure | None = None
    skipped_because: str | None = None
    retry_at: Instant | None = None
    spent: Money = ZERO
    job: JobLine | None = None


class PhaseLine(View):
    """A phase and its agents, in the order in which they were added."""

    name: str
    status: PhaseStatus = "pending"
    agents: tuple[AgentLine, ...] = ()


class WaitsForReview(View):
    """Somebody has to decide about a result."""

    kind: Literal["checkpoint"] = "checkpoint"
    checkpoint_id: UUID
    agent_id: UUID
    agent: str
    title: str
    due_at: Instant | None
    since: Instant

    @property
    def about(self) -> frozenset[UUID]:
        """What ends the wait when it moves on."""
        return frozenset({self.checkpoint_id, self.agent_id})


class WaitsForBudget(View):
    """A job is parked: what it may cost does not fit under a limit. The figures are those of that moment."""

    kind: Literal["budget"] = "budget"
    job_id: UUID
    agent_id: UUID | None
    agent: str | None
    budget_id: UUID
    scope: str
    name: str
    """Which of the budget's limits it is."""
    unit: Unit
    """What its figures count in."""
    limit: Money
    settled: Money
    held: Money
    requested: Money
    retry_at: Instant | None
    """When the limit's window ends, and the job asks again by itself; None where it never does."""
    since: Instant

    @property
    def about(self) -> frozenset[UUID]:
        """What ends the wait when it moves on."""
        return frozenset(filter(None, (self.job_id, self.agent_id)))


class WaitsForRetry(View):
    """Something failed and is tried again when it is due: a call to a model, or a whole attempt of an agent."""

    kind: Literal["retry"] = "retry"
    job_id: UUID | None
    agent_id: UUID | None
    agent: str | None
    attempt: int
    """The agent's attempt that is due; for a job, the attempt that failed."""
    due_at: Instant
    code: str
    reason: str
    since: Instant

    @property
    def about(self) -> frozenset[UUID]:
        """What ends the wait when it moves on."""
        return frozenset(filter(None, (self.job_id, self.agent_id)))


Waiting = Annotated[WaitsForReview | WaitsForBudget | WaitsForRetry, Field(discriminator="kind")]


class InputLine(View):
    """Something that the project works on; its text lies under its digest."""

    name: str
    kind: InputKind
    digest: str
    size: int


class ProjectOverview(View):
    """One project, whole."""

    id: UUID
    name: str
    description: Sealed | None
    status: ProjectStatus = "created"
    reason: str | None = None
    """Why it is paused, failed or cancelled."""
    note: Sealed | None = None
    failed_agent: str | None = None
    phase: str | None = None
    """The phase that runs, or that the next start begins with; None before the first start."""
    phases: tuple[PhaseLine, ...] = ()
    counts: dict[str, int] = Field(default_factory=dict[str, int])
    """Agents by status."""
    waiting: tuple[Waiting, ...] = ()
    spent: Money = ZERO
    """What its attempts cost, estimates included until they are corrected."""
    holds: dict[UUID, Money] = Field(default_factory=dict[UUID, Money])
    """Money that budgets hold for each attempt whose cost is not known yet."""
    asset_names: dict[UUID, str] = Field(default_factory=dict[UUID, str])
    removed_runs: dict[UUID, int] = Field(default_factory=dict[UUID, int])
    """The last run of agents that were removed: one that gets the name again goes on counting."""
    inputs: tuple[InputLine, ...] = ()
    ai: AiConfig
    quality: QualitySettings
    settings: ProjectSettings
    blueprint_name: str | None
    blueprint_digest: str | None
    created_at: Instant
    started_at: Instant | None = None
    """The first start since it was last reset."""
    ended_at: Instant | None = None
    version: int = 1
    """The project's own version, for If-Match."""

    @computed_field
    @property
    def held(self) -> Money:
        """What attempts in flight may still cost."""
        return sum(self.holds.values(), ZERO)
