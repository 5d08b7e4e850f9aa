"""What only the Chat Completions adapter does: compatible servers, limit fields, and streams that lose their count."""

from decimal import Decimal

import pytest
from pydantic import SecretStr

from adapters.llm.openai import OPENAI_URL, OPENROUTER_URL, OpenAIModel
from commands.models import ModelError
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


async def test_only_openai_itself_is_asked_for_its_standard_tier(vendor: VendorServer):
    asked = request()
    for url, tier in ((OPENAI_URL, "default"), (vendor.openai_url, None)):
        model = OpenAIModel(api_key=SecretStr("sk"), base_url=url)
        with model._wire.attempt(asked) as attempt:
            assert model._arguments(asked, attempt).get("service_tier") == tier
        await model.aclose()


async def test_a_prompt_may_be_kept_and_served_by_a_cache_unasked(vendor: VendorServer):
    model = openai_model(vendor)
    possible = model.conditions(request())
    await model.aclose()
    assert possible.reading == {"input", "input_cache_read", "input_cache_write_30m"}


def answer(usage: str, **more: str) -> str:
    choice = '{"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}'
    rest = "".join(f', "{name}": "{value}"' for name, value in more.items())
    return f'{{"id": "1", "model": "tiny", "choices": [{choice}], "usage": {usage}{rest}}}'


async def test_the_tier_is_the_answers_and_counts_that_nobody_knows_are_kept(vendor: VendorServer):
    counts = '{"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"video_tokens": 3}}'
    vendor.behave("malformed", raw=answer(counts, service_tier="priority"), content_type="application/json")
    model = openai_model(vendor)
    usage = (await whole(model, request())).usage
    await model.aclose()
    assert usage
    assert (usage.tier, usage.unknown_fields) == ("priority", ["prompt_tokens_details.video_tokens"])


@pytest.mark.parametrize(
    ("says_charge", "cost", "charged", "remarks"),
    [
        (True, "0.0123456789012345", Decimal("0.012345678902"), ()),
        (True, "null", None, ("OpenRouter did not say what it charges",)),
        (False, "0.01", None, ()),
    ],
)
async def test_a_server_that_says_its_charge_is_believed_when_it_is_known_for_that(
    says_charge: bool, cost: str, charged: Decimal | None, remarks: tuple[str, ...], vendor: VendorServer
):
    counts = f'{{"prompt_tokens": 5, "completion_tokens": 2, "cost": {cost}}}'
    vendor.behave("malformed", raw=answer(counts), content_type="application/json")
    key = SecretStr(vendor.key or "")
    model = OpenAIModel(api_key=key, base_url=vendor.openai_url, says_charge=says_charge)
    reply = await whole(model, request())
    await model.aclose()
    assert reply.usage
    assert (reply.usage.reported_cost, reply.usage_remarks) == (charged, remarks)


async def test_a_charge_that_nobody_can_believe_is_unknown(vendor: VendorServer):
    counts = '{"prompt_tokens": 5, "completion_tokens": 2, "cost": 1e30}'
    vendor.behave("malformed", raw=answer(counts), content_type="application/json")
    model = OpenAIModel(api_key=SecretStr(vendor.key or ""), base_url=vendor.openai_url, says_charge=True)
    reply = await whole(model, request())
    await model.aclose()
    assert (reply.usage, reply.text) == (None, "Yes.")
    assert "no amount" in (reply.usage_problem or "")
