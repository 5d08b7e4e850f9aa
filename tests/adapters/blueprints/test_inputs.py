"""Inputs of a run: given, read from files or taken from defaults; a mistake is told with the flag that repairs it."""

import os
from decimal import Decimal
from pathlib import Path

import pytest

from adapters.blueprints import parse_input_flags, resolve_inputs
from domain.blueprints import Blueprint, BlueprintError
from tests.adapters.blueprints.documents import with_inputs

TOPIC = {"topic": "{type: text, description: The topic}"}
NOTES = {"notes": "{type: file, description: The notes, max_bytes: 10}"}
COUNT = {"count": "{type: number, description: How many}"}


def refusal(blueprint: Blueprint, given: dict[str, str], folder: Path | None = None, *, files: bool = True) -> str:
    with pytest.raises(BlueprintError) as refused:
        resolve_inputs(blueprint, given, base_dir=folder, files=files)
    return "\n".join(f"{problem.message}; {problem.fix}" for problem in refused.value.problems)


def test_flags_are_names_and_values() -> None:
    assert parse_input_flags(["a=1", "b=x=y", "c=", "d=@f"]) == {"a": "1", "b": "x=y", "c": "", "d": "@f"}


@pytest.mark.parametrize(
    ("flags", "said"),
    [(["a"], "'a' gives no input"), (["=1"], "gives no input"), (["a=1", "a=2"], "'a' is given twice")],
)
def test_a_flag_that_gives_nothing_is_refused(flags: list[str], said: str) -> None:
    with pytest.raises(BlueprintError, match=said):
        parse_input_flags(flags)


def test_a_missing_input_is_named_with_the_flag_that_gives_it() -> None:
    assert refusal(with_inputs(TOPIC | NOTES), {}) == (
        "the input 'topic' is missing (The topic); add --input topic=VALUE\n"
        "the input 'notes' is missing (The notes); add --input notes=@FILE"
    )


def test_an_input_that_nobody_declared_is_refused() -> None:
    assert refusal(with_inputs(TOPIC), {"topic": "x", "topics": "y"}) == (
        "there is no input 'topics'; did you mean 'topic'?"
    )


def test_an_optional_input_is_empty_text() -> None:
    made = with_inputs({"focus": "{type: text, description: x, required: false}"})
    assert resolve_inputs(made, {}, base_dir=None) == {"focus": ""}


def test_defaults_stand_in() -> None:
    made = with_inputs(
        {
            "topic": "{type: text, description: x, default: tides}",
            "share": "{type: number, description: x, default: 0.50}",
        }
    )
    assert resolve_inputs(made, {}, base_dir=None) == {"topic": "tides", "share": Decimal("0.50")}
    assert resolve_inputs(made, {"share": "7"}, base_dir=None) == {"topic": "tides", "share": 7}


@pytest.mark.parametrize("text", ["three", "1e9", "", "1,5", "٣", "0x1", "nan", "9" * 31])
def test_a_number_is_digits(text: str) -> None:
    assert "the input 'count' is not a number" in refusal(with_inputs(COUNT), {"count": text})


def test_a_file_is_read_from_where_the_person_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "n.md").write_bytes(b"\xef\xbb\xbfgr\xc3\xbcn")
    monkeypatch.chdir(tmp_path)
    assert resolve_inputs(with_inputs(NOTES), {"notes": "@n.md"}, base_dir=Path("/")) == {"notes": "grün"}


def test_text_may_come_from_a_file_and_may_begin_with_an_at_sign(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("tides", "utf-8")
    made = with_inputs(TOPIC)
    assert resolve_inputs(made, {"topic": f"@{tmp_path}/t"}, base_dir=None) == {"topic": "tides"}
    assert resolve_inputs(made, {"topic": "@@ada"}, base_dir=None) == {"topic": "@ada"}


def test_a_default_file_lies_beside_the_blueprint(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("hello", "utf-8")
    made = with_inputs({"notes": "{type: file, description: x, default: notes.md}"})
    assert resolve_inputs(made, {}, base_dir=tmp_path) == {"notes": "hello"}


@pytest.mark.parametrize("default", ["../secret", "/etc/hostname", "link", "circle"])
def test_a_default_cannot_lead_out_of_the_blueprints_folder(tmp_path: Path, default: str) -> None:
    folder = tmp_path / "blueprint"
    folder.mkdir()
    (tmp_path / "secret").write_text("s", "utf-8")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "circle").symlink_to(folder / "circle")
    made = with_inputs({"notes": f"{{type: file, description: x, default: {default}}}"})
    assert refusal(made, {}, folder) == (
        "the default of input 'notes' lies outside of the blueprint's folder; "
        f"name the file yourself: --input notes=@{default}"
    )


def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    made = with_inputs(NOTES)
    path = tmp_path / "n"
    assert f"{path} does not exist" in refusal(made, {"notes": f"@{path}"})
    path.write_bytes(b"\xff\xfe")
    assert f"{path} is not UTF-8 text; save it as UTF-8" in refusal(made, {"notes": f"@{path}"})
    path.write_bytes(b"a\0b")
    assert "the input 'notes' contains U+0000" in refusal(made, {"notes": f"@{path}"})
    path.write_bytes(b"12345678901")
    assert "the input 'notes' is larger than 10 bytes" in refusal(made, {"notes": f"@{path}"})
    path.write_bytes(b"1" * 99)
    assert "the input 'notes' is larger than 10 bytes" in refusal(made, {"notes": f"@{path}"})
    assert "cannot be read: File name too long" in refusal(made, {"notes": "@" + "a" * 300})
    assert "is not a regular file" in refusal(made, {"notes": f"@{tmp_path}"})
    os.mkfifo(tmp_path / "pipe")
    assert "is not a regular file" in refusal(made, {"notes": f"@{tmp_path}/pipe"})
    assert "does not exist" in refusal(made, {"notes": "@a\0b"})


def test_text_is_measured_in_bytes_and_must_be_text() -> None:
    made = with_inputs({"topic": "{type: text, description: x, max_bytes: 3}"})
    assert resolve_inputs(made, {"topic": "é1"}, base_dir=None) == {"topic": "é1"}
    assert "larger than 3 bytes" in refusal(made, {"topic": "éé"})
    assert "contains U+0000" in refusal(made, {"topic": "\0"})
    assert "is not UTF-8 text" in refusal(made, {"topic": "\udcff"})


def test_a_file_named_without_an_at_sign_is_told_so() -> None:
    assert refusal(with_inputs(NOTES), {"notes": "n.md"}) == (
        "the input 'notes' is a file; name it with --input notes=@n.md"
    )


def test_a_request_sends_content_and_never_makes_the_server_read_a_file(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("hello", "utf-8")
    made = with_inputs(TOPIC | {"notes": "{type: file, description: The notes, default: notes.md}"})
    given = {"topic": "@/etc/hostname", "notes": "@notes.md"}
    assert resolve_inputs(made, given, base_dir=tmp_path, files=False) == given
    assert refusal(made, {"topic": "x"}, tmp_path, files=False) == (
        "the input 'notes' is missing (The notes); send the content of notes.md"
    )
