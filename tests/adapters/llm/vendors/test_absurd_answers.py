"""Answers that no honest server gives: each ends as a failure that says what it may cost."""

import json

import pytest

from commands.models import LanguageModel, ModelError
from tests.adapters.llm.vendors.asking import Ask, request, streamed, whole
from tests.support.vendors.server import VendorServer

DEEP, DEEPER = 400, 100_000
"""Levels that are too many for whoever takes an answer apart, and for whoever reads JSON at all."""


def nested(depth: int) -> str:
    """An answer, or a piece of a stream, in either protocol, with something deep in it."""
    text = {"role": "assistant", "content": "Hello"}
    known = {
        "id": "one",
        "type": "message_start",
        "choices": [{"index": 0, "finish_reason": "stop", "message": text, "delta": text}],
        "message": {"id": "one", "model": "m", "role": "assistant", "usage": {"input_tokens": 1, "output_tokens": 1}},
        "role": "assistant",
        "content": [{"type": "text", "text": "Hello"}],
        "model": "m",
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 1, "output_tokens": 1, "prompt_tokens": 1, "completion_tokens": 1},
    }
    odd = '{"a":' * depth + "1" + "}" * depth
    return json.dumps(known)[:-1] + f', "odd": {odd}}}'


@pytest.mark.parametrize("ask", [whole, streamed])
@pytest.mark.parametrize("depth", [DEEP, DEEPER])
async def test_an_answer_that_is_too_deep_to_be_read_is_a_failure_that_may_cost(
    ask: Ask, depth: int, model: LanguageModel, vendor: VendorServer
) -> None:
    raw, kind = nested(depth), "application/json"
    if ask is streamed:
        raw, kind = f"event: message_start\ndata: {raw}\n\n", "text/event-stream"
    vendor.behave("malformed", raw=raw, content_type=kind)
    with pytest.raises(ModelError) as caught:
        await ask(model, request())
    assert (caught.value.kind, caught.value.sent, caught.value.may_cost) == ("malformed", True, True)
