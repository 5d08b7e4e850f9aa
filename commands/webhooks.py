"""What may be asked of webhooks: subscribe, change, pause, resume, rotate, replay, requeue, remove."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints

from commands.handling import Command, handler
from commands.work import UnitOfWork
from domain.errors import Refused
from domain.projects import Project
from domain.values import ONE_LINE, Code, Instant, Name, Prose
from domain.webhooks import LONGEST_IN_FLIGHT, EventPattern, LogPosition, Webhook, check_patterns, origin_of

LONGEST_OVERLAP = 30 * 86_400
"""Seconds that a replaced secret may go on signing."""
MOST_TYPES = 50
READS_EVENTS = "events.read"
"""Who has events sent somewhere must be one who may read them."""
Address = Annotated[str, StringConstraints(min_length=1, max_length=2000, pattern=ONE_LINE)]
Patterns = Annotated[tuple[EventPattern, ...], Field(min_length=1, max_length=MOST_TYPES)]


class OfSigningSecret(BaseModel):
    """What a command says of a secret that was made and sealed beside the log before it."""

    # Made anew at every try, so it is left out of the fingerprint of the command.
    secret_id: Annotated[UUID, Field(exclude=True)]
    kept_at: Annotated[Instant, Field(exclude=True)]

    def secret(self, work: UnitOfWork) -> UUID:
        """The secret, unless it lay so long that the sweep may already have taken it."""
        if work.now - self.kept_at > LONGEST_IN_FLIGHT:
            raise Refused("this took too long: ask again", code="webhook_secret_late")
        return self.secret_id


class SubscribeWebhook(OfSigningSecret, Command, permission="webhooks.subscribe"):
    """Tell an address of events as they happen; of those of one project alone, if one is named."""

    webhook_id: UUID
    url: Annotated[Address, Field(description="https://HOST[:PORT]/PATH; sealed, for its path may be a password")]
    types: Annotated[Patterns, Field(description="Such as budget.threshold_crossed, budget.*, or * for all")]
    project_id: UUID | None = None
    description: Prose | None = None
    from_position: Annotated[
        LogPosition | None, Field(description="Tell of what has happened from here on; left out: from now on")
    ] = None

    def sealed_under(self) -> UUID:
        """A key of its own."""
        return self.webhook_id

    def makes_key(self) -> bool:
        """It is new."""
        return True

    def also_takes(self) -> tuple[str, ...]:
        """Reading what is sent."""
        return (READS_EVENTS,)

    def streams(self) -> tuple[UUID, ...]:
        """The webhook, and its project."""
        return (self.webhook_id, *([self.project_id] if self.project_id else []))


class ChangeWebhook(Command, permission="webhooks.change"):
    """Another address, choice of events or description; what is left out stays. What failed is tried again at once."""

    webhook_id: UUID
    url: Address | None = None
    types: Patterns | None = None
    description: Prose | None = None

    def sealed_under(self) -> UUID:
        """Its own key."""
        return self.webhook_id

    def also_takes(self) -> tuple[str, ...]:
        """Reading what is sent."""
        return (READS_EVENTS,)


class PauseWebhook(Command, permission="webhooks.pause"):
    """Tell it nothing for the time being. What happens meanwhile waits in the log."""

    webhook_id: UUID


class ResumeWebhook(Command, permission="webhooks.resume"):
    """Go on where it stopped, also after it was disabled."""

    webhook_id: UUID


class RotateWebhookSecret(OfSigningSecret, Command, permission="webhooks.rotate"):
    """Sign with a new secret; with the old one too, for the overlap."""

    webhook_id: UUID
    overlap_seconds: Annotated[int, Field(ge=0, le=LONGEST_OVERLAP)] = 86_400

    def streams(self) -> tuple[UUID, ...]:
        """The webhook."""
        return (self.webhook_id,)


class ReplayWebhook(Command, permission="webhooks.replay"):
    """Tell it once more of everything from a position on, under the same ids."""

    webhook_id: UUID
    from_position: LogPosition

    def also_takes(self) -> tuple[str, ...]:
        """Reading what is sent."""
        return (READS_EVENTS,)


class RequeueWebhookDeliveries(Command, permission="webhooks.requeue"):
    """Try once more what was given up: everything, or the event at one position."""

    webhook_id: UUID
    position: LogPosition | None = None


class RemoveWebhook(Command, permission="webhooks.remove"):
    """Forget it, and erase its secrets."""

    webhook_id: UUID


class DisableWebhook(Command, permission="webhooks.work"):
    """Stop telling one that answers nothing good, until somebody has looked and resumes it."""

    webhook_id: UUID
    reason: Code
    detail: Name


@handler
def subscribe_webhook(command: SubscribeWebhook, work: UnitOfWork) -> None:
    """Whether the address may be reached at all was asked before; here it is only read."""
    origin, types = origin_of(command.url), check_patterns(command.types)
    if command.project_id:
        work.get(Project, command.project_id)
    work.add(
        Webhook(
            id=work.check_new(Webhook, command.webhook_id),
            project_id=command.project_id,
            url=work.seal(command.url),
            origin=origin,
            types=types,
            description=work.seal(command.description) if command.description else None,
            from_position=command.from_position,
            secret_id=command.secret(work),
            by=work.actor,
        )
    )


@handler
def change_webhook(command: ChangeWebhook, work: UnitOfWork) -> None:
    """At least one thing must be another."""
    webhook = work.get(Webhook, command.webhook_id)
    if command.url is None and command.types is None and command.description is None:
        raise Refused("say what is to be another: url, types or description", code="nothing_to_change")
    webhook.change(
        url=None if command.url is None else work.seal(command.url),
        origin=None if command.url is None else origin_of(command.url),
        types=None if command.types is None else check_patterns(command.types),
        description=None if command.description is None else work.seal(command.description),
        by=work.actor,
    )


@handler
def pause_webhook(command: PauseWebhook, work: UnitOfWork) -> None:
    """Pausing again changes nothing."""
    work.get(Webhook, command.webhook_id).pause(work.actor)


@handler
def resume_webhook(command: ResumeWebhook, work: UnitOfWork) -> None:
    """Resuming again changes nothing."""
    work.get(Webhook, command.webhook_id).resume(work.actor)


@handler
def rotate_webhook_secret(command: RotateWebhookSecret, work: UnitOfWork) -> None:
    """The newest secret signs first."""
    webhook = work.get(Webhook, command.webhook_id)
    webhook.rotate(command.secret(work), timedelta(seconds=command.overlap_seconds), by=work.actor, now=work.now)


@handler
def replay_webhook(command: ReplayWebhook, work: UnitOfWork) -> None:
    """Whoever delivers hears of it."""
    work.get(Webhook, command.webhook_id).replay(command.from_position, work.actor)


@handler
def requeue_webhook_deliveries(command: RequeueWebhookDeliveries, work: UnitOfWork) -> None:
    """Whoever delivers hears of it."""
    work.get(Webhook, command.webhook_id).requeue(command.position, work.actor)


@handler
def remove_webhook(command: RemoveWebhook, work: UnitOfWork) -> None:
    """Removing again changes nothing."""
    work.get(Webhook, command.webhook_id).remove(work.actor)


@handler
def disable_webhook(command: DisableWebhook, work: UnitOfWork) -> None:
    """Only one that is active."""
    work.get(Webhook, command.webhook_id).disable(command.reason, command.detail)
