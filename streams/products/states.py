"""The data products `toybox.projects.state` and `toybox.budgets.state`: what read models may tell all."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from domain.agents import AgentStatus, OnFailure
from domain.budgets import Window
from domain.charges import Unit
from domain.ids import ScopeKind
from domain.log import StoredEvent
from domain.projects import ProjectStatus
from domain.values import Instant, Money
from projections import budgets as budget_views
from projections import projects as view_parts
from projections.budgets import BudgetStates
from projections.documents import Document, Row
from projections.projects import ProjectOverview, ProjectOverviews
from streams.products.cloud import BUDGET_STATE, PROJECT_STATE
from streams.topics import Topic, Topics

V = TypeVar("V", bound=BaseModel)
_POSITION: Final = "Of the last event that changed this: a value with a lower one is older."
_INCOMPLETE: Final = "The first event that is missing here because folding it failed; null when nothing is."


class StateValue(BaseModel):
    """What every state says of its place in history."""

    model_config = ConfigDict(frozen=True)

    id: UUID
    position: int = Field(ge=1, description=_POSITION)
    incomplete_since: int | None = Field(description=_INCOMPLETE)


class AgentLine(BaseModel):
    """An agent of a phase."""

    model_config = ConfigDict(frozen=True)

    id: UUID
    name: str
    status: AgentStatus
    run: int
    attempt: int
    depends_on: tuple[str, ...]
    on_failure: OnFailure
    role: str | None
    failure_code: str | None
    retry_at: Instant | None
    spent: Money = Field(description="USD.")


class PhaseLine(BaseModel):
    """A phase and its agents, in the order in which they were added."""

    model_config = ConfigDict(frozen=True)

    name: str
    status: str
    agents: tuple[AgentLine, ...]


class ProjectState(StateValue):
    """A project as it stands. Archived ones stay, with that status; erased ones are removed."""

    name: str
    status: ProjectStatus
    reason: str | None = Field(description="Why it is paused, failed or cancelled.")
    failed_agent: str | None
    phase: str | None = Field(description="The phase that runs, or that the next start begins with.")
    phases: tuple[PhaseLine, ...]
    agents: int
    agents_completed: int
    agents_failed: int
    waiting_for_review: int = Field(description="Checkpoints that somebody has to decide about.")
    waiting_for_budget: int = Field(description="Jobs that do not fit under a limit.")
    waiting_for_retry: int
    spent: Money = Field(description="USD, estimates included until they are corrected.")
    held: Money = Field(description="USD that attempts in flight may still cost.")
    provider: str | None = Field(description="Of agents that name none.")
    model: str | None = Field(description="Of agents that name none.")
    blueprint_name: str | None
    blueprint_digest: str | None
    created_at: Instant
    started_at: Instant | None
    ended_at: Instant | None
    version: int = Field(description="The project's own version.")


class LimitLine(BaseModel):
    """One limit of a budget, in its present window."""

    model_config = ConfigDict(frozen=True)

    name: str
    unit: Unit = Field(description="What its figures count in.")
    window: Window
    hard: bool = Field(description="Whether it holds calls back; else it tells of its thresholds alone.")
    limit: Money
    settled: Money = Field(description="Spent for good.")
    held: Money = Field(description="Set aside for attempts in flight.")
    headroom: Money = Field(description="What may still be held; below nothing after an overdraft.")
    overdrawn: Money
    thresholds: tuple[int, ...]
    crossed: tuple[int, ...]
    ends_at: Instant | None = Field(description="When its window ends: what is told here is of that window.")


class BudgetState(StateValue):
    """What a scope may spend and has spent. Closed ones stay, with that status. Its figures are its first limit's."""

    kind: ScopeKind = Field(description="What kind of scope it limits.")
    project_id: UUID | None
    phase: str | None
    agent_id: UUID | None
    status: str = Field(description="open or closed.")
    unit: Unit = Field("usd", description="What these figures count in.")
    limit: Money
    settled: Money = Field(description="Spent for good.")
    held: Money = Field(description="Set aside for attempts in flight.")
    headroom: Money = Field(description="What may still be held; below nothing after an overdraft.")
    overdrawn: Money = Field(description="Charged over holds since the limit was last set.")
    limits: tuple[LimitLine, ...] = Field((), description="All of them; a call needs room under each that is hard.")
    open_holds: int
    parked_jobs: int = Field(description="Jobs that wait for room.")
    thresholds: tuple[int, ...] = Field(description="Percentages of the limit that somebody wants to hear of.")
    crossed: tuple[int, ...]
    opened_at: Instant
    version: int


def project_state(row: Row[ProjectOverview], incomplete_since: int | None) -> ProjectState:
    """The plain part of an overview."""
    view = row.view
    waits = [each.kind for each in view.waiting]
    told = {
        **_same(ProjectState, view),
        "position": row.position,
        "incomplete_since": incomplete_since,
        "phases": [_phase(each) for each in view.phases],
        "agents": sum(view.counts.values()),
        "agents_completed": view.counts.get("completed", 0),
        "agents_failed": view.counts.get("failed", 0),
        "waiting_for_review": waits.count("checkpoint"),
        "waiting_for_budget": waits.count("budget"),
        "waiting_for_retry": waits.count("retry"),
        "provider": view.ai.provider,
        "model": view.ai.model,
    }
    return ProjectState.model_validate(told)


def budget_state(row: Row[budget_views.BudgetState], incomplete_since: int | None) -> BudgetState:
    """A budget's figures."""
    view = row.view
    told = {
        **_same(BudgetState, view),
        "position": row.position,
        "incomplete_since": incomplete_since,
        "phase": view.scope.phase,
        "agent_id": view.scope.agent_id,
        "parked_jobs": len(view.parked),
        "limits": [_same(LimitLine, each) for each in view.limits],
    }
    return BudgetState.model_validate(told)


def _phase(line: view_parts.PhaseLine) -> PhaseLine:
    agents = [
        {**_same(AgentLine, each), "failure_code": each.failure.code if each.failure else None} for each in line.agents
    ]
    return PhaseLine.model_validate({**_same(PhaseLine, line), "agents": agents})


def _same(value: type[BaseModel], view: BaseModel) -> dict[str, Any]:
    """What a contract calls as the read model does."""
    return {name: getattr(view, name) for name in value.model_fields if hasattr(view, name)}


@dataclass(frozen=True, slots=True)
class StateProduct(Generic[V]):
    """One compacted topic: which read model it shows, by which key, as what."""

    kind: str
    """Its CloudEvents type."""
    document: Document[V]
    Value: type[StateValue]
    value: Callable[[Row[V], int | None], StateValue]
    key: Callable[[StoredEvent], UUID | None]
    """The document's key, known without decoding the event."""
    topic: Callable[[Topics], Topic]

    def shape(self) -> str:
        """Changes with the contract: then every key is written anew."""
        told = json.dumps(self.Value.model_json_schema(mode="serialization"), sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:16]


PROJECTS: Final = StateProduct(
    kind=PROJECT_STATE,
    document=ProjectOverviews(),
    Value=ProjectState,
    value=project_state,
    key=lambda stored: stored.project_id,
    topic=lambda topics: topics.projects,
)
BUDGETS: Final = StateProduct(
    kind=BUDGET_STATE,
    document=BudgetStates(),
    Value=BudgetState,
    value=budget_state,
    key=lambda stored: stored.stream_id,
    topic=lambda topics: topics.budgets,
)
STATES: Final[Sequence[StateProduct[Any]]] = (PROJECTS, BUDGETS)
