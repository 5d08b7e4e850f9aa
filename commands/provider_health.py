"""What may be asked of providers' health: follow what outcomes say, open and close circuits, choose the rules."""

from typing import Annotated, Self, get_args
from uuid import UUID

from pydantic import BaseModel, Field

from commands.handling import Command, handler
from commands.work import UnitOfWork
from domain.errors import Refused
from domain.ids import health_settings_id, provider_health_id, provider_id
from domain.kernel import Aggregate
from domain.provider_health import Finding, HealthRules, HealthSettings, Level, ProviderHealth, Signal
from domain.providers import Provider, ProviderKind
from domain.values import Fraction, ModelName, Prose, Slug

Count = Annotated[int, Field(ge=0)]
BUILT_IN = frozenset(get_args(ProviderKind)) - {"openai_compatible"}
"""Providers that need no registration."""


class FollowProviderHealth(Command, permission="providers.watch"):
    """Take over what the last outcomes say of a provider: its level, and whether its circuit opens."""

    name: Slug
    model: ModelName | None = None
    """Where this one alone fails."""
    level: Level
    error_rate: Annotated[Fraction, Field(ge=0, le=1)]
    latency_ms: Count | None = None
    samples: Count
    through: Count
    """The position of the newest outcome that is counted."""
    seen: Count
    """The version of the provider's health up to which whoever watches has followed it."""

    def streams(self) -> tuple[UUID, ...]:
        """The provider's health, and the rules."""
        return (provider_health_id(self.name), health_settings_id())

    @classmethod
    def of(cls, name: str, finding: Finding, seen: int) -> Self:
        """What was found."""
        signal = finding.signal
        return cls(
            name=name,
            model=finding.model,
            level=finding.level,
            error_rate=signal.error_rate,
            latency_ms=signal.latency_ms,
            samples=signal.samples,
            through=finding.through,
            seen=seen,
        )

    @property
    def finding(self) -> Finding:
        """The same, as the domain knows it."""
        return Finding(self.model, self.level, Signal(self.error_rate, self.latency_ms, self.samples), self.through)


class ByHand(BaseModel):
    """A command of an operator about one circuit. Why it was given is only kept sealed."""

    name: Slug
    model: ModelName | None = None
    """One model's; None: the whole provider's."""
    reason: Annotated[Prose, Field(min_length=1)] | None = None

    def streams(self) -> tuple[UUID, ...]:
        """The provider, and its health."""
        return (provider_id(self.name), provider_health_id(self.name))

    def sealed_under(self) -> UUID | None:
        """Its own key."""
        return provider_health_id(self.name) if self.reason else None

    def makes_key(self) -> bool:
        """With the first reason."""
        return True

    def note(self, work: UnitOfWork) -> str | None:
        """The reason as the log keeps it."""
        return work.seal(self.reason) if self.reason else None


class OpenCircuit(ByHand, Command, permission="providers.operate"):
    """Send no job to a provider, or to one of its models, until somebody closes the circuit again."""


class CloseCircuit(ByHand, Command, permission="providers.operate"):
    """Send jobs to a provider again, whatever opened its circuit."""


class ChangeHealthSettings(Command, permission="health_settings.change"):
    """Choose when circuits open, how long they rest, and what jobs do meanwhile."""

    rules: HealthRules = HealthRules()

    def streams(self) -> tuple[UUID, ...]:
        """The one set of settings."""
        return (health_settings_id(),)


@handler
def follow_provider_health(command: FollowProviderHealth, work: UnitOfWork) -> None:
    """Refused where something happened since that the watcher has not seen: it will look again."""
    stream = provider_health_id(command.name)
    work.find_all(Aggregate, [stream, health_settings_id()])
    settings, known = work.find(HealthSettings, health_settings_id()), work.find(ProviderHealth, stream)
    if (known.version if known else 0) != command.seen:
        raise Refused(f"more is known of provider {command.name} meanwhile", code="not_due")
    if known is None and command.level == "healthy":
        raise Refused(f"provider {command.name} counts as healthy", code="not_due")
    health = known or work.add(ProviderHealth(id=stream, name=command.name))
    health.follow(command.finding, settings.rules if settings else HealthRules(), work.now)


@handler
def open_circuit(command: OpenCircuit, work: UnitOfWork) -> None:
    """Also of a provider that nothing was known of so far."""
    stream = provider_health_id(command.name)
    if command.name not in BUILT_IN:
        work.get(Provider, provider_id(command.name))
    known, note = work.find(ProviderHealth, stream), command.note(work)
    health = known or work.add(ProviderHealth(id=stream, name=command.name))
    health.open_by_hand(command.model, note)


@handler
def close_circuit(command: CloseCircuit, work: UnitOfWork) -> None:
    """Jobs that wait for it go on at once."""
    known = work.find(ProviderHealth, provider_health_id(command.name))
    if known is None:
        raise Refused(f"the circuit of provider {command.name} is closed", code="circuit_closed")
    known.close_by_hand(command.model, command.note(work))


@handler
def change_health_settings(command: ChangeHealthSettings, work: UnitOfWork) -> None:
    """Circuits that are open keep their times; everything else follows at once."""
    command.rules.check()
    if known := work.find(HealthSettings, health_settings_id()):
        known.change(command.rules)
    else:
        work.add(HealthSettings(id=health_settings_id(), rules=command.rules))
