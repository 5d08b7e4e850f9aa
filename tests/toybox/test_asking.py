"""`toybox ask`: an answer on the screen as it is written, its bill behind it, and the way back to one that was left."""

import json
import re
import signal
import time
from typing import Any

import pytest

from tests.toybox.programs import PATIENCE, Said, Toybox

pytestmark = pytest.mark.process
SLOW = "#scripted: delay 1.5\n#scripted: text It comes in a while."


def objects(said: Said) -> list[dict[str, Any]]:
    """JSON leaves separators unescaped that are line breaks to Python alone."""
    return [json.loads(line) for line in said.out.split("\n") if line]


def test_an_answer_is_printed_and_its_bill_goes_elsewhere(served: Toybox) -> None:
    said = served("ask", "#scripted: text All is well.")
    assert said.out == "All is well.\n"
    bill = said.last_words
    assert re.fullmatch(
        r"\d+ → \d+ tokens · \$[\d.]+ · waited .+ s · first token .+ s · total .+ s · scripted/scripted-1", bill
    ), bill
    whole = served("ask", "#scripted: text All is well.", "--no-stream", "--model", "scripted/other")
    assert whole.out == said.out
    assert whole.last_words.endswith("scripted/other")


def test_json_is_the_stream_itself(served: Toybox) -> None:
    told = objects(served("ask", "#scripted: text All\u2028is well.", "--json"))
    assert "".join(each["text"] for each in told if each["event"] == "delta") == "All\u2028is well."
    assert [told[0]["event"], told[-1]["event"]] == ["queued", "completed"]
    assert len({each["id"] for each in told}) == len(told)


def test_ctrl_c_leaves_the_answer_to_be_written_and_says_how_to_see_it(served: Toybox) -> None:
    with served.started("ask", SLOW) as process:
        time.sleep(1.0)
        while not (found := [each for each in objects(served("llm-jobs", "--json")) if each["status"] == "running"]):
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert out == ""
    job = found[0]["job_id"]
    assert f"llm-jobs follow {job[:8]}" in err
    assert served("llm-jobs", "follow", job[:8]).out == "It comes in a while.\n"
    assert served("llm-jobs", "follow", job, "--no-stream").out == "It comes in a while.\n"
    assert job[:8] in served("llm-jobs", "list", "--status", "completed").out


def test_a_failed_question_says_why_and_a_cut_one_that_it_is_void(served: Toybox) -> None:
    failed = served("ask", "#scripted: fail invalid_request always", code=1)
    assert failed.out == ""
    assert "failed: " in failed.err
    again = served("ask", "#scripted: fail cut_stream once\n#scripted: text A long answer that is cut in two halves.")
    assert again.out.endswith("\nA long answer that is cut in two halves.\n")
    assert "void" in again.err


@pytest.mark.parametrize(
    ("words", "code", "fix"),
    [
        (("ask", "x", "--model", "nothing"), 2, "PROVIDER/MODEL"),
        (("ask", "x", "--max-tokens", "0"), 2, "see toybox ask --help"),
        (("ask", "x", "--project", "nobody"), 3, "nobody"),
        (("llm-jobs", "follow", "00000000"), 3, "toybox llm-jobs lists them"),
        (("llm-jobs", "follow", "00000000-0000-0000-0000-000000000007"), 3, "there is no job"),
        (("ask", "-"), 3, "no question"),
    ],
)
def test_what_makes_no_sense_is_told_in_one_line(served: Toybox, words: tuple[str, ...], code: int, fix: str) -> None:
    assert fix in served(*words, code=code).last_words


def test_a_model_without_a_price_is_told_with_its_fix(served: Toybox) -> None:
    failed = served("ask", "x", "--model", "openai/no-such-model", "--json", code=1).json[-1]
    assert failed["event"] == "failed"
    assert json.dumps(failed["note"])
