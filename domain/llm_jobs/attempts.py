"""One try at a provider: what is held for it, what it answers, how long to wait before the next."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from pydantic import Field

from domain.pricing import RateId, Usage
from domain.values import Amount, Code, ModelName, Name, Slug, Target, Text, Value

LONGEST_BACKOFF_MS = 60_000
LONGEST_RETRY_AFTER_MS = 24 * 3_600_000
"""A provider that asks for more patience than a day is asked again after a day."""

Ordinal = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]


class HeldAmount(Value):
    """Money that one budget holds for an attempt."""

    budget_id: UUID
    amount: Amount


class Attempt(Value):
    """A request that was let out to a provider; kept until its cost is known."""

    number: Ordinal
    attempt_id: UUID
    provider: Slug
    model: ModelName
    bound: Amount
    rate_id: RateId
    holds: list[HeldAmount]
    probe: bool = False
    """Whether its outcome decides about its provider's circuit."""

    @property
    def target(self) -> Target:
        """Where it was sent."""
        return Target(provider=self.provider, model=self.model)


class Reply(Value):
    """What a model answered. Usage is None where its provider did not count, or not believably."""

    output: Text
    usage: Usage | None
    model: ModelName
    response_id: Name | None
    finish_reason: Code
    queue_ms: Count
    first_token_ms: Count | None
    total_ms: Count


def retry_delay(attempt: Attempt, asked_ms: int | None = None) -> timedelta:
    """Exponential, between half and all of the step, spread by the attempt's id; never sooner than was asked for."""
    step = min(1000 * 2 ** min(attempt.number - 1, 16), LONGEST_BACKOFF_MS)
    spread = step // 2 + attempt.attempt_id.int % (step // 2 + 1)
    return timedelta(milliseconds=max(spread, min(asked_ms or 0, LONGEST_RETRY_AFTER_MS)))


def reference(text: Text) -> Text:
    """The text's digest without its body: an aggregate stays small."""
    return text.model_copy(update={"sealed": None})
