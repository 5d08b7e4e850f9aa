"""Execution settings: choose how many calls may be under way at once, and how projects share the workers."""

from collections import Counter
from functools import partial
from typing import Self
from uuid import UUID

from pydantic import model_validator

from commands.handling import Command, handler
from commands.work import UnitOfWork
from domain.identity.access_keys import AccessKey, check_first
from domain.ids import execution_settings_id
from domain.llm_jobs import ExecutionRules, ExecutionSettings
from domain.llm_jobs.settings import (
    Ageing,
    Calls,
    KeyCalls,
    ModelCalls,
    ProjectCalls,
    ProjectWeight,
    ProviderCalls,
    Weight,
)


class ChangeExecutionSettings(Command, permission="execution_settings.change"):
    """Choose how workers share their slots; what is left out takes its default."""

    weight: Weight = 1
    ageing_seconds: Ageing = 60
    per_provider: Calls | None = None
    per_model: Calls | None = None
    per_project: Calls | None = None
    per_key: Calls | None = None
    weights: tuple[ProjectWeight, ...] = ()
    providers: tuple[ProviderCalls, ...] = ()
    models: tuple[ModelCalls, ...] = ()
    projects: tuple[ProjectCalls, ...] = ()
    keys: tuple[KeyCalls, ...] = ()

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        counted = Counter(name for name, _ in self.rules().named())
        if twice := [name for name, count in counted.items() if count > 1]:
            raise ValueError(f"name each only once: {', '.join(sorted(twice))}")
        return self

    def rules(self) -> ExecutionRules:
        """As the log keeps them, in an order of their own: the same choice is the same rules."""
        return ExecutionRules(
            weight=self.weight,
            ageing_seconds=self.ageing_seconds,
            per_provider=self.per_provider,
            per_model=self.per_model,
            per_project=self.per_project,
            per_key=self.per_key,
            weights=sorted(self.weights, key=lambda each: each.project_id),
            providers=sorted(self.providers, key=lambda each: each.provider),
            models=sorted(self.models, key=lambda each: (each.provider, each.model)),
            projects=sorted(self.projects, key=lambda each: each.project_id),
            keys=sorted(self.keys, key=lambda each: each.key_id),
        )

    def streams(self) -> tuple[UUID, ...]:
        """The one set of settings."""
        return (execution_settings_id(),)


@handler
def change_execution_settings(command: ChangeExecutionSettings, work: UnitOfWork) -> None:
    """They hold for what is admitted from now on; nobody is interrupted."""
    for key in work.find_all(AccessKey, [each.key_id for each in command.keys]).values():
        if key:
            check_first(key, partial(work.get, AccessKey))
    if known := work.find(ExecutionSettings, execution_settings_id()):
        known.change(command.rules())
    else:
        work.add(ExecutionSettings(id=execution_settings_id(), rules=command.rules()))
