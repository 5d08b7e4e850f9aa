"""Everything that can happen to webhooks, for the town."""

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from commands.handling import Command
from commands.webhooks import (
    ChangeWebhook,
    DisableWebhook,
    PauseWebhook,
    RemoveWebhook,
    ReplayWebhook,
    RequeueWebhookDeliveries,
    ResumeWebhook,
    RotateWebhookSecret,
    SubscribeWebhook,
)


def webhook_commands(project: UUID, now: datetime) -> Iterator[Command]:
    """One of a project that stays, one of everything that is removed."""
    url, types = "https://hooks.example.org/in", ("budget.*",)
    for hook, of in ((UUID(int=21), project), (UUID(int=22), None)):
        kept = {"secret_id": hook, "kept_at": now, "webhook_id": hook}
        yield SubscribeWebhook.model_validate({**kept, "url": url, "types": types, "project_id": of})
        yield ChangeWebhook(webhook_id=hook, types=("*",), description="Another.")
        yield PauseWebhook(webhook_id=hook)
        yield ResumeWebhook(webhook_id=hook)
        yield RotateWebhookSecret.model_validate({**kept, "secret_id": UUID(int=hook.int + 2)})
        yield ReplayWebhook(webhook_id=hook, from_position=1)
        yield DisableWebhook(webhook_id=hook, reason="gone", detail="it answered 410")
        yield RequeueWebhookDeliveries(webhook_id=hook)
    yield RemoveWebhook(webhook_id=UUID(int=22))
