"""Usage of Anthropic's Messages: cache by lifetime, the provider's own tools, and passes of several models."""

from collections.abc import Mapping
from typing import Any, Final

from adapters.llm.fields import Malformed, items, mapping, whole, word
from adapters.llm.usage.counting import Counted, a_pass, believable, optional, required, unknown_counts, usage_of
from domain.pricing import Bucket, Pass

_PASS: Final = {
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
}
_KNOWN: Final = {
    "": _PASS,
    "cache_creation": {"ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"},
    "output_tokens_details": {"thinking_tokens"},
    "server_tool_use": {"web_search_requests", "web_fetch_requests"},
}


def of_messages(raw: Mapping[str, object], *, model: str, answered: bool) -> Counted:
    """The usage of one message. Malformed when it cannot be billed.

    `input_tokens` is what no cache served or kept; thinking is inside `output_tokens`. Where there are `iterations`,
    they are the bill and the counts above them are not: compaction is missing there.
    """
    if not raw:
        raise Malformed("the server sent no usage")
    iterations = [mapping(each) for each in items(raw.get("iterations"))]
    declined = [each for each in iterations if _is_declined(each, iterations)]
    passes = [_pass(each, model) for each in iterations if each not in declined] or [_pass(raw, model)]
    tools = mapping(raw.get("server_tool_use"))
    uses: dict[Bucket, int] = {
        "web_search": optional(tools, "web_search_requests"),
        "web_fetch": optional(tools, "web_fetch_requests"),
    }
    first = passes[0]
    passes[0] = Pass.of(first.model, {**{each.bucket: each.quantity for each in first.quantities}, **uses},
                        kind=first.kind)  # fmt: skip
    usage = usage_of(
        passes,
        reasoning_tokens=whole(mapping(raw.get("output_tokens_details")).get("thinking_tokens")),
        unknown_fields=unknown_counts(raw, _KNOWN),
        **_conditions(raw),
    )
    believable(usage.input_tokens, usage.output_tokens, answered=answered)
    remarks = ["a model that declined and wrote nothing is not billed"] if declined else []
    if mapping(mapping(raw.get("fallback_credit")).get("status")).get("type") == "redeemed":
        remarks.append("a fallback credit was redeemed: the provider may charge less")
    return Counted(usage, remarks)


def _is_declined(each: Mapping[str, object], iterations: list[Mapping[str, object]]) -> bool:
    """A hop that wrote nothing, where another model served the answer."""
    served_by_another = any(other.get("type") == "fallback_message" for other in iterations)
    return served_by_another and each.get("type") == "message" and each.get("output_tokens") == 0


def _pass(raw: Mapping[str, object], model: str) -> Pass:
    kept, lifetimes = optional(raw, "cache_creation_input_tokens"), mapping(raw.get("cache_creation"))
    hour = optional(lifetimes, "ephemeral_1h_input_tokens")
    split = hour + optional(lifetimes, "ephemeral_5m_input_tokens")
    if split and split != kept:
        raise Malformed(f"the usage says {kept} tokens were cached but {split} by lifetime")
    counts: dict[Bucket, int] = {
        "input": required(raw, "input_tokens"),
        "input_cache_read": optional(raw, "cache_read_input_tokens"),
        "input_cache_write_5m": kept - hour,  # without a split it is five minutes, the default
        "input_cache_write_1h": hour,
        "output": required(raw, "output_tokens"),
    }
    return a_pass(word(raw.get("model")) or model, counts, kind=word(raw.get("type")) or "message")


def _conditions(raw: Mapping[str, object]) -> dict[str, Any]:
    region = word(raw.get("inference_geo"))
    return {
        "tier": word(raw.get("service_tier")) or "standard",
        "speed": word(raw.get("speed")) or "standard",
        "region": None if region in (None, "global", "not_available") else region,
    }
