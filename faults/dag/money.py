"""What planned work may cost: prices of the campaign's provider, limits that are tight and yet enough."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from faults.dag.plan import MAX_OUTPUT_TOKENS, Worker

INPUT, OUTPUT = Decimal("0.000001"), Decimal("0.000005")
"""USD a token."""
CARD: dict[str, Any] = {
    "provider": "vendor",
    "effective_from": "2020-01-01",
    "source": "made up for a fault campaign",
    "models": [{"model": "*", "prices": [{"rates": {"input": "1", "output": "5"}}]}],
}
LONGEST_PROMPT = 1_000
"""Bytes of the longest prompt, a review's answer and what toybox adds for the server's template included."""
DEAREST = LONGEST_PROMPT * INPUT + MAX_OUTPUT_TOKENS * OUTPUT
"""At least as much as is ever held for one call."""


def price(usage: dict[str, Any]) -> Decimal:
    """What the provider charges for a call that it counted so."""
    return usage["prompt_tokens"] * INPUT + usage["completion_tokens"] * OUTPUT


def limit_for(workers: Sequence[Worker], room: int) -> Decimal:
    """Enough for all that succeeds, and then for so many calls at once as there is room for: fewer than could run.

    What is paid for nothing comes on top as it happens: see `Person`.
    """
    answers = sum(max(1, len(each.answers)) for each in workers)
    return answers * (150 * INPUT + 20 * OUTPUT) + room * DEAREST
