"""The golden log: an example of every event version still loads, and today's versions are written as they were."""

import json
from pathlib import Path
from uuid import UUID

import pytest

from domain.errors import Unavailable
from domain.kernel import EVENT_TYPES, Aggregate, Created, Event, load_event, payload_bytes
from domain.log import StoredEvent, canonical
from tests.golden.examples import MOMENT, NoExample, example
from tests.golden.record import COMMAND, EVENTS, domain_events, record_examples, without_example

RECORDED = sorted(EVENTS.glob("*.json"))


class Kept(Aggregate):
    """An aggregate whose event has a past."""

    TOPIC = "golden_kept"
    words: list[str]

    class Begun(Created, type="golden.begun"):
        """It began."""

    class Said(Aggregate.Event, type="golden.said", version=2):
        """Something was said, since version 2 in several words."""

        words: list[str]

        @staticmethod
        def upcast_v1_v2(state: dict[str, object]) -> None:
            state["words"] = [state.pop("word")]


def stored(file: Path) -> StoredEvent:
    """The row that an example stands for."""
    name, _, version = file.stem.rpartition(".v")
    return StoredEvent(
        position=1,
        stream_id=UUID(int=1),
        version=1,
        type=name,
        schema_version=int(version),
        project_id=None,
        data=canonical(json.loads(file.read_text("utf-8"))),
        actor="owner",
        command_id=UUID(int=2),
        correlation_id=UUID(int=2),
        causation_id=None,
        trace_id=None,
        recorded_at=MOMENT,
    )


def test_every_event_version_has_a_recorded_example() -> None:
    kinds = domain_events()
    assert kinds
    missing = [f"{kind.TYPE}.v{version}" for kind, version in without_example(kinds, EVENTS)]
    assert not missing, f"record them with `{COMMAND}` and commit what it writes: {missing}"


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.stem)
def test_a_recorded_event_still_loads(file: Path) -> None:
    kinds = {kind.TYPE for kind in domain_events()}
    row = stored(file)
    assert row.type in kinds, f"old logs hold {row.type}: keep the class, or take its example away before any release"
    loaded = load_event(row)
    if row.schema_version == EVENT_TYPES[row.type].VERSION:
        assert payload_bytes(loaded) == row.data, f"{row.type} is written otherwise than it was: make a new version"


def test_a_missing_example_is_noticed_for_every_version(tmp_path: Path) -> None:
    assert without_example([Kept.Said], tmp_path) == [(Kept.Said, 1), (Kept.Said, 2)]
    with pytest.raises(SystemExit, match=r"golden\.said is at version 2"):
        record_examples([Kept.Said], tmp_path)
    (tmp_path / "golden.said.v1.json").write_text('{"word": "hello"}', "utf-8")
    assert record_examples([Kept.Said], tmp_path) == ["golden.said.v2.json"]
    assert record_examples([Kept.Said], tmp_path) == []
    assert [load_event(stored(file)).payload() for file in sorted(tmp_path.glob("*.json"))] == [
        {"words": ["hello"]},
        {"words": ["release-notes"]},
    ]


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("golden.said.v2", '{"words": ["a"], "loud": true}'),
        ("golden.said.v2", "{}"),
        ("golden.said.v2", '{"words": 1}'),
    ],
)
def test_an_example_that_no_longer_fits_is_noticed(tmp_path: Path, name: str, body: str) -> None:
    file = tmp_path / f"{name}.json"
    file.write_text(body, "utf-8")
    with pytest.raises(ValueError, match=r"words|loud"):
        load_event(stored(file))


@pytest.mark.parametrize("name", ["golden.said.v3", "golden.unheard.v1"])
def test_an_event_from_a_newer_release_is_not_guessed_at(tmp_path: Path, name: str) -> None:
    file = tmp_path / f"{name}.json"
    file.write_text('{"words": ["a"]}', "utf-8")
    with pytest.raises(Unavailable, match="older than event"):
        load_event(stored(file))


def test_examples_are_the_same_at_every_run_and_fill_every_field() -> None:
    for kind in domain_events():
        assert example(kind) == example(kind)
        assert None not in example(kind).values(), f"{kind.TYPE}: an example leaves nothing out"


def test_what_no_example_fits_asks_for_one(tmp_path: Path) -> None:
    class Odd(Event):
        """An event with a field that nothing known here fits."""

        TYPE = "golden.odd"
        span: bytes

    with pytest.raises(NoExample, match=r"golden\.odd\.span"):
        record_examples([Odd], tmp_path)
