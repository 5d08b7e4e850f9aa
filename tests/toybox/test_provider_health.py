"""Providers' health from the command line: a provider without credit, what waits for it, and an operator who helps."""

from collections.abc import Callable

import pytest

from tests.toybox.programs import Toybox, wait_for
from toybox.client import Client

pytestmark = pytest.mark.process


def _is(said: Callable[[], list[dict[str, object]]], status: str) -> Callable[[], bool]:
    return lambda: said()[0]["status"] == status


def test_an_operator_sees_what_waits_for_a_circuit_and_closes_it(served: Toybox) -> None:
    queue = [{"role": "user", "content": "Hello"}]
    broken = [{"role": "user", "content": "#scripted: fail credit_exhausted once\nHello"}]
    with Client(served.address["url"], (served.data_dir / "owner.key").read_text().strip()) as client:
        first = client.post("/api/llm-jobs", {"provider": "scripted", "model": "scripted-1", "messages": broken})["id"]
        wait_for(_is(lambda: served("llm-jobs", "show", first, "--json").json, "failed"))
        second = client.post("/api/llm-jobs", {"provider": "scripted", "model": "scripted-1", "messages": queue})["id"]
        wait_for(lambda: bool(served("llm-jobs", "show", second, "--json").json[0]["waiting_for"]))
    shown = served("llm-jobs", "show", first).out
    assert "scripted/scripted-1" in shown
    assert "credit" in shown
    assert "waits for circuit scripted (credit_exhausted) until" in served("llm-jobs", "show", second[:8]).out
    assert "circuit scripted" in served("llm-jobs", "list", "--status", "queued").out
    health = served("providers", "health", "scripted")
    assert "open" in health.out
    assert "last 1 attempts" in health.out
    assert served("providers", "health", "--json").json[0]["circuits"][0]["cause"] == "credit_exhausted"
    finding = served("doctor", code=1).out
    assert "scripted open since" in finding
    assert "1 queued jobs have nowhere else to go" in finding
    assert "closed: jobs are sent there again" in served("providers", "close", "scripted", "-r", "paid").out
    wait_for(_is(lambda: served("llm-jobs", "show", second, "--json").json, "completed"))
    assert "is closed" in served("providers", "close", "scripted", code=3).last_words
