"""Sends a webhook a message that stands for no event, at once, to see what its receiver makes of it."""

from uuid import UUID

from domain.errors import NotFound
from domain.log import LogReader, StoredEvent, leaf
from domain.posting import Posted
from streams.envelope import seal, source_of
from streams.webhooks.sending import Sender
from streams.webhooks.subscription import Subscription

TYPE = "webhook.test"


class WebhookTester:
    """Asked for by people, answered by the receiver; nothing of it is kept."""

    def __init__(self, reader: LogReader, sender: Sender) -> None:
        self._reader = reader
        self._sender = sender

    async def test(self, webhook_id: UUID, command_id: UUID, actor: str) -> Posted:
        """Also while it is paused or disabled, to see whether it is worth resuming."""
        history = await self._reader.read_stream(webhook_id)
        if not history or not history[0].type.startswith("webhook."):
            raise NotFound(f"there is no webhook {webhook_id}")
        subscription = Subscription.of(history)
        if subscription is None or subscription.webhook.status == "removed":
            raise NotFound(f"webhook {webhook_id} was removed")
        first = (await self._reader.read(0, 1))[0]
        message = StoredEvent(
            position=0,
            stream_id=webhook_id,
            version=0,
            type=TYPE,
            schema_version=1,
            project_id=subscription.webhook.project_id,
            data=b'{"note":"A test: this stands for no event."}',
            actor=actor,
            command_id=command_id,
            correlation_id=command_id,
            causation_id=None,
            trace_id=None,
            recorded_at=self._sender.now(),
        )
        body = seal(message, 0, source_of(leaf(first).hex()))
        return await self._sender.send(subscription.webhook, f"{webhook_id}.test-{command_id.hex[:16]}", body)
