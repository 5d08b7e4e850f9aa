"""Both vendors' adapters, through the vendors' SDKs, against servers that speak the vendors' protocols."""

import asyncio
import socket
import time
import traceback
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from uuid import uuid4

import pytest

from commands.models import FailureKind, LanguageModel, ModelError, ModelReply, TextDelta
from tests.adapters.llm.vendors.asking import PROMPT, Ask, request, streamed, whole
from tests.adapters.llm.vendors.conftest import Make
from tests.support.vendors.behaviours import Kind
from tests.support.vendors.server import VendorServer

both_ways = pytest.mark.parametrize("ask", [whole, streamed])


def counted(reply: ModelReply) -> tuple[int, int]:
    """Tokens read and written."""
    assert reply.usage
    return reply.usage.input_tokens, reply.usage.output_tokens


async def failed(ask: Ask, model: LanguageModel, /, **how) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await ask(model, request(**how))
    return caught.value


@both_ways
async def test_an_answer_brings_its_text_model_id_and_exact_usage(ask: Ask, model: LanguageModel, vendor: VendorServer):
    asked = request(system="be brief")
    reply = await ask(model, asked)
    assert reply.text == f"Answered: {PROMPT}"
    assert reply.finish_reason == "stop"
    assert reply.model.startswith("tiny-2026")
    assert reply.response_id
    assert counted(reply) == (9, 5)
    assert reply.usage_problem is None
    assert reply.raw_usage
    entry = await vendor.came("answered")
    assert entry["attempt_id"] == str(asked.attempt_id)
    assert entry["model"] == "tiny"
    assert entry["stream"] is (ask is streamed)


@both_ways
async def test_cached_prompt_tokens_are_counted_as_input_once(ask: Ask, model: LanguageModel, vendor: VendorServer):
    vendor.behave(cached=4)
    reply = await ask(model, request())
    assert counted(reply) == (7, 5)
    assert reply.usage
    assert reply.usage.quantity("input") == 3
    assert reply.usage.total_tokens - reply.usage.quantity("input") - reply.usage.output_tokens == 4


@both_ways
async def test_the_output_limit_is_sent_and_its_effect_is_told(ask: Ask, model: LanguageModel):
    reply = await ask(model, request(max_output_tokens=2))
    assert reply.text == "Answered: one"
    assert reply.finish_reason == "length"
    assert counted(reply) == (7, 2)


@both_ways
async def test_a_model_that_declines_is_not_taken_for_a_plain_answer(
    ask: Ask, model: LanguageModel, vendor: VendorServer
):
    vendor.behave("refusal", text="I will not.")
    reply = await ask(model, request())
    assert (reply.text, reply.finish_reason) == ("I will not.", "refused")


@both_ways
@pytest.mark.parametrize("kind", ["no_usage", "bad_usage"])
async def test_a_missing_or_contradictory_count_is_unknown_and_never_zero(
    ask: Ask, kind: Kind, model: LanguageModel, vendor: VendorServer
):
    vendor.behave(kind)
    reply = await ask(model, request())
    assert reply.text == f"Answered: {PROMPT}"
    assert reply.usage is None
    assert reply.usage_problem


@both_ways
async def test_a_temperature_is_sent_only_when_there_is_one(ask: Ask, model: LanguageModel, vendor: VendorServer):
    await ask(model, request())
    assert "temperature" not in vendor.entries()[-1]["fields"]
    await ask(model, request(temperature=Decimal("0.7")))
    assert vendor.entries()[-1]["temperature"] == 0.7


@both_ways
@pytest.mark.parametrize(
    ("behaviour", "kind", "retryable", "may_cost"),
    [
        ("rate_limited", "rate_limited", True, False),
        ("quota", "credit_exhausted", False, False),
        ("server_error", "overloaded", True, True),
        ("overloaded", "overloaded", True, False),
        ("redirect", "invalid_request", False, False),
    ],
)
async def test_a_refusal_is_told_apart_by_its_cause(
    ask: Ask,
    behaviour: Kind,
    kind: FailureKind,
    retryable: bool,
    may_cost: bool,
    model: LanguageModel,
    vendor: VendorServer,
):
    vendor.behave(behaviour, times=5)
    error = await failed(ask, model)
    assert (error.kind, error.retryable, error.sent, error.may_cost) == (kind, retryable, True, may_cost)
    assert error.usage is None
    assert len(vendor.entries()) == 1, "the SDK must not try again"


@both_ways
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ((("retry-after", "7"),), 7.0),
        ((("retry-after-ms", "250"), ("retry-after", "9")), 0.25),
        ((("retry-after", "soon"),), None),
        ((("retry-after", "Mon, 01 Jan 2024 00:00:00 +99999999999999999"),), None),
        ((), None),
    ],
)
async def test_the_time_to_wait_is_read_from_the_answer(
    ask: Ask, headers, seconds: float | None, model: LanguageModel, vendor: VendorServer
):
    vendor.behave("rate_limited", headers=headers)
    assert (await failed(ask, model)).retry_after == seconds


async def test_a_time_to_wait_given_as_a_date_is_measured_on_the_servers_clock(
    model: LanguageModel, vendor: VendorServer
):
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    vendor.behave("rate_limited", headers=(("retry-after", until),))
    assert (await failed(whole, model)).retry_after == pytest.approx(90, abs=3)


@both_ways
async def test_an_unknown_model_is_the_callers_mistake(ask: Ask, model: LanguageModel):
    error = await failed(ask, model, model="no-such-model")
    assert (error.kind, error.retryable, error.may_cost) == ("model_not_found", False, False)
    assert "check the model's name" in str(error)


@both_ways
async def test_a_wrong_key_is_refused_and_shown_nowhere(ask: Ask, make: Make, vendor: VendorServer):
    wrong = "sk-wrong-fedcba9876543210"
    model = make(vendor, key=wrong)
    error = await failed(ask, model)
    await model.aclose()
    assert (error.kind, error.retryable, error.may_cost) == ("authentication", False, False)
    assert "check the provider's API key" in str(error)
    shown = [str(error), repr(error), repr(vars(error)), repr(model), "".join(traceback.format_exception(error))]
    assert not any(wrong in text for text in shown)
    assert "[key]" in str(error)


def test_a_key_that_http_cannot_carry_is_refused_at_once_and_not_shown(make: Make, vendor: VendorServer):
    with pytest.raises(ValueError, match="API key of") as caught:
        make(vendor, key="sk-secret\n")
    assert "secret" not in str(caught.value)


@both_ways
async def test_no_connection_proves_that_nothing_was_sent(ask: Ask, make: Make, vendor: VendorServer):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    model = make(vendor, url=f"http://127.0.0.1:{port}")
    error = await failed(ask, model)
    await model.aclose()
    assert (error.kind, error.retryable, error.sent, error.may_cost) == ("unreachable", True, False, False)
    assert f"127.0.0.1:{port}" in str(error)


@both_ways
async def test_a_deadline_already_passed_sends_nothing(ask: Ask, model: LanguageModel, vendor: VendorServer):
    error = await failed(ask, model, seconds=-1)
    assert (error.kind, error.sent, error.may_cost) == ("timeout", False, False)
    assert vendor.entries() == []


@both_ways
async def test_a_slow_answer_ends_at_the_deadline_and_is_aborted_upstream(
    ask: Ask, model: LanguageModel, vendor: VendorServer
):
    vendor.behave(delay=30)
    began = time.monotonic()
    error = await failed(ask, model, seconds=0.3)
    assert 0.2 < time.monotonic() - began < 5
    assert (error.kind, error.retryable, error.sent, error.may_cost) == ("timeout", True, True, True)
    await vendor.came("disconnected")


async def test_the_deadline_covers_the_whole_stream_and_not_each_read(model: LanguageModel, vendor: VendorServer):
    vendor.behave(text="word " * 100, pause=0.05)
    error = await failed(streamed, model, seconds=0.5, max_output_tokens=200)
    assert error.kind == "timeout"
    assert error.text_so_far.startswith("word")
    await vendor.came("disconnected")


@both_ways
async def test_a_cut_answer_is_never_taken_for_a_whole_one(ask: Ask, model: LanguageModel, vendor: VendorServer):
    vendor.behave("cut", text="a b c d e f g h")
    error = await failed(ask, model)
    assert (error.kind, error.retryable, error.sent, error.may_cost) == ("cut_stream", True, True, True)
    assert error.text_so_far == ("" if ask is whole else error.text_so_far)
    assert "a b c d e f g h".startswith(error.text_so_far)


async def test_a_stream_that_ends_politely_in_the_middle_is_cut_too(model: LanguageModel, vendor: VendorServer):
    vendor.behave("truncated", text="a b c d e f g h")
    error = await failed(streamed, model)
    assert error.kind == "cut_stream"
    assert error.text_so_far


async def test_an_error_inside_a_stream_is_an_error(model: LanguageModel, vendor: VendorServer):
    vendor.behave("error_in_stream")
    error = await failed(streamed, model)
    assert (error.kind, error.sent, error.may_cost) == ("overloaded", True, True)
    assert error.text_so_far == f"Answered: {PROMPT}"


@both_ways
@pytest.mark.parametrize(
    ("raw", "content_type"),
    [
        ('{"id": "x", "choi', "application/json"),
        ("", "application/json"),
        ("null", "application/json"),
        ("[]", "application/json"),
        ("{}", "application/json"),
        ('"text"', "application/json"),
        ('{"choices": 7, "content": 7}', "application/json"),
        ('{"choices": [7], "content": [7], "usage": 7, "id": 7, "model": 7}', "application/json"),
        ("<html>Welcome</html>", "text/html"),
        ("data: {oops\n\n", "text/event-stream"),
        ("event: message_start\ndata: [1]\n\n", "text/event-stream"),
        ("event: message_delta\ndata: 7\n\n", "text/event-stream"),
        ("\xff\xfe", "text/event-stream"),
    ],
)
async def test_a_body_that_is_not_the_protocol_is_malformed(
    ask: Ask, raw: str, content_type: str, model: LanguageModel, vendor: VendorServer
):
    vendor.behave("malformed", raw=raw, content_type=content_type)
    error = await failed(ask, model)
    assert (error.kind, error.sent, error.may_cost) == ("malformed", True, True), str(error)


async def test_cancelling_aborts_the_call_upstream_and_says_how_far_it_got(model: LanguageModel, vendor: VendorServer):
    vendor.behave(text="word " * 100, pause=0.05)
    heard, causes = asyncio.Event(), list[BaseException | None]()

    async def listen() -> None:
        try:
            async for _ in model.stream(request(max_output_tokens=200)):
                heard.set()
        except asyncio.CancelledError as cancelled:
            causes.append(cancelled.__cause__)
            raise

    task = asyncio.create_task(listen())
    await heard.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    [cause] = causes
    assert isinstance(cause, ModelError)
    assert (cause.kind, cause.retryable, cause.sent) == ("cancelled", False, True)
    assert cause.text_so_far.startswith("word")
    await vendor.came("disconnected")


async def test_closing_the_generator_aborts_the_call_upstream(model: LanguageModel, vendor: VendorServer):
    vendor.behave(text="word " * 100, pause=0.05)
    async with aclosing(model.stream(request(max_output_tokens=200))) as items:
        async for item in items:
            assert isinstance(item, TextDelta)
            break
    await vendor.came("disconnected")


async def test_cancelling_a_whole_answer_aborts_it_upstream(model: LanguageModel, vendor: VendorServer):
    vendor.behave(delay=30)
    task = asyncio.create_task(model.complete(request()))
    await vendor.came()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await vendor.came("disconnected")


async def test_one_attempt_id_cannot_be_under_way_twice(model: LanguageModel, vendor: VendorServer):
    vendor.behave(delay=1)
    attempt_id = uuid4()
    first = asyncio.create_task(model.complete(request(attempt_id=attempt_id)))
    await vendor.came()
    error = await failed(whole, model, attempt_id=attempt_id)
    assert (error.kind, error.sent) == ("invalid_request", False)
    assert (await first).usage
    assert len(vendor.entries()) == 1


async def test_calls_at_once_do_not_mix(model: LanguageModel, vendor: VendorServer):
    prompts = [f"prompt {number}" for number in range(20)]
    asks = [(streamed if number % 2 else whole)(model, request(prompt)) for number, prompt in enumerate(prompts)]
    replies = await asyncio.gather(*asks)
    assert [reply.text for reply in replies] == [f"Answered: {prompt}" for prompt in prompts]
    assert len({entry["attempt_id"] for entry in vendor.entries()}) == 20


async def test_the_environment_adds_no_key_header_or_address(
    make: Make, vendor: VendorServer, monkeypatch: pytest.MonkeyPatch
):
    for vendor_name in ("OPENAI", "ANTHROPIC"):
        monkeypatch.setenv(f"{vendor_name}_API_KEY", "sk-other")
        monkeypatch.setenv(f"{vendor_name}_BASE_URL", "http://127.0.0.1:1")
        monkeypatch.setenv(f"{vendor_name}_CUSTOM_HEADERS", "Authorization: Bearer sk-other\nX-Gateway: secret")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-other")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "other")
    model = make(vendor)
    await model.complete(request())
    await model.aclose()
    assert not {"x-gateway", "openai-organization", "x-api-key"} & set(vendor.entries()[-1]["headers"])


@both_ways
async def test_text_that_cannot_be_encoded_is_refused_before_it_is_sent(
    ask: Ask, model: LanguageModel, vendor: VendorServer
):
    error = await failed(ask, model, prompt="half a pair: \ud800")
    assert (error.kind, error.sent) == ("invalid_request", False)
    assert vendor.entries() == []
