"""Makes one kind of usage out of each protocol's own: disjoint buckets, nothing lost, nothing counted twice."""

from adapters.llm.usage.chat import of_chat, of_openrouter
from adapters.llm.usage.counting import Counted
from adapters.llm.usage.messages import of_messages
from adapters.llm.usage.responses import of_responses

__all__ = ["Counted", "of_chat", "of_messages", "of_openrouter", "of_responses"]
