"""Usage of Chat Completions: OpenAI, OpenRouter, and every server that speaks the protocol."""

from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Final

from adapters.llm.fields import Malformed, mapping, whole, word
from adapters.llm.usage.counting import Counted, a_pass, believable, optional, parts, required, unknown_counts, usage_of
from domain.pricing import Bucket
from domain.values import MONEY_DIGITS

TIERS: Final[Mapping[str, str]] = {
    "default": "standard",
    "auto": "standard",
    "on_demand": "standard",
    "fast": "priority",
}
"""Tiers that answers name otherwise than price cards do. `fast` is how a request asks for priority."""
LARGEST_CHARGE: Final = Decimal(10) ** 9
"""USD that one answer can cost at most, to be believed."""
_KNOWN: Final = {
    "": {"prompt_tokens", "completion_tokens", "total_tokens", "cost"},
    "prompt_tokens_details": {"cached_tokens", "cache_write_tokens", "audio_tokens", "image_tokens", "text_tokens"},
    "completion_tokens_details": {
        "reasoning_tokens",
        "audio_tokens",
        "image_tokens",
        "text_tokens",
        "accepted_prediction_tokens",
        "rejected_prediction_tokens",
    },
    "cost_details": {
        "upstream_inference_cost",
        "upstream_inference_prompt_cost",
        "upstream_inference_completions_cost",
    },
}


def of_chat(raw: Mapping[str, object], *, model: str, tier: object = None, answered: bool) -> Counted:
    """The usage of one chat completion; `tier` is the answer's `service_tier`. Malformed when it cannot be billed.

    Reasoning and rejected predictions are inside `completion_tokens` and billed there. Cached tokens have no modality
    here: they are taken as text, and remarked on where there is sound or an image as well.
    """
    if not raw:
        raise Malformed("the server sent no usage")
    prompt, completion = required(raw, "prompt_tokens"), required(raw, "completion_tokens")
    believable(prompt, completion, answered=answered)
    said = whole(raw.get("total_tokens"))
    if said and said != prompt + completion:
        raise Malformed(f"the usage says {said} in total but {prompt} + {completion} in parts")
    read, written = mapping(raw.get("prompt_tokens_details")), mapping(raw.get("completion_tokens_details"))
    cached, kept = optional(read, "cached_tokens"), optional(read, "cache_write_tokens")
    parts("prompt_tokens", prompt, {"cached": cached, "cache_write": kept})
    sound, image = optional(read, "audio_tokens"), optional(read, "image_tokens")
    parts("prompt_tokens", prompt, {"audio": sound, "image": image})
    remarks: list[str] = []
    if cached and (sound or image):
        remarks.append("cached tokens have no modality here: they are billed as text")
        sound, image = _without_cached(prompt - cached - kept, sound, image)
    spoken, drawn = optional(written, "audio_tokens"), optional(written, "image_tokens")
    counts: dict[Bucket, int] = {
        "input": parts(
            "prompt_tokens", prompt, {"cached": cached, "cache_write": kept, "audio": sound, "image": image}
        ),
        "input_cache_read": cached,
        "input_cache_write_30m": kept,
        "input_audio": sound,
        "input_image": image,
        "output": parts("completion_tokens", completion, {"audio": spoken, "image": drawn}),
        "output_audio": spoken,
        "output_image": drawn,
    }
    named = word(tier)
    return Counted(
        usage_of(
            [a_pass(model, counts)],
            tier=TIERS.get(named, named) if named else "standard",
            reasoning_tokens=whole(written.get("reasoning_tokens")),
            rejected_prediction_tokens=whole(written.get("rejected_prediction_tokens")),
            unknown_fields=unknown_counts(raw, _KNOWN),
        ),
        remarks,
    )


def of_openrouter(raw: Mapping[str, object], *, model: str, answered: bool) -> Counted:
    """The usage of an answer of OpenRouter, which says what it charges.

    With a key of one's own at the upstream, its own charge comes on top of OpenRouter's; without, it is the same money
    told twice and must not be added.
    """
    counted = of_chat(raw, model=model, answered=answered)
    charged = _dollars(raw.get("cost"), "cost")
    if charged is None:
        return Counted(counted.usage, [*counted.remarks, "OpenRouter did not say what it charges"])
    if raw.get("is_byok") is True:
        upstream = _dollars(mapping(raw.get("cost_details")).get("upstream_inference_cost"), "upstream_inference_cost")
        charged += upstream or Decimal(0)
    return Counted(counted.usage.model_copy(update={"reported_cost": charged}), counted.remarks)


def _without_cached(room: int, sound: int, image: int) -> tuple[int, int]:
    """Sound and image as far as they can lie outside the cached part."""
    sound = min(sound, room)
    return sound, min(image, room - sound)


def _dollars(value: object, name: str) -> Decimal | None:
    """An amount as JSON gives it; up, where it is finer than a pico-dollar."""
    if value is None or isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        raise Malformed(f"the usage has {name} = {value!r}, which is no amount") from None
    if not amount.is_finite() or not 0 <= amount < LARGEST_CHARGE:
        raise Malformed(f"the usage has {name} = {value!r}, which is no amount")
    return amount.quantize(Decimal(1).scaleb(-MONEY_DIGITS), rounding=ROUND_CEILING)
