"""One signed request to a webhook: its address unsealed, its secrets opened, for this moment alone."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from pydantic import SecretStr

from commands.ports import Keyring
from domain.keeping import Secrets
from domain.posting import Posted, Poster
from domain.signing import signed
from domain.webhooks import Webhook
from streams.envelope import CONTENT_TYPE


@dataclass(frozen=True, slots=True)
class Sender:
    """What it takes to send something."""

    secrets: Secrets
    keyring: Keyring
    poster: Poster
    now: Callable[[], datetime]

    async def send(self, webhook: Webhook, message_id: str, body: bytes) -> Posted:
        """What became of it; also what keeps it from being sent is an answer."""
        now = self.now()
        live = webhook.secrets(now)
        revealed = await self.secrets.reveal(live)
        secrets: list[SecretStr] = []
        for each in live:
            found = revealed[each]
            if not isinstance(found, str):
                secrets.append(found)
            elif each == webhook.secret_id:  # an old one that is gone is missed only by receivers that are late
                return Posted(None, f"it cannot be signed: {found}")
        (url,) = await self.keyring.unseal([webhook.url])
        if url is None:
            return Posted(None, "its address was erased with its key: add another webhook (toybox webhooks add)")
        headers = signed(message_id, int(now.timestamp()), body, secrets)
        return await self.poster.post(url, body, headers | {"content-type": CONTENT_TYPE.decode()})
