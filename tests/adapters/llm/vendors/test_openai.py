"""What only the Chat Completions adapter does: compatible servers, limit fields, and streams that lose their count."""

import pytest
from pydantic import SecretStr

from adapters.llm.fields import Malformed
from adapters.llm.openai import OPENAI_URL, OPENROUTER_URL, OpenAIModel, usage_of
from commands.models import ModelError
from domain.values import TokenUsage
from tests.adapters.llm.vendors.asking import request, streamed, whole
from tests.adapters.llm.vendors.conftest import openai_model
from tests.support.vendors.server import VendorServer


async def test_a_stream_cut_after_its_last_word_keeps_the_answer_and_says_that_the_count_is_missing(
    vendor: VendorServer,
):
    vendor.behave("cut_before_usage")
    model = openai_model(vendor)
    reply = await streamed(model, request())
    await model.aclose()
    assert (reply.text, reply.finish_reason, reply.usage) == ("Answered: one two three four", "stop", None)
    assert reply.usage_problem == "the server sent no usage"


async def test_a_server_without_keys_is_sent_none(loopback: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    with VendorServer(key=None) as server:
        model = OpenAIModel(provider="local", api_key=None, base_url=server.openai_url)
        await whole(model, request())
        await streamed(model, request())
        await model.aclose()
        assert all("authorization" not in entry["headers"] for entry in server.entries())


async def test_a_compatible_server_gets_the_older_name_of_the_limit(vendor: VendorServer):
    model = openai_model(vendor)
    await whole(model, request())
    await model.aclose()
    assert "max_tokens" in vendor.entries()[-1]["fields"]
    assert "max_completion_tokens" not in vendor.entries()[-1]["fields"]


async def test_the_name_of_the_limit_can_be_chosen(vendor: VendorServer):
    model = OpenAIModel(
        api_key=SecretStr(vendor.key or ""), base_url=vendor.openai_url, limit_field="max_completion_tokens"
    )
    await whole(model, request())
    await model.aclose()
    assert "max_completion_tokens" in vendor.entries()[-1]["fields"]


@pytest.mark.parametrize(
    ("url", "field"),
    [(OPENAI_URL, "max_completion_tokens"), (OPENROUTER_URL, "max_tokens"), ("http://a/v1", "max_tokens")],
)
def test_only_openai_itself_gets_the_newer_name(url: str, field: str):
    assert OpenAIModel(api_key=SecretStr("sk"), base_url=url)._limit_field == field


async def test_an_error_with_status_200_is_an_error(vendor: VendorServer):
    raw = '{"error": {"code": 429, "message": "upstream is busy"}}'
    vendor.behave("malformed", raw=raw)
    model = openai_model(vendor)
    with pytest.raises(ModelError, match="upstream is busy") as caught:
        await whole(model, request())
    await model.aclose()
    assert (caught.value.kind, caught.value.may_cost) == ("rate_limited", True)


async def test_an_upstream_that_fails_after_it_began_is_an_error(vendor: VendorServer):
    choice = (
        '{"index": 0, "delta": {"content": ""}, "finish_reason": "error", "error": {"code": 502, "message": "gone"}}'
    )
    vendor.behave("malformed", raw=f'data: {{"choices": [{choice}]}}\n\n', content_type="text/event-stream")
    model = openai_model(vendor)
    with pytest.raises(ModelError, match="gone") as caught:
        await streamed(model, request())
    await model.aclose()
    assert caught.value.kind == "overloaded"


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ({}, "no usage"),
        ({"prompt_tokens": 3}, "lacks"),
        ({"prompt_tokens": 3, "completion_tokens": "4"}, "lacks"),
        ({"prompt_tokens": 3, "completion_tokens": -1}, "lacks"),
        ({"prompt_tokens": True, "completion_tokens": 4}, "lacks"),
        ({"prompt_tokens": 0, "completion_tokens": 4}, "counts nothing"),
        ({"prompt_tokens": 3, "completion_tokens": 0}, "counts nothing"),
        ({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 9}, "9 in total"),
        ({"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 5}}, "cached"),
    ],
)
def test_counts_that_cannot_be_true_are_not_used(raw: dict, problem: str):
    with pytest.raises(Malformed, match=problem):
        usage_of(raw, answered=True)


@pytest.mark.parametrize(
    "raw",
    [
        {"prompt_tokens": 3, "completion_tokens": 4},
        {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7, "prompt_tokens_details": None},
        {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 0, "cost": 0.01},
    ],
)
def test_counts_that_leave_out_what_is_optional_are_used(raw: dict):
    assert usage_of(raw, answered=True) == TokenUsage(input_tokens=3, output_tokens=4)
