"""Answers "what holds for new budgets and for every admission?": one view, once somebody has chosen."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from domain.budgets import CostSettings
from domain.kernel import Event
from domain.log import StoredEvent
from domain.values import Instant
from projections.documents import Column, Document
from projections.projector import on
from projections.views import View


class CostSettingsState(View):
    """The rules, and since when they hold."""

    thresholds: tuple[int, ...] = (50, 80, 100)
    """Percentages that a new limit tells of, unless it names its own."""
    time_zone: str = "UTC"
    """Of new calendar windows that name none."""
    shape: bool = True
    """Whether jobs that state a minimum may be cut down to what fits."""
    exhausted: Literal["park", "deny"] = "park"
    """For a job that fits later."""
    impossible: Literal["park", "deny"] = "park"
    """For a job that is larger than a limit."""
    changed_at: Instant | None = None
    """None while the defaults hold."""
    version: int = 0


class CostSettingsStates(Document[CostSettingsState]):
    """Answers "what holds for new budgets and for every admission?": one view, once somebody has chosen."""

    name = "cost_settings_states"
    begins = CostSettings.Chosen
    columns: ClassVar[Mapping[str, Column]] = {}
    indexes: ClassVar[Sequence[Sequence[str]]] = ()

    @on(CostSettings.Chosen, CostSettings.Changed)
    def chosen(self, _view: CostSettingsState | None, event: Event, _stored: StoredEvent) -> CostSettingsState:
        """These rules from now on."""
        assert isinstance(event, CostSettings.Chosen | CostSettings.Changed)  # noqa: S101 -- as declared above
        rules = event.rules.model_dump()
        return CostSettingsState.model_validate(rules | {"thresholds": tuple(rules["thresholds"])})
