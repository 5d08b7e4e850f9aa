"""Projects from the command line: to their end, out of money, interrupted, decided."""

import signal
from pathlib import Path

import pytest

from tests.support.checkout import ROOT
from tests.toybox.programs import PATIENCE, Toybox, ended, listening

pytestmark = pytest.mark.process


def test_an_example_runs_to_its_end_on_a_server_of_its_own(toybox: Toybox, tmp_path: Path) -> None:
    changelog = tmp_path / "changes.md"
    changelog.write_text("- #1 New: berths can be blocked in a row.\n")
    said = toybox(
        *("run", str(ROOT / "examples" / "release-notes"), "--json", "--name", "notes"),
        *("-i", f"changelog=@{changelog}", "-i", f"style=@{changelog}", "-i", "version=5.0.0"),
    )
    events, summary = said.json[:-1], said.json[-1]
    assert summary["type"] == "summary"
    assert (summary["status"], summary["exit_code"], summary["name"]) == ("completed", 0, "notes")
    positions = [each["position"] for each in events]
    assert positions == sorted(set(positions))
    assert (events[0]["type"], events[-1]["type"]) == ("project.created", "project.completed")
    assert "starting one for this command" in said.err
    assert "approved automatically" in said.err
    assert not (toybox.data_dir / "server.json").exists()


def test_a_run_out_of_money_says_which_limit_and_goes_on_when_it_is_raised(served: Toybox) -> None:
    said = served("run", str(served.blueprint), "--budget", "0.001", "--name", "poor", code=4)
    assert "the budget of the project is $0.001" in said.err
    stopped = served("watch", "poor", "--json", code=4).json[-1]
    assert stopped["waiting"][0]["kind"] == "budget"
    raise_it = stopped["raise"][0].split()
    assert raise_it[:3] == ["toybox", "budgets", "raise"]
    served(*raise_it[1:])
    finished = served("watch", "poor", "--json").json[-1]
    assert finished["status"] == "completed"
    budget = finished["budgets"][0]
    assert float(budget["settled"]) <= float(budget["limit"])
    assert float(budget["held"]) == 0


def test_an_interrupted_run_waits_where_it_is_until_somebody_decides(served: Toybox) -> None:
    with served.started("run", str(served.blueprint), "--approve", "ask", "--name", "held") as run:
        listening(run, "waits for checkpoint")
        assert "toybox watch" in ended(run, signal.SIGINT).err
        assert run.returncode == 130
    waiting = served("checkpoints", "held", "--json").json
    assert [each["title"] for each in waiting] == ["Good?"]
    served("approve", waiting[0]["id"], "--decision", "respond", "--comment", "shorter")
    with served.started("watch", "held", "--approve", "ask") as run:
        listening(run, "checkpoint Good?, attempt 2")
        ended(run, signal.SIGINT)
    again = served("checkpoints", "held", "--json").json
    served("approve", again[0]["id"][:8])
    assert served("watch", "held", "--json").json[-1]["status"] == "completed"
    assert "approve by owner" in served("checkpoints", "held", "--all").out
    assert served("approve", again[0]["id"], code=3).last_words.startswith(
        "toybox: this checkpoint was decided already"
    )


def test_a_person_at_the_terminal_is_asked_and_sees_the_project_move(served: Toybox) -> None:
    screen = served.at_a_terminal(
        *("run", str(served.blueprint), "--name", "asked"),
        answers=[("[l]ater", "p"), ("different", "name the moon"), ("[l]ater", "a")],
    )
    assert "Second after First about tides." in screen
    assert "version 2" in screen
    assert "completed" in screen
    decided = served("checkpoints", "asked", "--all", "--json").json
    assert [each["decision"] for each in decided] == ["approve", "respond"]
    assert decided[1]["comment"] == "name the moon"


def test_a_finished_project_is_shown_replayed_compared_and_paid_for(served: Toybox) -> None:
    served("run", str(served.blueprint), "--name", "seen", "--approve", "auto")
    shown = served("show", "seen").out
    assert "✔ first" in shown
    assert "second.md" in shown
    assert served("assets", "seen", "second.md").out == "Second after First about tides."
    assert {each["name"] for each in served("assets", "seen", "--json").json} >= {"second.md"}
    events = served("replay", "seen", "--json").json[:-1]
    asked = next(each["position"] for each in events if each["type"] == "checkpoint.requested")
    assert "waits for checkpoint Good?" in served("replay", "seen", "--at", str(asked)).out
    assert served("replay", "seen", "--at", str(asked), "--json").json[-1]["project"]["status"] == "running"
    changed = served("diff", "seen", "--from", str(asked), "--to", str(events[-1]["position"])).out
    assert "status: waiting → completed" in changed
    costs = served("costs", "seen", "--json").json
    assert costs[0]["type"] == "total"
    assert {each["name"] for each in costs[1:]} == {"first", "second"}
    lines = served("tail", "seen", "--no-follow", "-t", "project.*").out.splitlines()
    assert "project seen: completed" in lines[-1]
    told = served("tail", "seen", "--no-follow", "-n", "3", "--json").json
    assert [each["position"] for each in told] == [each["position"] for each in events[-3:]]
    assert "project seen: completed" in served("tail", "--no-follow", "-n", "500").out


def test_projects_are_paused_resumed_cancelled_and_run_again(served: Toybox) -> None:
    with served.started("run", str(served.blueprint), "--approve", "ask", "--name", "led") as run:
        listening(run, "waits for checkpoint")
        served("pause", "led", "--note", "lunch")
        served("resume", "led")
        served("cancel", "led")
        _, err = run.communicate(timeout=PATIENCE)
        assert run.returncode == 1
        assert "cancelled" in err
    served("reset", "led", "--start")
    assert served("watch", "led", "--approve", "auto", "--json").json[-1]["status"] == "completed"
    assert "must be" in served("pause", "led", code=3).last_words
    served("archive", "led")
    assert [each["name"] for each in served("projects", "--status", "archived", "--json").json] == ["led"]


def test_budgets_are_opened_listed_and_closed(served: Toybox) -> None:
    served("run", str(served.blueprint), "--name", "limited", "--approve", "auto")
    served("budgets", "open", "limited", "2.50", "--phase", "write")
    listed = served("budgets", "list", "limited", "--json").json
    assert [(each["kind"], each["limit"]) for each in listed] == [("phase", "2.5")]
    served("budgets", "raise", listed[0]["id"][:8], "3")
    assert "$3.0000" in served("budgets", "list", "limited").out
    served("budgets", "close", listed[0]["id"])
    assert served("budgets", "list", "limited", "--json").json[0]["status"] == "closed"


def test_a_project_that_lacks_tokens_is_told_the_limit_in_tokens_and_raising_it_lets_it_go_on(served: Toybox) -> None:
    assert "no budget limits everything" in served("budgets", "raise", "global", "60", code=3).last_words
    served("budgets", "open", "global", "60")
    served("budgets", "open", "global", "3", "--unit", "total_tokens", "--window", "24h")
    try:
        said = served("run", str(served.blueprint), "--name", "wordless", "--approve", "auto", code=4)
        assert "is 3 total tokens, of which 0 total tokens are spent" in said.err
        assert (
            served("watch", "wordless", "--json", code=4)
            .json[-1]["raise"][0]
            .endswith(" --limit total-tokens-last-24-h")
        )
        assert "global: total-tokens-last-24-h" in served("budgets").out
        assert "say which limit" in served("budgets", "raise", "global", "900000", code=3).last_words
        raised = served("budgets", "raise", "global", "900000", "--limit", "total-tokens-last-24-h")
        assert "has a limit of 900,000 total tokens (total-tokens-last-24-h)" in raised.out
        assert "has a limit of $70.00" in served("budgets", "raise", "global", "70", "--limit", "usd-lifetime").out
        assert served("watch", "wordless", "--approve", "auto", "--json").json[-1]["status"] == "completed"
    finally:
        served("budgets", "close", "global")


def test_a_read_model_is_rebuilt_while_it_is_used(served: Toybox) -> None:
    names = [each["name"] for each in served("rebuild", "--json").json]
    assert "project_overviews" in names
    assert served("rebuild", "project_overviews", "--json").json[0]["error"] is None
    assert "project_overviews" in served("rebuild", "project_overview", code=3).last_words
    assert served("parked", "--json").json == []
