"""Execution settings: how many calls may be under way at once, at whom and for whom, and how turns are shared."""

from collections.abc import Iterable, Mapping
from typing import Annotated
from uuid import UUID

from pydantic import Field

from domain.kernel import Aggregate, Created, event
from domain.values import ModelName, Slug, Value

Calls = Annotated[int, Field(ge=0, le=100_000)]
"""How many at once; 0 lets none go, and what is queued waits."""
Weight = Annotated[int, Field(ge=1, le=1_000)]
Ageing = Annotated[int, Field(ge=1, le=86_400)]
MOST_NAMED = 1_000


class ProjectWeight(Value):
    """A project whose share of the workers is not the usual one."""

    project_id: UUID
    weight: Weight


class ProviderCalls(Value):
    """How many calls of one provider may be under way."""

    provider: Slug
    most: Calls


class ModelCalls(Value):
    """How many calls of one model at its provider may be under way."""

    provider: Slug
    model: ModelName
    most: Calls


class ProjectCalls(Value):
    """How many calls of one project may be under way."""

    project_id: UUID
    most: Calls


class KeyCalls(Value):
    """How many calls may be under way for one access key: of jobs that were queued with it."""

    key_id: UUID
    most: Calls


class ExecutionRules(Value):
    """What holds for whom. A maximum that is None is none: only the workers' own slots are one."""

    weight: Weight = 1
    """Of every project, and of every key without a project, that is not named."""
    ageing_seconds: Ageing = 60
    """After so long without a turn a job counts as one priority more urgent."""
    per_provider: Calls | None = None
    per_model: Calls | None = None
    per_project: Calls | None = None
    per_key: Calls | None = None
    weights: Annotated[list[ProjectWeight], Field(max_length=MOST_NAMED)] = Field(default_factory=list[ProjectWeight])
    providers: Annotated[list[ProviderCalls], Field(max_length=MOST_NAMED)] = Field(default_factory=list[ProviderCalls])
    models: Annotated[list[ModelCalls], Field(max_length=MOST_NAMED)] = Field(default_factory=list[ModelCalls])
    projects: Annotated[list[ProjectCalls], Field(max_length=MOST_NAMED)] = Field(default_factory=list[ProjectCalls])
    keys: Annotated[list[KeyCalls], Field(max_length=MOST_NAMED)] = Field(default_factory=list[KeyCalls])

    def named(self) -> Iterable[tuple[str, int]]:
        """Whatever is said of one project, provider, model or key: under which name, and how much."""
        for weighed in self.weights:
            yield f"weight {weighed.project_id}", weighed.weight
        for provider in self.providers:
            yield f"provider {provider.provider}", provider.most
        for model in self.models:
            yield f"model {model.provider}/{model.model}", model.most
        for project in self.projects:
            yield f"project {project.project_id}", project.most
        for key in self.keys:
            yield f"key {key.key_id}", key.most

    def numbers(self) -> Mapping[str, int]:
        """All of it by name, as the queue asks for it; what is without a maximum is not there."""
        general = {
            "weight": self.weight,
            "ageing_seconds": self.ageing_seconds,
            "each provider": self.per_provider,
            "each model": self.per_model,
            "each project": self.per_project,
            "each key": self.per_key,
        }
        return {name: number for name, number in general.items() if number is not None} | dict(self.named())

    def limit_of(self, name: str) -> int | None:
        """The maximum of something that calls take a slot of: its own, else that of its kind."""
        numbers = self.numbers()
        return numbers.get(name, numbers.get(f"each {name.partition(' ')[0]}"))


def slots_of(provider: str, model: str, project_id: UUID | None, key_id: UUID | None) -> list[str]:
    """What a call takes one slot of each, by the names under which maxima are chosen."""
    of_project = [f"project {project_id}"] if project_id else []
    of_key = [f"key {key_id}"] if key_id else []
    return [f"provider {provider}", f"model {provider}/{model}", *of_project, *of_key]


class ExecutionSettings(Aggregate):
    """The one set of rules; while nobody has chosen any, the defaults hold."""

    TOPIC = "execution_settings"
    FOLD = 1
    rules: ExecutionRules

    class Chosen(Created, type="execution_settings.chosen"):
        """Somebody chose for the first time how workers share their slots."""

        rules: ExecutionRules

    class Changed(Aggregate.Event, type="execution_settings.changed"):
        """Other rules hold from now on; calls that are under way go on."""

        rules: ExecutionRules

    @event(Chosen)
    def __init__(self, id: UUID, rules: ExecutionRules) -> None:  # noqa: ARG002 -- the library's name for it
        self.rules = rules

    def change(self, rules: ExecutionRules) -> None:
        if rules != self.rules:
            self.trigger_event(ExecutionSettings.Changed, rules=rules)

    @event(Changed)
    def _changed(self, rules: ExecutionRules) -> None:
        self.rules = rules
