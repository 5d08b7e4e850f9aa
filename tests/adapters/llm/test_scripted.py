"""The scripted provider: the same answer every time, counted, limited, and failing on demand."""

import asyncio
import time
from typing import get_args

import pytest

from adapters.llm.directives import BadDirective, directives_in
from adapters.llm.scripted import ScriptedModel
from adapters.llm.tokens import clipped, estimated_prompt_tokens, estimated_tokens
from commands.models import FailureKind, Message, ModelError, ModelReply, TextDelta
from domain.pricing import Usage
from tests.adapters.llm.vendors.asking import Ask, request, streamed, whole

CHANGELOG = """Write release notes for version 2.4 from this changelog. Keep them short.

## Added
- Budgets may be opened per phase (#41)
- `toybox diff` shows what changed
  between two positions

## Fixed
- The relay no longer stalls on an empty batch
"""
both_ways = pytest.mark.parametrize("ask", [whole, streamed])


@pytest.fixture
def model() -> ScriptedModel:
    return ScriptedModel(chunk_delay=0)


async def fails(model: ScriptedModel, prompt: str, **how) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await whole(model, request(prompt, **how))
    return caught.value


@both_ways
async def test_a_changelog_becomes_release_notes_that_quote_it(ask: Ask, model: ScriptedModel):
    reply = await ask(model, request(CHANGELOG, max_output_tokens=500))
    assert reply.text.startswith("# Release notes for version 2.4 from this changelog\n")
    assert "## Added\n- Budgets may be opened per phase (#41)\n- `toybox diff` shows what changed between" in reply.text
    assert "## Fixed\n- The relay no longer stalls on an empty batch" in reply.text
    assert "_scripted:" in reply.text
    assert reply.finish_reason == "stop"


async def test_prose_and_code_are_quoted_too(model: ScriptedModel):
    prompt = (
        "Review this module.\n\nThe parser trusts its input. It is slow.\n\n```\ndef f(x):\n    return eval(x)\n```\n"
    )
    text = (await whole(model, request(prompt, max_output_tokens=500))).text
    assert "- The parser trusts its input." in text
    assert "- line 2: `return eval(x)`" in text


async def test_an_earlier_digest_in_a_prompt_is_not_signed_twice(model: ScriptedModel):
    first = (await whole(model, request(CHANGELOG, max_output_tokens=500))).text
    second = (await whole(model, request(f"Shorten this.\n\n{first}", max_output_tokens=500))).text
    assert second.count("_scripted:") == 1


@both_ways
async def test_the_same_prompt_gives_the_same_answer_in_every_instance(ask: Ask):
    replies = [await ask(ScriptedModel(chunk_delay=0), request(CHANGELOG)) for _ in range(2)]
    assert replies[0].text == replies[1].text
    assert replies[0].response_id == replies[1].response_id
    other = await ask(ScriptedModel(chunk_delay=0), request(CHANGELOG, model="other"))
    assert other.response_id != replies[0].response_id


@both_ways
async def test_tokens_are_counted_by_the_documented_estimate(ask: Ask, model: ScriptedModel):
    reply = await ask(model, request("#scripted: text 12345678é", system="be brief"))
    assert reply.text == "12345678é"
    prompt = (4 + 2) + (4 + 7)
    assert reply.usage is not None
    assert reply.usage == Usage.simple("tiny", input_tokens=prompt, output_tokens=3)
    assert reply.usage.input_tokens <= request("#scripted: text 12345678é", system="be brief").input_upper_bound


@both_ways
async def test_the_output_limit_holds(ask: Ask, model: ScriptedModel):
    reply = await ask(model, request(CHANGELOG, max_output_tokens=3))
    assert reply.text == "# Release no"
    assert reply.finish_reason == "length"
    assert reply.usage is not None
    assert reply.usage.output_tokens == 3


@both_ways
async def test_a_digest_that_would_be_too_long_comes_to_an_end_within_its_limit(ask: Ask, model: ScriptedModel):
    whole_digest = await ask(model, request(CHANGELOG, max_output_tokens=500))
    assert whole_digest.usage is not None
    limit = whole_digest.usage.output_tokens - 1
    reply = await ask(model, request(CHANGELOG, max_output_tokens=limit))
    assert reply.finish_reason == "stop"
    assert reply.text.splitlines()[-1].startswith("_scripted:")
    assert estimated_tokens(reply.text) <= limit


async def test_it_streams_in_pieces(model: ScriptedModel):
    items = [item async for item in model.stream(request(CHANGELOG, max_output_tokens=500))]
    assert sum(isinstance(item, TextDelta) for item in items) > 5
    assert isinstance(items[-1], ModelReply)


@pytest.mark.parametrize("kind", sorted(set(get_args(FailureKind)) - {"cancelled"}))
async def test_it_fails_as_it_is_told(kind: FailureKind, model: ScriptedModel):
    error = await fails(model, f"hello\n#scripted: fail {kind}")
    assert error.kind == kind
    assert error.sent is (kind not in ("unreachable", "invalid_request"))


async def test_a_cut_stream_first_says_half_of_its_answer(model: ScriptedModel):
    error = await fails(model, "#scripted: fail cut_stream\n#scripted: text " + "word " * 40)
    assert error.text_so_far.startswith("word word")
    assert error.may_cost


@pytest.mark.parametrize(("times", "failures"), [("once", 1), ("twice", 2), ("3 times", 3)])
async def test_it_fails_so_many_times_and_then_answers(times: str, failures: int, model: ScriptedModel):
    prompt = f"#scripted: fail overloaded {times}\n#scripted: text done"
    for _ in range(failures):
        assert (await fails(model, prompt)).kind == "overloaded"
    assert (await whole(model, request(prompt))).text == "done"


async def test_a_delay_is_waited_for(model: ScriptedModel):
    began = time.monotonic()
    await whole(model, request("#scripted: delay 0.2"))
    assert time.monotonic() - began >= 0.2


async def test_the_deadline_ends_it(model: ScriptedModel):
    began = time.monotonic()
    error = await fails(model, "#scripted: delay 30", seconds=0.1)
    assert time.monotonic() - began < 5
    assert (error.kind, error.retryable) == ("timeout", True)


async def test_cancelling_says_how_far_it_got():
    model = ScriptedModel(chunk_delay=0.01)
    task = asyncio.create_task(whole(model, request(CHANGELOG, max_output_tokens=500)))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    "line", ["sing", "delay soon", "fail", "fail sometimes", "fail cancelled", "fail timeout often"]
)
async def test_a_directive_that_cannot_be_read_is_refused_with_what_would_be(line: str, model: ScriptedModel):
    with pytest.raises(BadDirective):
        directives_in([Message("user", f"#scripted: {line}")])
    error = await fails(model, f"#scripted: {line}")
    assert (error.kind, error.sent) == ("invalid_request", False)


@pytest.mark.parametrize("text", ["", "a", "abcd", "abcde", "é" * 5, "🙂🙂"])
def test_clipping_never_exceeds_the_estimate_and_takes_all_that_fits(text: str):
    for limit in range(6):
        short = clipped(text, limit)
        assert text.startswith(short)
        assert estimated_tokens(short) <= limit
    assert clipped(text, estimated_tokens(text)) == text


def test_the_estimate_is_written_down():
    assert estimated_prompt_tokens([Message("user", "12345"), Message("user", "")]) == (2 + 4) + (0 + 4)


async def test_a_long_file_is_digested_in_a_few_points(model: ScriptedModel):
    code = "\n".join(f"def f{number}(): return {number}" for number in range(100))
    reply = await whole(model, request(f"Summarise this file.\n\n```python\n{code}\n```", max_output_tokens=2000))
    assert reply.text.count("\n- line ") == 8


async def test_text_that_cannot_be_encoded_is_refused(model: ScriptedModel):
    error = await fails(model, "half a pair: \ud800")
    assert (error.kind, error.sent) == ("invalid_request", False)
