"""Command lines that cannot be obeyed: one line that says why, the exit code for wrong usage, and no server started."""

from pathlib import Path

import pytest

from toybox import cli
from toybox.cli.app import PANELS
from toybox.terminal.failures import Exit
from toybox.terminal.output import forget_consoles


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOYBOX_DATA_DIR", str(tmp_path / "data"))
    forget_consoles()
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nonsense"], "nonsense"),
        (["up", "--port", "99999"], "--port"),
        (["up", "--role", "painter"], "painter"),
        (["up", "--role", "relay"], "--role relay needs Kafka: add --kafka HOST:PORT, or set TOYBOX_KAFKA"),
        (["up", "--on", "kafka"], "--on kafka needs Kafka: add --kafka"),
        (["run"], "BLUEPRINT"),
        (["run", "x.yaml", "--budget", "lots"], "0.50"),
        (["run", "x.yaml", "--budget", "-1"], "above zero"),
        (["run", "x.yaml", "--approve", "maybe"], "maybe"),
        (["keys", "create", "dashboard"], "--permission"),
        (["keys", "create", "dashboard", "-p", "projects.read", "--expires", "soon"], "30d"),
        (["keys", "create", "dashboard", "-p", "projects.read", "--expires", "2027-01-01T00:00:00"], "zone"),
        (["reset", "notes", "--failed", "--phase", "write"], "one of"),
        (["budgets", "raise", "1a2b3c4d", "nothing"], "above zero"),
        (["budgets", "open", "notes", "1", "--phase", "write", "--agent", "draft"], "one of"),
        (["diff", "notes"], "--from"),
    ],
)
def test_wrong_usage_is_told_in_one_line(
    words: list[str], said: str, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(words) == Exit.USAGE
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert "--help" in lines[0]
    assert not data_dir.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "missing.yaml"], "missing.yaml: the blueprint does not exist"),
        (["run", "examples/release-notes", "--input", "colour=red"], "there is no input 'colour'"),
        (["run", "examples/release-notes", "--input", "changelog=@missing.md"], "missing.md does not exist"),
        (["explain", "budget.setled"], "did you mean budget.settled"),
    ],
)
def test_what_cannot_be_found_is_told_before_anything_is_started(
    words: list[str], said: str, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(words) == Exit.REFUSED
    assert said in capsys.readouterr().err
    assert not data_dir.exists()


def test_a_setting_that_makes_no_sense_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOYBOX_PORT", "harbour")
    assert cli.run(["projects"]) == Exit.USAGE
    assert "TOYBOX_PORT is 'harbour'" in capsys.readouterr().err


def test_settings_that_do_not_go_together_are_told_without_their_values(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOYBOX_KAFKA_SECURITY", "sasl_ssl")
    monkeypatch.setenv("TOYBOX_KAFKA_PASSWORD", "correct-horse")
    assert cli.run(["kafka", "check", "--kafka", "localhost:9092"]) == Exit.USAGE
    said = capsys.readouterr().err
    assert "needs TOYBOX_KAFKA_SASL_MECHANISM and TOYBOX_KAFKA_USERNAME" in said
    assert "correct-horse" not in said
    assert len(said.splitlines()) == 1


def test_kafka_that_is_not_named_is_told_with_the_fix(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["kafka", "init"]) == Exit.REFUSED
    assert "--kafka HOST:PORT" in capsys.readouterr().err


def test_an_address_without_a_key_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOYBOX_URL", "http://127.0.0.1:1")
    assert cli.run(["projects"]) == Exit.REFUSED
    assert "TOYBOX_KEY" in capsys.readouterr().err


def test_every_command_has_help_with_an_example_and_speaks_json(capsys: pytest.CaptureFixture[str]) -> None:
    groups = {"keys": ["list", "create", "revoke"], "budgets": ["list", "open", "raise", "close"]}
    groups |= {"parked": ["list", "retry"], "kafka": ["init", "check"]}
    names = {
        command.name or str(command.callback and command.callback.__name__)
        for command in cli.load().registered_commands
    }
    for words in [[name] for name in names] + [[group, each] for group, all_ in groups.items() for each in all_]:
        assert cli.run([*words, "--help"]) == Exit.OK
        shown = capsys.readouterr().out
        assert f"Example: toybox {' '.join(words)}" in " ".join(shown.split()), words
        assert "--json" in shown, words


def test_without_a_command_the_help_lists_them_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([]) == Exit.OK
    shown = capsys.readouterr().out
    assert "run" in shown
    assert "stopped by a budget" in " ".join(shown.replace("\n", " ").split())
    assert cli.run(["--version"]) == Exit.OK
    assert capsys.readouterr().out.startswith("toybox ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["budgts"], "Did you mean 'budgets'? see"),
        (["projects", "--lmit", "3"], "there is no option --lmit, did you mean --limit?"),
        (["up", "--data-dir", "elsewhere"], "toybox --data-dir … up"),
        (["costs", "--by", "agnt"], "'agnt' is not one of"),
    ],
)
def test_what_was_mistyped_is_told_with_what_was_meant(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(words) == Exit.USAGE
    assert said in capsys.readouterr().err


def test_options_that_no_help_shows_are_not_suggested(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["up", "--attachd"]) == Exit.USAGE
    assert "--attached" not in capsys.readouterr().err


@pytest.mark.parametrize("address", ["harbour", "http://[::1", "ftp://127.0.0.1", "http://"])
def test_an_address_that_is_none_is_told_without_a_try(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOYBOX_URL", address)
    monkeypatch.setenv("TOYBOX_KEY", "tbx_" + "0" * 49)
    assert cli.run(["projects"]) == Exit.REFUSED
    assert "TOYBOX_URL=http://host:port" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["schlüssel", "two words", "two\nlines"])
def test_a_key_that_no_header_can_hold_is_no_traceback(
    key: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOYBOX_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("TOYBOX_KEY", key)
    assert cli.run(["projects"]) == Exit.REFUSED
    said = capsys.readouterr().err
    assert "TOYBOX_KEY" in said
    assert key not in said


def test_the_help_begins_with_running(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == Exit.OK
    shown = capsys.readouterr().out
    places = [shown.index(f" {panel} ") for panel in PANELS]
    assert places == sorted(places)
