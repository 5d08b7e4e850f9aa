"""When a failed attempt is made again: exponential backoff, with a jitter that every replay computes alike."""

from datetime import timedelta
from uuid import UUID

from domain.values import derived_id

PERMANENT = frozenset(
    {
        "authentication",
        "cancelled",
        "credit_exhausted",
        "deadline_exceeded",
        "erased",
        "invalid_request",
        "model_not_found",
        "not_kept",
        "output_too_long",
        "price_unknown",
        "provider_key_missing",
        "refused",
        "unknown_provider",
    }
)
"""Kinds of failure that another attempt would only repeat: somebody has to change something first."""
FIRST_MS = 2_000
LONGEST_MS = 300_000


def backoff(agent: UUID, run: int, attempt: int, failures: int) -> timedelta:
    """How long to wait before this attempt, after so many failures of the run: half of it fixed, half of it jitter.

    The jitter comes from the ids: agents that failed together do not come back together, and no replay differs.
    """
    ceiling = min(FIRST_MS * 2 ** min(failures, 20), LONGEST_MS)
    spread = derived_id("backoff", agent, run, attempt).int % (ceiling // 2 + 1)
    return timedelta(milliseconds=ceiling // 2 + spread)
