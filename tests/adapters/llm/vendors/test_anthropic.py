"""What only the Messages adapter does: system prompts, the older API version, and counts in two halves."""

from decimal import Decimal

import pytest
from pydantic import SecretStr

from adapters.llm.anthropic import ANTHROPIC_URL, AnthropicModel
from commands.models import Message, ModelError, ModelRequest
from tests.adapters.llm.vendors.asking import request, streamed, whole
from tests.adapters.llm.vendors.conftest import anthropic_model
from tests.support.vendors.server import VendorServer


async def test_system_messages_travel_beside_the_conversation(vendor: VendorServer):
    model = anthropic_model(vendor)
    reply = await whole(model, request(system="be brief"))
    await model.aclose()
    assert "system" in vendor.entries()[-1]["fields"]
    assert reply.usage
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (9, 5)


async def test_a_prompt_without_a_user_message_is_not_sent(vendor: VendorServer):
    asked = request()
    bare = ModelRequest(asked.attempt_id, asked.model, (Message("system", "x"),), 5, None, asked.deadline)
    model = anthropic_model(vendor)
    for ask in (whole, streamed):
        with pytest.raises(ModelError, match="no user message") as caught:
            await ask(model, bare)
        assert (caught.value.kind, caught.value.sent) == ("invalid_request", False)
    await model.aclose()
    assert vendor.entries() == []


async def test_a_temperature_is_sent_under_the_version_that_takes_one(vendor: VendorServer):
    model = anthropic_model(vendor)
    assert (await streamed(model, request(temperature=Decimal("0.2")))).usage
    await model.aclose()
    assert vendor.entries()[-1]["temperature"] == 0.2


async def test_a_stream_cut_before_its_closing_event_is_cut_and_its_count_unknown(vendor: VendorServer):
    vendor.behave("cut_before_usage")
    model = anthropic_model(vendor)
    with pytest.raises(ModelError) as caught:
        await streamed(model, request())
    await model.aclose()
    assert caught.value.kind == "cut_stream"
    assert caught.value.text_so_far == "Answered: one two three four"
    assert caught.value.usage is None, "the output count at the start of a stream is only a placeholder"
    assert caught.value.raw_usage["input_tokens"] == 7


def test_a_key_is_required():
    with pytest.raises(ValueError, match="needs an API key"):
        AnthropicModel(api_key=SecretStr(""))


async def test_only_the_vendor_itself_is_asked_for_its_standard_tier(vendor: VendorServer):
    key = SecretStr(vendor.key or "")
    asked = request()
    for url, tier in (
        (ANTHROPIC_URL, "standard_only"),
        (ANTHROPIC_URL + "/", "standard_only"),
        (vendor.base_url, None),
    ):
        model = AnthropicModel(api_key=key, base_url=url)
        with model._wire.attempt(asked) as attempt:
            assert model._arguments(asked, attempt).get("service_tier") == tier
        await model.aclose()


async def test_a_prompt_that_marks_nothing_is_read_in_one_way_in_any_region(vendor: VendorServer):
    model = anthropic_model(vendor)
    possible = model.conditions(request())
    await model.aclose()
    assert possible.reading == {"input"}
    assert possible.regions == {None, "us"}
