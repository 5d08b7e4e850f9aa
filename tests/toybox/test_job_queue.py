"""The queue from the command line: how it stands, dead letters, execution settings."""

from typing import Any

import pytest

from tests.toybox.programs import Toybox, wait_for
from toybox.client import Client

pytestmark = pytest.mark.process


def test_execution_settings_are_shown_and_changed_one_by_one(served: Toybox) -> None:
    assert "nobody has chosen" in served("execution-settings").out
    served("execution-settings", "set", "--provider", "openai=8", "--per-project", "4", "--model", "openai/big=2")
    said = served(
        "execution-settings", "set", "--provider", "other=0", "--model", "openai/big=default", "--ageing", "30"
    )
    assert "calls of provider other" in said.out, "what is shown is not older than what was changed"
    shown = served("execution-settings", "show", "--json").json[0]
    assert (shown["per_project"], shown["ageing_seconds"], shown["models"]) == (4, 30, [])
    assert shown["providers"] == [{"provider": "openai", "most": 8}, {"provider": "other", "most": 0}]
    said = served("execution-settings", "set", "--per-project", "any").out
    assert "calls of provider openai" in said
    assert served("execution-settings", "show", "--json").json[0]["per_project"] is None
    for wrong in (("--provider", "openai"), ("--model", "big=1"), ("--per-key", "many"), ("--weight", "nobody=2")):
        assert served("execution-settings", "set", *wrong, code=3).last_words


def three_dead(served: Toybox) -> list[dict[str, Any]]:
    """Once the worker has failed with all of them."""
    found: list[dict[str, Any]] = []

    def all_there() -> bool:
        found[:] = served("llm-jobs", "dead-letters", "--json").json
        return len(found) == 3

    wait_for(all_there)
    return found


def test_the_queue_and_its_dead_letters_are_shown_and_put_back(served: Toybox) -> None:
    assert "no dead letters" in served("llm-jobs", "dead-letters").err
    with Client(served.address["url"], (served.data_dir / "owner.key").read_text().strip()) as client:
        asked = {"provider": "scripted", "model": "scripted-small", "max_output_tokens": 50, "max_attempts": 1}
        failing = [{"role": "user", "content": "#scripted: fail overloaded"}]
        made = [client.post("/api/llm-jobs", {**asked, "messages": failing})["id"] for _ in range(3)]
    dead = three_dead(served)
    assert {each["job_id"] for each in dead} == set(made)
    assert {each["failure"] for each in dead} == {"overloaded"}
    assert "overloaded" in served("llm-jobs", "dead-letters").out
    one = served("llm-jobs", "requeue", made[0], "--attempts", "1", "--json").json
    assert [each["job_id"] for each in one] == [made[0]]
    three_dead(served)
    assert "3 back in the queue" in served("llm-jobs", "requeue", "--all", "--failure", "overloaded").out
    shown = served("llm-jobs", "queue", "--json").json[0]
    assert {"queued", "running", "dead_letters", "waiting", "slots"} <= shown.keys()
    assert served("llm-jobs", "queue").out
    assert "say --all" in served("llm-jobs", "requeue", code=3).last_words
    assert served("llm-jobs", "requeue", "--all", "--provider", "unheard-of", code=3).last_words
