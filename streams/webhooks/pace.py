"""How patient deliveries to webhooks are: pauses between tries, how many of them, when somebody must look."""

import hashlib
from dataclasses import dataclass
from uuid import UUID

LONGEST_PAUSE = 86_400.0
"""Seconds that a receiver may ask to be left alone."""


@dataclass(frozen=True, slots=True)
class WebhookPace:
    """By default a delivery is tried ten times within four and a half hours, a webhook for three days."""

    first_pause: float = 5.0
    factor: float = 4.0
    longest_pause: float = 3600.0
    tries: int = 10
    disable_seconds: float = 3 * 86_400.0
    """How long nothing may have arrived until it is told nothing more."""
    at_once: int = 32
    """Requests under way, over all webhooks; each ends within seconds, whatever its receiver does."""
    window: int = 200
    """Events that wait in memory for one webhook; beyond them it reads the log for itself."""
    save_seconds: float = 30.0
    """How often it is written down that nothing was to be delivered."""
    kept_attempts: int = 500

    def pause(self, webhook_id: UUID, position: int, failed: int, asked: float | None) -> float:
        """After so many failed tries: growing, scattered so that many webhooks do not come back at once.

        Never shorter than the receiver asked for.
        """
        grown = min(self.first_pause * self.factor ** min(failed - 1, 50), self.longest_pause)
        seed = hashlib.sha256(webhook_id.bytes + f"{position}.{failed}".encode()).digest()
        scattered = grown * (0.8 + 0.4 * int.from_bytes(seed[:4], "big") / 2**32)
        return max(scattered, min(asked or 0.0, LONGEST_PAUSE))
