"""Pieces of an answer: what was cut in the middle of a character is whole again, and can be kept."""

import time
from uuid import uuid4

import pytest

from adapters.llm.wire import Wire
from commands.models import Message, ModelRequest

HALVES = ("\ud83d", "\ude00")
"""Of one character, as JSON spells it."""


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ((HALVES[0], HALVES[1] + "!"), "😀!"),
        (("so ", HALVES[0]), "so \ufffd"),
        ((HALVES[1], "ä"), "\ufffdä"),
        (("plain", " text"), "plain text"),
    ],
)
async def test_a_character_that_was_cut_is_whole_again_and_half_of_one_is_no_hindrance(
    pieces: tuple[str, ...], text: str
) -> None:
    wire = Wire("vendor", "http://vendor.invalid", secret=None)
    attempt = wire.attempt(ModelRequest(uuid4(), "m", (Message("user", "?"),), 50, None, time.monotonic() + 1))
    attempt.pieces.extend(pieces)
    assert attempt.text == text
    assert attempt.failure("cut_stream", "broke off").text_so_far.encode()
    await wire.http.aclose()
