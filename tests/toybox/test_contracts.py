"""What toybox promises to others is written down, fresh, and never taken back."""

import json
from pathlib import Path

import jsonschema
import pytest

from domain.kernel import EVENT_TYPES
from tests.support.checkout import ROOT
from toybox.contracts import check, main, write
from toybox.event_contracts import FOLDER, expected, file_of, present, schema
from toybox.openapi import FILE as OPENAPI


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A folder with everything in it."""
    write(tmp_path)
    return tmp_path


def test_the_contracts_are_fresh() -> None:
    assert [str(each) for each in check(ROOT)] == []


@pytest.mark.thorough
def test_writing_twice_writes_nothing_the_second_time(written: Path) -> None:
    assert check(written) == []
    assert write(written) == []
    assert main(["--check"], written) == 0


def test_every_event_has_a_schema_that_says_what_it_is(written: Path) -> None:
    own = [kind for kind in EVENT_TYPES.values() if kind.__module__.startswith("domain.")]
    assert len(own) > 60
    for kind in own:
        found = json.loads((written / file_of(kind.TYPE, kind.VERSION)).read_text())
        jsonschema.Draft202012Validator.check_schema(found)
        assert found["description"]
        assert (found["x-kafka-topic"] is None) == kind.PRIVATE


def test_recorded_events_fit_their_schema() -> None:
    golden = sorted((ROOT / "tests/golden/events").glob("*.json"))
    assert golden
    for file in golden:
        name, version = file.stem.rsplit(".v", 1)
        if int(version) == EVENT_TYPES[name].VERSION:
            jsonschema.Draft202012Validator(schema(EVENT_TYPES[name])).validate(json.loads(file.read_text()))


@pytest.mark.thorough
def test_a_published_schema_is_never_written_over(written: Path) -> None:
    file = written / next(iter(sorted(present())))
    published = json.loads(file.read_text()) | {"required": ["something else"]}
    file.write_text(json.dumps(published))
    assert write(written) == []
    [finding] = check(written)
    assert "is published" in str(finding)
    assert "version=2" in finding.fix
    assert main([], written) == 1
    assert json.loads(file.read_text()) == published
    assert main(["--unreleased"], written) == 0


@pytest.mark.thorough
def test_an_event_that_nobody_declares_any_more_is_noticed(written: Path) -> None:
    gone = written / FOLDER / "project.exploded.v1.json"
    gone.write_text("{}")
    assert "nothing declares it" in str(check(written)[0])
    assert main(["--unreleased"], written) == 0
    assert not gone.exists()


@pytest.mark.thorough
def test_a_version_that_logs_still_hold_is_missed(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older = file_of("project.created", 0)
    known = expected()
    monkeypatch.setattr("toybox.event_contracts.expected", lambda: known | {older})
    [finding] = check(written)
    assert (finding.file, finding.fix) == (older, "restore the file")


@pytest.mark.thorough
@pytest.mark.parametrize("file", [str(OPENAPI), "docs/events.md", "docs/map.md", "docs/contracts/blueprint.v1.json"])
def test_a_stale_or_missing_page_is_noticed_and_mended(written: Path, file: str) -> None:
    (written / file).write_text("stale")
    assert [str(each.file) for each in check(written)] == [file]
    (written / file).unlink()
    assert "is missing" in str(check(written)[0])
    assert [str(each) for each in write(written)] == [file]


def test_the_openapi_document_is_one(written: Path) -> None:
    document = json.loads((written / OPENAPI).read_text())
    text = json.dumps(document)
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    used = {part.split('"')[0] for part in text.split('"$ref": "')[1:]}
    assert used <= known
    ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids)) > 60
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["responses"]["default"], f"{method} {path}"
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            assert content is None or "example" in content or operation["requestBody"]["required"] is False, path
    assert "s1\\\\." not in text  # sealed text is shown in the clear, so its pattern must not be promised


def test_every_example_is_a_body_that_its_route_takes(written: Path) -> None:
    document = json.loads((written / OPENAPI).read_text())
    looked_at = 0
    for operations in document["paths"].values():
        for operation in operations.values():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            if "example" in content:
                schema = content["schema"] | {"components": document["components"]}
                jsonschema.validate(content["example"], schema, cls=jsonschema.Draft202012Validator)
                looked_at += 1
    assert looked_at > 20
