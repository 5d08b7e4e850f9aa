"""The token estimate of the scripted provider: one token for four bytes of UTF-8, and four for each message.

An estimate to count with, never to hold money for: `domain.pricing.upper_bound_tokens` is the bound for that.
"""

from collections.abc import Iterable

from commands.models import Message

BYTES_PER_TOKEN = 4
TOKENS_PER_MESSAGE = 4


def estimated_tokens(text: str) -> int:
    """Tokens of an answer."""
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


def estimated_prompt_tokens(messages: Iterable[Message]) -> int:
    """Tokens of a prompt."""
    return sum(estimated_tokens(message.content) + TOKENS_PER_MESSAGE for message in messages)


def clipped(text: str, max_tokens: int) -> str:
    """The longest beginning of the text that is estimated at no more than this many tokens."""
    return text.encode()[: max_tokens * BYTES_PER_TOKEN].decode(errors="ignore")
