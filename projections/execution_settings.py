"""Answers "how do workers share their slots?": one view, once somebody has chosen."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from domain.kernel import Event
from domain.llm_jobs import ExecutionRules, ExecutionSettings
from domain.llm_jobs.settings import KeyCalls, ModelCalls, ProjectCalls, ProjectWeight, ProviderCalls
from domain.log import StoredEvent
from domain.values import Instant
from projections.documents import Column, Document
from projections.projector import on
from projections.views import View

DEFAULTS = ExecutionRules()


class ExecutionSettingsState(View):
    """The rules, and since when they hold."""

    weight: int = DEFAULTS.weight
    """Of every project, and of every key without a project, that is not named."""
    ageing_seconds: int = DEFAULTS.ageing_seconds
    """After so long without a turn a job counts as one priority more urgent."""
    per_provider: int | None = None
    """Calls under way at once of each provider that is not named; None for no maximum."""
    per_model: int | None = None
    per_project: int | None = None
    per_key: int | None = None
    weights: tuple[ProjectWeight, ...] = ()
    providers: tuple[ProviderCalls, ...] = ()
    models: tuple[ModelCalls, ...] = ()
    projects: tuple[ProjectCalls, ...] = ()
    keys: tuple[KeyCalls, ...] = ()
    changed_at: Instant | None = None
    """None while the defaults hold."""
    version: int = 0


class ExecutionSettingsStates(Document[ExecutionSettingsState]):
    """Answers "how do workers share their slots?": one view, once somebody has chosen."""

    name = "execution_settings_states"
    begins = ExecutionSettings.Chosen
    columns: ClassVar[Mapping[str, Column]] = {}
    indexes: ClassVar[Sequence[Sequence[str]]] = ()

    @on(ExecutionSettings.Chosen, ExecutionSettings.Changed)
    def chosen(
        self, _view: ExecutionSettingsState | None, event: Event, _stored: StoredEvent
    ) -> ExecutionSettingsState:
        """These rules from now on."""
        assert isinstance(event, ExecutionSettings.Chosen | ExecutionSettings.Changed)  # noqa: S101 -- as declared
        return ExecutionSettingsState.model_validate(event.rules.model_dump(mode="json"), strict=False)
