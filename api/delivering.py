"""The way of an event as the API shows it: recorded, relayed, applied, answered, sent to whoever listens here."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from api.feed import Listener
from api.feed.frames import Frame
from domain.delivering import Effect, Outcome, ReactionStatus, ReactionTrace, RelayStatus, Trace, ViewStatus
from domain.kernel import EVENT_TYPES
from domain.log import StoredEvent
from domain.values import Instant

FeedStatus = Literal["delivered", "waiting", "not_wanted", "began_later"]


class Recorded(BaseModel):
    """The event in the log."""

    at: Instant
    type: str
    version: Annotated[int, Field(description="Of its schema")]
    stream_id: UUID
    stream_version: int
    project_id: UUID | None
    actor: str
    command_id: UUID
    correlation_id: UUID
    causation_id: Annotated[UUID | None, Field(description="The command that its command answers")]


class RelayedTo(BaseModel):
    """The event in Kafka."""

    status: Annotated[
        RelayStatus,
        Field(description="`off`: nothing is relayed; `private`: it never is; `unknown`: Kafka does not say"),
    ]
    at: Annotated[Instant | None, Field(description="When; null where the ledger does not know any more")]
    topic: str | None
    partition: int | None
    offset: int | None
    reached: Annotated[int | None, Field(description="How far the relay is, by what it last wrote down")]
    reason: str | None


class ViewApplied(BaseModel):
    """The event in one read model."""

    name: str
    version: int
    status: ViewStatus
    at: Annotated[Instant | None, Field(description="When these rows took it; a rebuild takes it anew")]
    exact: Annotated[bool, Field(description="False: at that time or earlier")]
    position: Annotated[int | None, Field(description="Where the read model is; parked: from where on its key waits")]
    reason: str | None


class EventCaused(BaseModel):
    """An event that this one led to; ask for its own delivery by its position."""

    position: int
    type: str
    stream_id: UUID
    actor: str
    recorded_at: Instant


class CommandAsked(BaseModel):
    """A command that a reaction sent because of the event."""

    command: str
    command_id: UUID
    outcome: Annotated[Outcome, Field(description="`refused`: not needed any more, or somebody else was first")]
    events: list[EventCaused]


class ReactionAnswered(BaseModel):
    """What a reaction made of the event."""

    name: str
    status: ReactionStatus
    position: Annotated[int, Field(description="Where the reaction is")]
    reason: str | None
    commands: list[CommandAsked]


class FeedServed(BaseModel):
    """The event on one live feed of the process that answers."""

    status: FeedStatus
    delivered: Annotated[int, Field(description="Everything up to here that it wants was handed to its connection")]
    began_after: int
    project_id: UUID | None
    types: list[str] | None


class EventDelivery(BaseModel):
    """Where an event has been delivered to, and when."""

    position: int
    head: int
    recorded: Recorded
    relayed: RelayedTo
    views: list[ViewApplied]
    reactions: list[ReactionAnswered]
    caused: Annotated[list[EventCaused], Field(description="Events of the same project caused by the event's command")]
    caused_searched_to: Annotated[int, Field(description="Later events were not looked at for `caused`")]
    feeds: list[FeedServed]


def delivery_of(frame: Frame, trace: Trace, listening: Sequence[Listener], *, private: bool) -> EventDelivery:
    """All of it, without events that only holders of another permission see."""
    stored, relay = frame.stored, trace.relay
    return EventDelivery(
        position=stored.position,
        head=trace.head,
        recorded=_recorded(stored),
        relayed=RelayedTo(
            status=relay.status,
            at=relay.at,
            topic=relay.topic,
            partition=relay.partition,
            offset=relay.offset,
            reached=relay.reached,
            reason=relay.reason,
        ),
        views=[
            ViewApplied(
                name=each.name,
                version=each.version,
                status=each.status,
                at=each.at,
                exact=each.exact,
                position=each.position,
                reason=each.reason,
            )
            for each in trace.views
        ],
        reactions=[_answered(each, private=private) for each in trace.reactions],
        caused=_shown(trace.effects.events, private=private),
        caused_searched_to=trace.effects.searched_to,
        feeds=[_served(each, frame) for each in listening],
    )


def _recorded(stored: StoredEvent) -> Recorded:
    return Recorded(
        at=stored.recorded_at,
        type=stored.type,
        version=stored.schema_version,
        stream_id=stored.stream_id,
        stream_version=stored.version,
        project_id=stored.project_id,
        actor=stored.actor,
        command_id=stored.command_id,
        correlation_id=stored.correlation_id,
        causation_id=stored.causation_id,
    )


def _answered(reaction: ReactionTrace, *, private: bool) -> ReactionAnswered:
    return ReactionAnswered(
        name=reaction.name,
        status=reaction.status,
        position=reaction.position,
        reason=reaction.reason,
        commands=[
            CommandAsked(
                command=each.command,
                command_id=each.command_id,
                outcome=each.outcome,
                events=_shown(each.events, private=private),
            )
            for each in reaction.commands
        ],
    )


def _shown(effects: Iterable[Effect], *, private: bool) -> list[EventCaused]:
    return [
        EventCaused(
            position=each.position,
            type=each.type,
            stream_id=each.stream_id,
            actor=each.actor,
            recorded_at=each.recorded_at,
        )
        for each in effects
        if private or _is_public(each.type)
    ]


def _is_public(kind: str) -> bool:
    declared = EVENT_TYPES.get(kind)
    return declared is not None and not declared.PRIVATE


def _served(listener: Listener, frame: Frame) -> FeedServed:
    status: FeedStatus = "delivered" if listener.delivered >= frame.position else "waiting"
    if listener.began_after >= frame.position:
        status = "began_later"
    if not listener.selection.takes(frame):
        status = "not_wanted"
    types = listener.selection.types
    return FeedServed(
        status=status,
        delivered=listener.delivered,
        began_after=listener.began_after,
        project_id=listener.selection.project_id,
        types=None if types is None else sorted(types),
    )
