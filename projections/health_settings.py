"""Answers "when does a circuit open, and what do jobs do meanwhile?": the rules of health, once somebody has chosen."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from domain.kernel import Event
from domain.log import StoredEvent
from domain.provider_health import HealthRules, HealthSettings
from domain.values import Instant
from projections.documents import Column, Document
from projections.projector import on
from projections.views import View


class HealthSettingsState(View):
    """The rules of health, and since when they hold."""

    rules: HealthRules = HealthRules()
    changed_at: Instant | None = None
    """None while the defaults hold."""
    version: int = 0


class HealthSettingsStates(Document[HealthSettingsState]):
    """Answers "when does a circuit open, and what do jobs do meanwhile?": one view, once somebody has chosen."""

    name = "health_settings_states"
    begins = HealthSettings.Chosen
    columns: ClassVar[Mapping[str, Column]] = {}
    indexes: ClassVar[Sequence[Sequence[str]]] = ()

    @on(HealthSettings.Chosen, HealthSettings.Changed)
    def chosen(self, _view: HealthSettingsState | None, event: Event, _stored: StoredEvent) -> HealthSettingsState:
        """These rules from now on."""
        assert isinstance(event, HealthSettings.Chosen | HealthSettings.Changed)  # noqa: S101 -- as declared above
        return HealthSettingsState(rules=event.rules)
