"""What may be asked of the registry of providers: register, configure, remove."""

from uuid import UUID

from commands.handling import Command, handler
from commands.work import UnitOfWork
from domain.ids import provider_id
from domain.providers import Provider, ProviderConfig, ProviderKind
from domain.values import Slug


class RegisterProvider(Command, permission="providers.register"):
    """Let models of a provider be asked. Its key stays in the environment variable that `key_env` names."""

    name: Slug
    kind: ProviderKind
    config: ProviderConfig = ProviderConfig()

    def streams(self) -> tuple[UUID, ...]:
        """The provider of this name."""
        return (provider_id(self.name),)


class ConfigureProvider(Command, permission="providers.configure"):
    """Change how a provider is reached and what it offers; what is left out goes back to its default."""

    name: Slug
    config: ProviderConfig

    def streams(self) -> tuple[UUID, ...]:
        """The provider of this name."""
        return (provider_id(self.name),)


class RemoveProvider(Command, permission="providers.remove"):
    """Let models of a provider no longer be asked."""

    name: Slug

    def streams(self) -> tuple[UUID, ...]:
        """The provider of this name."""
        return (provider_id(self.name),)


@handler
def register_provider(command: RegisterProvider, work: UnitOfWork) -> None:
    """A name is taken once; a removed provider's name may be taken again."""
    command.config.check(command.kind)
    stream = provider_id(command.name)
    if removed := work.find(Provider, stream):
        removed.restore(command.kind, command.config)
    else:
        work.add(Provider(stream, name=command.name, kind=command.kind, **dict(command.config)))


@handler
def configure_provider(command: ConfigureProvider, work: UnitOfWork) -> None:
    """The whole configuration is replaced."""
    work.get(Provider, provider_id(command.name)).configure(command.config)


@handler
def remove_provider(command: RemoveProvider, work: UnitOfWork) -> None:
    """Its history stays."""
    work.get(Provider, provider_id(command.name)).remove()
