"""What the API needs from the rest of the process: ports and plain values, plugged in by `toybox`."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from api.consuming import Duty
from api.metrics import Metrics
from api.relaying import Relaying
from commands.handling import Commands, Principal
from commands.objects import Objects
from commands.ports import Keyring
from domain.blueprints import Blueprint
from domain.delivering import Tracer
from domain.drafting import Audience, Drafts, Hear
from domain.following import ParkedReaction
from domain.keeping import ProviderSecrets, Secrets
from domain.log import LogReader, StoredEvent
from domain.posting import Deliveries, Posted, Poster, Tally
from domain.prices import ImportedCard
from domain.pricing import Catalogue
from projections.projector import Connections, Progress

MEBIBYTE = 1024 * 1024
Authenticate = Callable[[str], Awaitable[Principal | None]]
"""Who holds this token; None when it lets nobody in."""


class Standing(Protocol):
    """Where one projection is."""

    @property
    def projection(self) -> str:
        """Its name."""
        ...

    @property
    def version(self) -> int:
        """The version of its code."""
        ...

    @property
    def state(self) -> str:
        """What its follower in this process does: following, building, standby."""
        ...

    @property
    def position(self) -> int:
        """What its readers see."""
        ...

    @property
    def head(self) -> int:
        """The log's head."""
        ...

    @property
    def lag(self) -> int:
        """Events between the two."""
        ...

    @property
    def error(self) -> str | None:
        """Why it does not go on, if it does not."""
        ...

    @property
    def progress(self) -> Progress | None:
        """How far its rebuild is, while one runs here."""
        ...


class ReadModels(Protocol):
    """Whoever keeps the read models up with the log, in this process or in others."""

    async def wait_for(self, names: Collection[str], position: int, timeout: float) -> None:  # noqa: ASYNC109 -- patience is part of the question
        """Return once all these projections show the position; Unavailable when they do not in time."""
        ...

    async def standings(self) -> Sequence[Standing]:
        """Where every projection is."""
        ...


@dataclass(frozen=True, slots=True)
class Reactions:
    """What is known of the reactions, and how those that failed are tried again."""

    positions: Callable[[], Awaitable[Mapping[str, int]]]
    parked: Callable[[], Awaitable[Sequence[ParkedReaction]]]
    retry: Callable[[], Awaitable[int]]
    """Answers how many are through now."""


@dataclass(frozen=True, slots=True)
class Blueprints:
    """How blueprints are read and their inputs completed."""

    parse: Callable[[str], Blueprint]
    """From YAML or JSON; raises `BlueprintError` with every problem found."""
    resolve: Callable[[Blueprint, Mapping[str, str]], Mapping[str, str | int | Decimal]]
    """Every declared input with its value, from those that were given."""
    schema: Callable[[], str]
    """The published JSON Schema."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """How the log is written for others: as it is on Kafka."""

    event: Callable[[StoredEvent, str], bytes]
    """An event of the log with this id, as a CloudEvent."""
    cost: Callable[[StoredEvent], bytes | None]
    """What it says of costs, as a flat fact; None when it says nothing."""
    cost_types: frozenset[str]
    """Types of events that say something of costs."""


class WebhookTester(Protocol):
    """Sends a webhook a message that stands for no event."""

    async def test(self, webhook_id: UUID, command_id: UUID, actor: str) -> Posted:
        """What its receiver made of it."""
        ...


@dataclass(frozen=True, slots=True)
class WebhookDoor:
    """What routes need of webhooks: where their secrets lie, how deliveries go, a way to try an address."""

    secrets: Secrets
    deliveries: Deliveries
    poster: Poster
    tester: WebhookTester


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one request may ask for or bring."""

    body_bytes: int = MEBIBYTE
    blueprint_bytes: int = 8 * MEBIBYTE
    """Of a blueprint together with its inputs."""
    upload_bytes: int = 256 * MEBIBYTE
    shown_bytes: int = MEBIBYTE
    """Longer outputs of models are downloaded as assets, not shown inline."""


class Prices(Protocol):
    """The price cards: those in force, and what became of those that were imported."""

    @property
    def imported(self) -> Mapping[UUID, ImportedCard]:
        """Every card that was imported, by its stream."""
        ...

    async def current(self) -> Catalogue:
        """The cards that price something, as the log has them at this moment."""
        ...


class NoPrices:
    """Nothing has a price where nobody has plugged the cards in."""

    @property
    def imported(self) -> Mapping[UUID, ImportedCard]:
        """None."""
        return {}

    async def current(self) -> Catalogue:
        """None."""
        return Catalogue()


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that routes work with."""

    commands: Commands
    reader: LogReader
    connections: Connections
    """Lends connections to read models."""
    read_models: ReadModels
    reactions: Reactions
    keyring: Keyring
    objects: Objects
    authenticate: Authenticate
    blueprints: Blueprints
    outgoing: Outgoing
    tracer: Tracer
    """Where an event was delivered to."""
    metrics: Metrics
    now: Callable[[], datetime]
    random: Callable[[int], bytes]
    """Bytes that nobody can guess."""
    prices: Prices = field(default_factory=NoPrices)
    """Every price card, as the log has them now."""
    provider_secrets: ProviderSecrets | None = None
    """Where the secrets of provider keys lie."""
    drafts: Drafts | None = None
    """Where answers lie that are being written; without it they are told when they are whole."""
    nearby: list[Hear] | None = None
    """Whoever stands here hears what workers of this process are answered, before it is written down."""
    audience: Audience | None = None
    """Who reads the answers of jobs that nobody may leave alone."""
    webhooks: WebhookDoor | None = None
    posted: Tally | None = None
    """What this process has delivered to webhooks, where it is one that delivers."""
    relay: Relaying | None = None
    """Where this process relays to Kafka."""
    duties: Mapping[str, Duty] = field(default_factory=dict[str, Duty])
    """What else this process does with Kafka, by name."""
    roles: Collection[str] = frozenset({"api"})
    """What this process is there for."""
    version: str = "0.1.0"
    cors_origins: Sequence[str] = ()
    rate_limit: int = 0
    """Requests a second that one key may send; 0: as many as it likes."""
    limits: Limits = field(default_factory=Limits)
