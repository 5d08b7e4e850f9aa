"""Logs hide what looks like a key, what the process was given, and what it came to know later."""

import logging
from typing import Literal

import pytest
import structlog

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


@pytest.mark.parametrize("how", ["text", "json"])
def test_an_error_shows_where_it_was_and_never_what_was_known_there(
    capsys: pytest.CaptureFixture[str], how: Literal["text", "json"], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(logging.getLogger(), "level", logging.WARNING)
    before = structlog.get_config()
    log.set_up("info", how, secrets=[GIVEN])

    def call(key: str) -> None:
        raise ValueError(f"refused {GIVEN}")

    try:
        call("planted" + f"-prompt-{10**9}")
    except ValueError:
        structlog.get_logger("toybox.test").exception("a call failed")
    finally:
        structlog.configure(**before)
    said = capsys.readouterr().err
    assert "a call failed" in said
    assert f"ValueError: refused {HIDDEN}" in said
    assert "planted-prompt" not in said
    assert GIVEN not in said
