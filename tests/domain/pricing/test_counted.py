"""Usage as a person tells it: parts leave plain text, and what contradicts itself or is missing is never believed."""

from typing import Any

import pytest
from pydantic import ValidationError

from domain.pricing.counted import MOST, Counted, Inconsistent


def test_what_the_parts_leave_of_a_total_is_plain_text() -> None:
    told = Counted(input_tokens=100, output_tokens=30, counts={"input_cache_read": 60, "output_audio": 30})
    usage = told.usage("recorded")
    assert [(each.bucket, each.quantity) for each in usage.passes[0].quantities] == [
        ("input", 40),
        ("input_cache_read", 60),
        ("output_audio", 30),
    ]
    assert (usage.passes[0].model, usage.input_tokens, usage.output_tokens) == ("recorded", 100, 30)


def test_parts_alone_are_counts_as_well() -> None:
    usage = Counted(model="answered", counts={"input": 7, "input_image": 2, "output": 0}).usage("recorded")
    assert (usage.passes[0].model, usage.input_tokens, usage.output_tokens) == ("answered", 9, 0)


@pytest.mark.parametrize(
    ("told", "saying"),
    [
        ({"input_tokens": 9, "counts": {"input_cache_read": 10}}, "parts are input_cache_read 10: give the total of"),
        ({"input_tokens": 9, "counts": {"input": 5}}, "parts are input 5: leave input out"),
        ({"input_tokens": 9, "output_tokens": 4, "counts": {"output_image": 5}}, "output_tokens is 4"),
        ({"input_tokens": 9}, "output_tokens is missing"),
        ({"output_tokens": 9}, "input_tokens is missing"),
        ({"input_tokens": 0, "output_tokens": 0}, "nothing is counted"),
    ],
)
def test_what_contradicts_itself_or_is_missing_is_refused_with_its_fix(told: dict[str, Any], saying: str) -> None:
    facts: dict[str, Any] = {"output_tokens": 1} if "counts" in told else {}
    with pytest.raises(Inconsistent, match=saying) as refused:
        Counted.model_validate(facts | told).usage("recorded")
    assert refused.value.code == "usage_inconsistent"


@pytest.mark.parametrize(
    "absurd", [{"input_tokens": -1}, {"input_tokens": MOST + 1}, {"counts": {"input": -1}}, {"counts": {"tokens": 1}}]
)
def test_counts_that_nobody_can_have_used_are_refused_at_the_edge(absurd: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Counted.model_validate(absurd)
