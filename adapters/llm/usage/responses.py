"""Usage of OpenAI's Responses: tokens in `usage`, uses of its tools beside it."""

from collections.abc import Mapping
from typing import Final

from adapters.llm.fields import Malformed, mapping, whole, word
from adapters.llm.usage.chat import TIERS
from adapters.llm.usage.counting import Counted, a_pass, believable, optional, parts, required, unknown_counts, usage_of
from domain.pricing import Bucket, Pass

_KNOWN: Final = {
    "": {"input_tokens", "output_tokens", "total_tokens"},
    "input_tokens_details": {"cached_tokens", "cache_write_tokens"},
    "input_tokens_details.cache_write_tokens_details": {"ttl_30m_tokens", "ttl_12h_tokens"},
    "output_tokens_details": {"reasoning_tokens"},
}
IMAGE_MODEL: Final = "image_generation"
"""Which model drew is not part of the usage; without a price of this name such an answer cannot be billed."""


def of_responses(answer: Mapping[str, object], *, model: str, answered: bool) -> Counted:
    """The usage of one response, completed, incomplete or failed. Malformed when it cannot be billed.

    `tool_usage` stands beside `usage` and may be left out: nothing there is no proof that no tool was used.
    """
    raw, tools = mapping(answer.get("usage")), mapping(answer.get("tool_usage"))
    if not raw:
        raise Malformed("the server sent no usage")
    read, written = required(raw, "input_tokens"), required(raw, "output_tokens")
    believable(read, written, answered=answered)
    said = whole(raw.get("total_tokens"))
    if said and said != read + written:
        raise Malformed(f"the usage says {said} in total but {read} + {written} in parts")
    details = mapping(raw.get("input_tokens_details"))
    cached, kept = optional(details, "cached_tokens"), optional(details, "cache_write_tokens")
    lifetimes = mapping(details.get("cache_write_tokens_details"))
    half_a_day = optional(lifetimes, "ttl_12h_tokens")
    parts("cache_write_tokens", kept, {"12h": half_a_day, "30m": optional(lifetimes, "ttl_30m_tokens")})
    counts: dict[Bucket, int] = {
        "input": parts("input_tokens", read, {"cached": cached, "cache_write": kept}),
        "input_cache_read": cached,
        "input_cache_write_30m": kept - half_a_day,
        "input_cache_write_12h": half_a_day,
        "output": written,
        "web_search": optional(mapping(tools.get("web_search")), "num_requests"),
    }
    named = word(answer.get("service_tier"))
    return Counted(
        usage_of(
            [a_pass(model, counts), *_drawn(mapping(tools.get("image_gen")))],
            tier=TIERS.get(named, named) if named else "standard",
            reasoning_tokens=whole(mapping(raw.get("output_tokens_details")).get("reasoning_tokens")),
            unknown_fields=unknown_counts(raw, _KNOWN),
        )
    )


def _drawn(usage: Mapping[str, object]) -> list[Pass]:
    """What the image model read and drew, summed up over all of its calls."""
    read, written = optional(usage, "input_tokens"), optional(usage, "output_tokens")
    if not (read or written):
        return []
    seen = optional(mapping(usage.get("input_tokens_details")), "image_tokens")
    cached = mapping(usage.get("cached_tokens_details"))
    cached_text, cached_image = optional(cached, "cached_text_tokens"), optional(cached, "cached_image_tokens")
    texts = optional(mapping(usage.get("output_tokens_details")), "text_tokens")
    counts: dict[Bucket, int] = {
        "input": parts("input_tokens", read, {"images": seen, "cached text": cached_text}),
        "input_cache_read": cached_text,
        "input_image": parts("image_tokens", seen, {"cached": cached_image}),
        "input_image_cache_read": cached_image,
        "output": texts,
        "output_image": parts("output_tokens", written, {"text": texts}),
    }
    return [a_pass(IMAGE_MODEL, counts, kind="image_generation")]
