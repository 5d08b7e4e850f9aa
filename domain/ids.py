"""Ids that are derived from names, so that every process finds the same stream without a look-up."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal
from uuid import UUID

from domain.values import ModelName, Slug, Value, derived_id, snapshot_of

ScopeKind = Literal["global", "provider", "model", "key", "project", "phase", "agent"]


class Scope(Value):
    """What a budget covers. A phase is named within its project, a model at its provider; an agent has an id."""

    kind: ScopeKind
    project_id: UUID | None = None
    phase: Slug | None = None
    agent_id: UUID | None = None
    provider: Slug | None = None
    model: ModelName | None = None
    key_id: UUID | None = None
    """The access key of whoever asks."""

    @property
    def label(self) -> str:  # noqa: PLR0911 -- one for each kind
        """The scope in words: `project 6f0b…`, `phase write`, `global`."""
        match self.kind:
            case "global":
                return "global"
            case "project":
                return f"project {self.project_id}"
            case "phase":
                return f"phase {self.phase}"
            case "agent":
                return f"agent {self.agent_id}"
            case "provider":
                return f"provider {self.provider}"
            case "model":
                return f"model {self.provider}/{self.model}"[:200]
            case "key":
                return f"key {self.key_id}"


def agent_id(project_id: UUID, name: str) -> UUID:
    """An agent of a project, by its name."""
    return derived_id("agent", project_id, name)


def library_agent_id(name: str) -> UUID:
    """An agent definition in the library, outside any project."""
    return derived_id("library-agent", name)


def budget_id(scope: Scope) -> UUID:
    """The one budget of a scope; it holds its limits and their windows."""
    return _budget_id(
        scope.kind, scope.project_id, scope.phase, scope.agent_id, scope.provider, scope.model, scope.key_id
    )


@lru_cache(4096)
def _budget_id(
    kind: str,
    project_id: UUID | None,
    phase: str | None,
    agent: UUID | None,
    provider: str | None,
    model: str | None,
    key_id: UUID | None,
) -> UUID:
    more = [each for each in (provider, model, key_id) if each is not None]
    return derived_id("budget", kind, project_id, phase, agent, *more)


def scopes_of(
    project_id: UUID | None,
    phase: str | None,
    agent: UUID | None,
    *,
    provider: str | None = None,
    model: str | None = None,
    key_id: UUID | None = None,
) -> list[Scope]:
    """Every scope that pays for a job, in the one order in which budgets are asked: the widest first."""
    return list(_scopes_of(project_id, phase, agent, provider, model, key_id))


@lru_cache(4096)
def _scopes_of(
    project_id: UUID | None,
    phase: str | None,
    agent: UUID | None,
    provider: str | None,
    model: str | None,
    key_id: UUID | None,
) -> Sequence[Scope]:
    found = [Scope(kind="global")]
    if provider:
        found.append(Scope(kind="provider", provider=provider))
        names = filter(None, (model and snapshot_of(model), model))
        found += [Scope(kind="model", provider=provider, model=each) for each in names]
    if key_id:
        found.append(Scope(kind="key", key_id=key_id))
    if project_id:
        found.append(Scope(kind="project", project_id=project_id))
        if phase:
            found.append(Scope(kind="phase", project_id=project_id, phase=phase))
    if agent:
        found.append(Scope(kind="agent", project_id=project_id, agent_id=agent))
    return found


@lru_cache(4096)
def budget_ids(
    project_id: UUID | None,
    phase: str | None,
    agent: UUID | None,
    *,
    provider: str | None = None,
    model: str | None = None,
    key_id: UUID | None = None,
) -> Sequence[UUID]:
    """The budgets of every scope that pays for a job, in the order of `scopes_of`."""
    scopes = scopes_of(project_id, phase, agent, provider=provider, model=model, key_id=key_id)
    return tuple(map(budget_id, scopes))


def job_id(agent: UUID, run: int, attempt: int) -> UUID:
    """The LLM job of one attempt of one run of an agent."""
    return derived_id("llm-job", agent, run, attempt)


@lru_cache(4096)
def attempt_id(job: UUID, attempt: int) -> UUID:
    """One attempt of a job against a provider: what a hold is for and what the provider is told."""
    return derived_id("attempt", job, attempt)


@lru_cache(4096)
def cost_id(attempt: UUID) -> UUID:
    """The cost of one attempt."""
    return derived_id("cost", attempt)


def asset_id(project_id: UUID, name: str) -> UUID:
    """An asset of a project, by its file name; it keeps its id through all versions."""
    return derived_id("asset", project_id, name)


def checkpoint_id(agent: UUID, run: int, attempt: int) -> UUID:
    """The checkpoint that holds one attempt's result back."""
    return derived_id("checkpoint", agent, run, attempt)


@lru_cache(1)
def cost_settings_id() -> UUID:
    """The one set of cost settings."""
    return derived_id("cost-settings")


@lru_cache(1)
def execution_settings_id() -> UUID:
    """The one set of execution settings."""
    return derived_id("execution-settings")


def start_deadline_id(job: UUID) -> UUID:
    """The deadline by which a job must start, beside that of its retry."""
    return derived_id("start-deadline", job)


def provider_id(name: str) -> UUID:
    """A provider, by its name."""
    return derived_id("provider", name)


def provider_key_id(provider: str, label: str) -> UUID:
    """A key to a provider, by its label."""
    return derived_id("provider-key", provider, label)


@lru_cache(1024)
def provider_health_id(name: str) -> UUID:
    """What is known of a provider's health, by the provider's name; built-in providers have one too."""
    return derived_id("provider-health", name)


@lru_cache(1)
def health_settings_id() -> UUID:
    """The one set of health settings."""
    return derived_id("health-settings")


def price_card_id(name: str) -> UUID:
    """An imported price card, by its name: `openai@2026-11-01.1`."""
    return derived_id("price-card", name)


@lru_cache(1)
def accounting_id() -> UUID:
    """The one set of accounting periods."""
    return derived_id("accounting")
