"""`toybox costs`: reports, top spenders and explanations of a project that really ran; and charts."""

import csv
import io

import pytest
from rich.console import Console

from tests.toybox.programs import Toybox
from toybox.terminal.charts import bar, sparkline


@pytest.mark.process
def test_a_run_is_reported_charted_compared_and_explained(served: Toybox) -> None:
    served("run", str(served.blueprint), "--name", "paid", "--approve", "auto")
    assert served("costs", "paid").out == served("costs", "show", "paid").out
    told = served("costs", "report", "paid", "--by", "agent,tier", "--zone", "Asia/Kolkata", "--json").json
    assert (told[0]["type"], told[0]["zone"]) == ("report", "Asia/Kolkata")
    assert {each["agent"] for each in told[1:]} == {"first", "second"}
    assert all(each["key_id"] is None for each in told[1:] if "key_id" in each)
    assert "in all" in served("costs", "report", "paid").out
    assert "MODEL" in served("costs", "report", "--bucket", "week", "--by", "model").out
    rows = list(
        csv.DictReader(io.StringIO(served("costs", "report", "paid", "--by", "agent", "--csv").out, newline=""))
    )
    assert {each["agent"] for each in rows} == {"first", "second"}
    assert "paid" in served("costs", "top", "--by", "project").out
    explained = served("costs", "explain", "paid").out
    assert " x " in explained
    assert "event " in explained
    assert served("costs", "--explain", "paid", "--json").json[0]["problems"] == []
    attempt = served("costs", "explain", "paid", "--json").json[0]["tree"]["parts"][0]["parts"][0]["parts"][0]
    assert "attempt" in served("costs", "explain", attempt["parts"][0]["id"]).out
    job = attempt["parts"][0]["id"]
    assert served("costs", "explain", job[:8]).out == served("costs", "explain", job).out
    assert "time zone" in served("costs", "report", "--zone", "Mars/Olympus", code=3).last_words
    assert "choose one" in served("costs", "report", "--csv", "--json", code=2).last_words
    served("run", str(served.blueprint), "--name", "paid", "--approve", "auto")
    of_each = [
        line for line in served("costs", "report", "--by", "project").out.splitlines() if line.startswith("paid")
    ]
    assert len(of_each) == 2, "two projects with one name are two rows"


def test_bars_are_as_long_as_they_should_and_only_where_somebody_looks() -> None:
    screen, pipe = Console(force_terminal=True, width=80), Console(force_terminal=False, width=80)
    assert bar(5, 10, 20, pipe) == sparkline([1, 2], 10, pipe) == ""
    drawn = bar(5, 10, 20, screen)
    assert len(drawn) == 10
    assert set(drawn) <= {"█", "#"}
    assert bar(0, 10, 20, screen) == ""
    assert len(bar(0.0001, 10, 20, screen)) == 1
    trend = sparkline([float(each) for each in range(100)], 24, screen)
    assert len(trend) <= 24
    assert trend[0] != trend[-1]
    assert len(set(sparkline([0.0, 0.0], 24, screen))) == 1
