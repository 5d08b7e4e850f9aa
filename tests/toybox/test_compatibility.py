"""What may change about a published schema: each kind of break is planted, each harmless change is let through."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from toybox import topic_contracts
from toybox.compatibility import breaks
from toybox.contracts import check, write

LINE = {"type": "object", "properties": {"tokens": {"type": "integer"}}, "required": ["tokens"]}
PUBLISHED: dict[str, Any] = {
    "$defs": {"Line": LINE},
    "title": "A fact",
    "type": "object",
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "model": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "note": {"type": "string", "description": "Whatever."},
        "kind": {"enum": ["one", "other"]},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}},
        "parent": {"$ref": "#"},
    },
    "required": ["id", "model", "kind", "lines"],
}
Change = Callable[[dict[str, Any]], object]
BREAKS: list[tuple[str, Change, str]] = [
    ("a field is gone", lambda new: new["properties"].pop("note"), "value.note is gone"),
    ("a type changed", lambda new: new["properties"]["id"].update(type="integer"), "value.id: type was 'string'"),
    ("a format changed", lambda new: new["properties"]["id"].pop("format"), "format was 'uuid' and is absent"),
    ("a new field is required", lambda new: _add(new, needed=True), "value.extra is required now"),
    ("an old field is required now", lambda new: new["required"].append("note"), "value.note is required now"),
    ("a field may be missing", lambda new: new["required"].remove("kind"), "value.kind may be missing now"),
    ("a choice is gone", lambda new: new["properties"]["kind"]["enum"].pop(), "value.kind: enum was"),
    ("a choice is new", lambda new: new["properties"]["kind"]["enum"].append("third"), "value.kind: enum was"),
    ("null is gone", lambda new: new["properties"]["model"]["anyOf"].pop(), "value.model: anyOf was"),
    ("one choice changed", lambda new: new["properties"]["model"]["anyOf"][0].update(type="number"), "value.model"),
    ("inside a list", lambda new: new["$defs"]["Line"]["properties"].pop("tokens"), "value.lines[].tokens is gone"),
    ("a limit is new", lambda new: new["properties"]["note"].update(maxLength=5), "maxLength was absent and is 5"),
    ("it was closed", lambda new: new.update(additionalProperties=False), "additionalProperties was absent"),
]
HARMLESS: list[tuple[str, Change]] = [
    ("nothing", lambda new: new),
    ("a new optional field", lambda new: _add(new, needed=False)),
    ("prose", lambda new: new["properties"]["note"].update(description="More.", title="Note")),
    ("a remark of ours", lambda new: new.update({"x-owner": "costs"})),
    ("a definition moved", lambda new: new["properties"]["lines"].update(items=copy.deepcopy(LINE))),
    ("an optional field in a list", lambda new: _add(new["$defs"]["Line"], needed=False)),
]


def _add(schema: dict[str, Any], *, needed: bool) -> None:
    schema["properties"]["extra"] = {"type": "string"}
    if needed:
        schema["required"].append("extra")


def changed(change: Change) -> dict[str, Any]:
    new = copy.deepcopy(PUBLISHED)
    change(new)
    return new


@pytest.mark.parametrize(("change", "said"), [pytest.param(*rest, id=name) for name, *rest in BREAKS])
def test_a_break_is_refused_and_named(change: Change, said: str) -> None:
    assert said in "; ".join(breaks(PUBLISHED, changed(change)))


@pytest.mark.parametrize("change", [pytest.param(change, id=name) for name, change in HARMLESS])
def test_a_harmless_change_is_let_through(change: Change) -> None:
    assert breaks(PUBLISHED, changed(change)) == []


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A folder with every contract in it."""
    write(tmp_path)
    return tmp_path


@pytest.mark.parametrize("file", [str(file) for file in topic_contracts.present()])
def test_contracts_of_topics_are_schemas_open_to_new_fields(file: str) -> None:
    schema = json.loads(topic_contracts.present()[Path(file)])
    jsonschema.Draft202012Validator.check_schema(schema)
    assert "additionalProperties" not in schema
    assert schema["description"]
    assert schema["required"]


@pytest.mark.thorough
@pytest.mark.parametrize("file", [str(file) for file in topic_contracts.present()])
def test_a_topic_that_would_break_its_readers_is_refused_and_its_contract_stays(written: Path, file: str) -> None:
    published = json.loads((written / file).read_text())
    published["properties"]["gone_since"] = {"type": "string"}
    (written / file).write_text(json.dumps(published))
    assert write(written) == []
    [finding] = check(written)
    assert "value.gone_since is gone" in finding.problem
    assert "new version" in finding.fix
    assert json.loads((written / file).read_text()) == published


@pytest.mark.thorough
def test_a_new_optional_field_makes_a_contract_stale_and_is_written(written: Path) -> None:
    file = topic_contracts.ENVELOPE
    published = json.loads((written / file).read_text())
    del published["properties"]["traceid"]
    (written / file).write_text(json.dumps(published))
    [finding] = check(written)
    assert (finding.file, finding.problem) == (file, "is stale")
    assert write(written) == [file]
    (written / file).write_text("no schema at all")
    assert write(written) == [file]
    assert check(written) == []
