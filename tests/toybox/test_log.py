"""Logs hide what looks like a key, what the process was given, and what it came to know later."""

import pytest

from toybox import log
from toybox.log import HIDDEN, MOST_LEARNT, _Cleaner, hide

GIVEN, LEARNT = "given-secret-0123456789", "learnt-secret-0123456789"


def cleaned(text: str) -> str:
    return str(_Cleaner([GIVEN])(None, "info", {"event": text})["event"])


@pytest.fixture(autouse=True)
def _forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_LEARNT", {})


def test_a_secret_is_hidden_once_it_is_known() -> None:
    assert cleaned(f"a {GIVEN} b {LEARNT}") == f"a {HIDDEN} b {LEARNT}"
    hide(LEARNT)
    assert cleaned(f"a {GIVEN} b {LEARNT}") == f"a {HIDDEN} b {HIDDEN}"


def test_a_word_that_is_no_secret_stays_readable() -> None:
    hide("short")
    assert cleaned("a short story") == "a short story"


def test_of_very_many_the_latest_are_hidden() -> None:
    hide(LEARNT)
    for number in range(MOST_LEARNT):
        hide(f"another-secret-{number:05}")
    assert cleaned(LEARNT) == LEARNT
    assert cleaned(f"another-secret-{MOST_LEARNT - 1:05}") == HIDDEN
