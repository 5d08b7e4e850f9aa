"""What each protocol counts, as buckets: the vendors' own examples and everything that a server may get wrong."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.llm.fields import Malformed
from adapters.llm.usage import Counted, of_chat, of_messages, of_openrouter, of_responses
from domain.pricing import Bucket, Usage


def buckets(usage: Usage) -> dict[str, int]:
    """The buckets of all passes."""
    names: set[Bucket] = {each.bucket for part in usage.passes for each in part.quantities}
    return {name: usage.quantity(name) for name in sorted(names)}


CHAT: dict[str, tuple[dict[str, Any], dict[Bucket, int]]] = {
    "text": ({"prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29}, {"input": 19, "output": 10}),
    "a server that sends no total": ({"prompt_tokens": 19, "completion_tokens": 10}, {"input": 19, "output": 10}),
    "cache": (
        {
            "prompt_tokens": 2006,
            "completion_tokens": 300,
            "total_tokens": 2306,
            "prompt_tokens_details": {"cached_tokens": 1920, "cache_write_tokens": 60},
            "completion_tokens_details": {"reasoning_tokens": 128, "rejected_prediction_tokens": 5},
        },
        {"input": 26, "input_cache_read": 1920, "input_cache_write_30m": 60, "output": 300},
    ),
    "sound and image": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "prompt_tokens_details": {"audio_tokens": 30, "image_tokens": 20, "text_tokens": 50},
            "completion_tokens_details": {"audio_tokens": 40, "text_tokens": 10},
        },
        {"input": 50, "input_audio": 30, "input_image": 20, "output": 10, "output_audio": 40},
    ),
    "sound that a cache served": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 1,
            "prompt_tokens_details": {"audio_tokens": 80, "cached_tokens": 90},
        },
        {"input_cache_read": 90, "input_audio": 10, "output": 1},
    ),
}


@pytest.mark.parametrize("case", CHAT)
def test_a_chat_completion_is_counted_in_disjoint_buckets(case: str) -> None:
    raw, expected = CHAT[case]
    usage = of_chat(raw, model="m", answered=True).usage
    assert buckets(usage) == dict(sorted(expected.items()))
    assert usage.total_tokens == raw["prompt_tokens"] + raw["completion_tokens"]


def test_reasoning_and_rejected_predictions_are_told_and_not_billed_again() -> None:
    usage = of_chat(CHAT["cache"][0], model="m", answered=True).usage
    assert (usage.reasoning_tokens, usage.rejected_prediction_tokens, usage.output_tokens) == (128, 5, 300)


def test_cached_tokens_without_a_modality_are_remarked_on() -> None:
    assert of_chat(CHAT["sound that a cache served"][0], model="m", answered=True).remarks
    assert not of_chat(CHAT["cache"][0], model="m", answered=True).remarks


@pytest.mark.parametrize(
    ("said", "tier"),
    [(None, "standard"), ("default", "standard"), ("flex", "flex"), ("priority", "priority"), ("fast", "priority")],
)
def test_the_tier_is_that_of_the_answer(said: str | None, tier: str) -> None:
    raw = {"prompt_tokens": 1, "completion_tokens": 1}
    assert of_chat(raw, model="m", tier=said, answered=True).usage.tier == tier
    assert of_responses({"usage": RESPONSE["usage"], "service_tier": said}, model="m", answered=True).usage.tier == tier


def test_openrouter_says_what_it_charges_and_repeats_it_when_the_key_is_its_own() -> None:
    raw = {
        "prompt_tokens": 194,
        "completion_tokens": 2,
        "total_tokens": 196,
        "cost": 0.00095,
        "cost_details": {"upstream_inference_cost": 0.00095},
        "is_byok": False,
    }
    assert of_openrouter(raw, model="a/b", answered=True).usage.reported_cost == Decimal("0.00095")
    with_own_key = {**raw, "is_byok": True, "cost": 0.0000475}
    assert of_openrouter(with_own_key, model="a/b", answered=True).usage.reported_cost == Decimal("0.0009975")
    silent = of_openrouter({**raw, "cost": None}, model="a/b", answered=True)
    assert silent.usage.reported_cost is None
    assert silent.remarks


RESPONSE: dict[str, Any] = {
    "usage": {
        "input_tokens": 1000,
        "input_tokens_details": {
            "cached_tokens": 600,
            "cache_write_tokens": 300,
            "cache_write_tokens_details": {"ttl_30m_tokens": 200, "ttl_12h_tokens": 100},
        },
        "output_tokens": 50,
        "output_tokens_details": {"reasoning_tokens": 40},
        "total_tokens": 1050,
    },
    "tool_usage": {
        "web_search": {"num_requests": 2},
        "image_gen": {
            "input_tokens": 80,
            "input_tokens_details": {"image_tokens": 50, "text_tokens": 30},
            "cached_tokens_details": {"cached_image_tokens": 10, "cached_text_tokens": 20},
            "output_tokens": 400,
            "output_tokens_details": {"image_tokens": 390, "text_tokens": 10},
            "total_tokens": 480,
        },
    },
}


def test_a_response_has_tokens_by_lifetime_and_tools_beside_them() -> None:
    usage = of_responses(RESPONSE, model="m", answered=True).usage
    first, second = usage.passes
    assert {each.bucket: each.quantity for each in first.quantities} == {
        "input": 100,
        "input_cache_read": 600,
        "input_cache_write_30m": 200,
        "input_cache_write_12h": 100,
        "output": 50,
        "web_search": 2,
    }
    assert (second.kind, {each.bucket: each.quantity for each in second.quantities}) == (
        "image_generation",
        {"input": 10, "input_cache_read": 20, "input_image": 40, "input_image_cache_read": 10, "output": 10,
         "output_image": 390},
    )  # fmt: skip
    assert usage.reasoning_tokens == 40


def test_a_response_without_tools_has_one_pass() -> None:
    nothing = {"image_gen": {"input_tokens": 0, "output_tokens": 0}, "web_search": {"num_requests": 0}}
    for tools in (None, nothing):
        usage = of_responses({**RESPONSE, "tool_usage": tools}, model="m", answered=True).usage
        assert len(usage.passes) == 1
        assert usage.quantity("web_search") == 0


MESSAGE: dict[str, Any] = {
    "input_tokens": 12,
    "cache_read_input_tokens": 4000,
    "cache_creation_input_tokens": 700,
    "cache_creation": {"ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 300},
    "output_tokens": 90,
    "output_tokens_details": {"thinking_tokens": 60},
    "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 1},
    "service_tier": "standard",
    "speed": "fast",
    "inference_geo": "us",
}


def test_a_message_has_caches_by_lifetime_tools_and_its_conditions() -> None:
    usage = of_messages(MESSAGE, model="m", answered=True).usage
    assert buckets(usage) == {
        "input": 12,
        "input_cache_read": 4000,
        "input_cache_write_1h": 300,
        "input_cache_write_5m": 400,
        "output": 90,
        "web_fetch": 1,
        "web_search": 3,
    }
    assert (usage.tier, usage.speed, usage.region, usage.reasoning_tokens) == ("standard", "fast", "us", 60)
    assert of_messages({**MESSAGE, "inference_geo": "global"}, model="m", answered=True).usage.region is None


def test_a_cache_write_without_a_lifetime_is_the_short_one() -> None:
    usage = of_messages({**MESSAGE, "cache_creation": None}, model="m", answered=True).usage
    assert (usage.quantity("input_cache_write_5m"), usage.quantity("input_cache_write_1h")) == (700, 0)


def test_iterations_are_the_bill_and_the_counts_above_them_are_not() -> None:
    # As documented: compaction reads 180,000 tokens that the top level does not have.
    iterations = [
        {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3500},
        {"type": "message", "input_tokens": 23_000, "output_tokens": 1000},
        {"type": "advisor_message", "model": "adviser", "input_tokens": 10, "output_tokens": 5},
    ]
    raw = {"input_tokens": 23_000, "output_tokens": 1000, "iterations": iterations}
    usage = of_messages(raw, model="m", answered=True).usage
    assert [(each.model, each.kind, each.input_tokens) for each in usage.passes] == [
        ("m", "compaction", 180_000),
        ("m", "message", 23_000),
        ("adviser", "advisor_message", 10),
    ]
    assert (usage.input_tokens, usage.output_tokens) == (203_010, 4505)


def test_a_model_that_declined_is_not_billed_when_another_served() -> None:
    iterations = [
        {"type": "message", "model": "first", "input_tokens": 500, "output_tokens": 0},
        {"type": "fallback_message", "model": "second", "input_tokens": 500, "output_tokens": 9},
    ]
    raw = {
        "input_tokens": 500,
        "output_tokens": 9,
        "iterations": iterations,
        "fallback_credit": {"status": {"type": "redeemed"}},
    }
    counted = of_messages(raw, model="second", answered=True)
    assert [each.model for each in counted.usage.passes] == ["second"]
    assert len(counted.remarks) == 2


def test_counts_that_this_release_does_not_know_are_named() -> None:
    chat = {"prompt_tokens": 5, "completion_tokens": 5, "prompt_tokens_details": {"video_tokens": 2, "text_tokens": 5}}
    assert of_chat(chat, model="m", answered=True).usage.unknown_fields == ["prompt_tokens_details.video_tokens"]
    message = {**MESSAGE, "server_tool_use": {"code_execution_requests": 1}, "reminders": 0}
    assert of_messages(message, model="m", answered=True).usage.unknown_fields == [
        "server_tool_use.code_execution_requests"
    ]


Reader = Callable[[Mapping[str, Any]], Counted]
READERS: dict[str, tuple[Reader, Mapping[str, Any]]] = {
    "chat": (lambda raw: of_chat(raw, model="m", answered=True), CHAT["cache"][0]),
    "messages": (lambda raw: of_messages(raw, model="m", answered=True), MESSAGE),
    "responses": (lambda raw: of_responses({"usage": raw}, model="m", answered=True), RESPONSE["usage"]),
}


@pytest.mark.parametrize("name", READERS)
def test_what_is_missing_is_unknown_and_never_zero(name: str) -> None:
    read, example = READERS[name]
    with pytest.raises(Malformed, match="no usage"):
        read({})
    for field in [each for each in example if each.endswith(("prompt_tokens", "completion_tokens", "put_tokens"))]:
        if field.startswith("cache"):
            continue
        with pytest.raises(Malformed, match="lacks"):
            read({key: value for key, value in example.items() if key != field})


@pytest.mark.parametrize(
    ("name", "change", "complaint"),
    [
        ("chat", {"total_tokens": 1}, "in total but"),
        ("chat", {"prompt_tokens_details": {"cached_tokens": 2000, "cache_write_tokens": 7}}, "more in parts"),
        ("chat", {"prompt_tokens_details": {"audio_tokens": 2007}}, "more in parts"),
        ("chat", {"prompt_tokens_details": {"cached_tokens": "many"}}, "no count"),
        ("chat", {"completion_tokens_details": {"audio_tokens": 301}}, "more in parts"),
        ("chat", {"completion_tokens": 0, "total_tokens": 2006}, "counts nothing"),
        ("chat", {"prompt_tokens": -1}, "lacks"),
        ("responses", {"input_tokens_details": {"cached_tokens": 1001}}, "more in parts"),
        ("responses", {"total_tokens": 7}, "in total but"),
        ("messages", {"cache_creation": {"ephemeral_5m_input_tokens": 1}}, "by lifetime"),
        ("messages", {"output_tokens": 0}, "counts nothing"),
        ("messages", {"cache_read_input_tokens": -4}, "no count"),
    ],
)
def test_what_contradicts_itself_is_refused(name: str, change: dict[str, Any], complaint: str) -> None:
    read, example = READERS[name]
    with pytest.raises(Malformed, match=complaint):
        read({**example, **change})


@pytest.mark.parametrize("change", [{"service_tier": "Gold!"}, {"speed": "fast lane"}, {"inference_geo": "U S"}])
def test_conditions_that_are_no_names_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Malformed, match="should match"):
        of_messages({**MESSAGE, **change}, model="m", answered=True)


@pytest.mark.parametrize("cost", [-1, "free", float("nan")])
def test_a_charge_that_is_no_amount_is_refused(cost: object) -> None:
    with pytest.raises(Malformed, match="no amount"):
        of_openrouter({"prompt_tokens": 1, "completion_tokens": 1, "cost": cost}, model="a/b", answered=True)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5000) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
FIELDS = [
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "prompt_tokens_details",
    "input_tokens",
    "output_tokens",
    "service_tier",
    "speed",
    "inference_geo",
    "iterations",
    "cache_creation",
    "cost",
    "input_tokens_details",
]


@settings(suppress_health_check=[HealthCheck.too_slow])  # a busy machine draws slowly
@given(st.dictionaries(st.sampled_from(FIELDS), ANYTHING))
def test_whatever_a_server_sends_is_a_usage_or_a_clear_refusal(raw: dict[str, Any]) -> None:
    for read, _ in READERS.values():
        with suppress(Malformed):
            assert read(raw).usage.total_tokens >= 0
