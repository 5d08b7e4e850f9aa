"""Health settings: when a provider counts as failing, how long it then rests, what jobs do meanwhile."""

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from domain.errors import Refused
from domain.kernel import Aggregate, Created, event
from domain.values import Fraction, Value, derived_id

AllOpen = Literal["wait", "try"]
Share = Annotated[Fraction, Field(gt=0, le=1)]
Seconds = Annotated[int, Field(ge=1, le=86_400)]


class HealthRules(Value):
    """What holds for every provider. The defaults hold while nobody has chosen."""

    alpha: Share = Decimal("0.2")
    """The weight of the newest outcome in the moving averages of errors and latency."""
    window_seconds: Seconds = 300
    """Outcomes that are older do not count."""
    minimum_samples: Annotated[int, Field(ge=1, le=64)] = 4
    """With fewer outcomes in the window no circuit opens."""
    open_at: Share = Decimal("0.5")
    """The error average at which the circuit opens."""
    degraded_at: Share = Decimal("0.3")
    """The error average from which the provider counts as degraded."""
    healthy_at: Annotated[Fraction, Field(ge=0, le=1)] = Decimal("0.1")
    """The error average below which it counts as healthy again."""
    slow_ms: Annotated[int, Field(ge=1)] | None = None
    """The latency average from which it counts as degraded; None: latency is only shown."""
    cooldown_seconds: Seconds = 10
    """How long a circuit stays open before the first probe; doubled whenever the probe fails."""
    cooldown_longest_seconds: Seconds = 300
    credit_cooldown_seconds: Seconds = 900
    """The same where the credit is used up: nothing but somebody's payment changes that."""
    all_open: AllOpen = "wait"
    """When every target of a job is open: wait until one may be probed, or try the last one, a job at a time."""
    tries_per_target: Annotated[int, Field(ge=1, le=10)] = 2
    """Failures in a row at one target, where another try is worth it, before the next target's turn."""
    rate_limit_patience_seconds: Annotated[int, Field(ge=0, le=86_400)] = 15
    """A job waits so long for a rate limit to pass; for a longer one it goes on to the next target."""

    def check(self) -> None:
        """Thresholds stand in order, or levels would flutter."""
        if not self.healthy_at < self.degraded_at <= self.open_at:
            raise Refused(
                "thresholds must rise: healthy_at below degraded_at, and degraded_at no higher than open_at",
                code="invalid_thresholds",
            )
        if self.cooldown_seconds > self.cooldown_longest_seconds:
            raise Refused("cooldown_longest_seconds cannot be below cooldown_seconds", code="invalid_cooldown")

    def rest(self, openings: int, salt: str, *, credit: bool = False) -> timedelta:
        """How long a circuit stays open at its n-th opening in a row.

        Between three quarters and all of the step, spread by what it is about: circuits do not probe in step, and a
        replay finds the same times.
        """
        first = self.credit_cooldown_seconds if credit else self.cooldown_seconds
        longest = max(first, self.cooldown_longest_seconds)
        step = min(first * 1000 * 2 ** min(openings - 1, 20), longest * 1000)
        spread = derived_id("cool-down", salt, openings).int % (step // 4 + 1)
        return timedelta(milliseconds=step - spread)


class HealthSettings(Aggregate):
    """The one set of rules of health."""

    TOPIC = "health_settings"
    FOLD = 1
    rules: HealthRules

    class Chosen(Created, type="health_settings.chosen"):
        """Somebody chose rules for the first time."""

        rules: HealthRules

    class Changed(Aggregate.Event, type="health_settings.changed"):
        """Other rules hold from now on; circuits that are open keep their times."""

        rules: HealthRules

    @event(Chosen)
    def __init__(self, id: UUID, rules: HealthRules) -> None:  # noqa: ARG002 -- the library's name for it
        self.rules = rules

    def change(self, rules: HealthRules) -> None:
        if rules != self.rules:
            self.trigger_event(HealthSettings.Changed, rules=rules)

    @event(Changed)
    def _changed(self, rules: HealthRules) -> None:
        self.rules = rules
