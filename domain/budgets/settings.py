"""Cost settings: what holds for every budget and every admission unless somebody says more."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from domain.budgets.ledger import check_whole
from domain.budgets.limits import Percent, Terms
from domain.charges import Unit
from domain.kernel import Aggregate, Created, event
from domain.values import Value
from domain.windows import Window, ZoneName

Answer = Literal["park", "deny"]


class CostRules(Value):
    """The defaults of new limits, and what to do with jobs that do not fit."""

    thresholds: Annotated[list[Percent], Field(max_length=20)] = Field(default_factory=lambda: [50, 80, 100])
    time_zone: ZoneName = "UTC"
    shape: bool = True
    """Whether jobs that state a minimum may be cut down to what fits."""
    exhausted: Answer = "park"
    """For a job that fits later, when something settles or a window ends."""
    impossible: Answer = "park"
    """For a job that is larger than a limit: only a higher limit lets it go."""


class CostSettings(Aggregate):
    """The one set of rules; while nobody has chosen any, the defaults hold."""

    TOPIC = "cost_settings"
    FOLD = 1
    rules: CostRules

    class Chosen(Created, type="cost_settings.chosen"):
        """Somebody chose rules for the first time."""

        rules: CostRules

    class Changed(Aggregate.Event, type="cost_settings.changed"):
        """Other rules hold from now on; limits that are open keep theirs."""

        rules: CostRules

    @event(Chosen)
    def __init__(self, id: UUID, rules: CostRules) -> None:  # noqa: ARG002 -- the library's name for it
        self.rules = rules

    def change(self, rules: CostRules) -> None:
        if rules != self.rules:
            self.trigger_event(CostSettings.Changed, rules=rules)

    @event(Changed)
    def _changed(self, rules: CostRules) -> None:
        self.rules = rules


def rules_of(settings: CostSettings | None) -> CostRules:
    """The rules that hold: those that somebody chose, or the defaults."""
    return settings.rules if settings else CostRules()


def terms_under(
    rules: CostRules,
    limit: Decimal,
    unit: Unit,
    window: Window,
    *,
    now: datetime,
    thresholds: Sequence[int] | None = None,
    hard: bool = True,
) -> Terms:
    """The terms of a limit that begins now, with the rules' time zone and thresholds where it names none."""
    check_whole(limit, unit)
    if window.is_calendar and window.time_zone is None:
        window = window.model_copy(update={"time_zone": rules.time_zone})
    return Terms.of(unit, window, rules.thresholds if thresholds is None else thresholds, hard=hard, now=now)
