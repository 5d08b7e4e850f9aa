"""The map is true, and `toybox explain` answers from the same facts."""

import pytest

from domain.errors import NotFound
from domain.kernel import EVENT_TYPES
from tests.support.checkout import ROOT
from toybox.contexts import Context, EventFact, context_names
from toybox.explain import as_json, as_lines, explain
from toybox.inventory import load, modules
from toybox.map_page import PAGE, render


def test_the_map_is_what_the_code_says() -> None:
    assert (ROOT / PAGE).read_text("utf-8") == render(), "docs/map.md is stale: run `make contracts` and commit it"


def test_the_map_names_every_module() -> None:
    page = render()
    missing = [each.path for each in modules() if each.path not in page and not each.is_package]
    assert not missing


def test_every_context_is_explained_with_its_events_and_files() -> None:
    for name in context_names():
        found = explain(name)
        assert isinstance(found, Context)
        assert found.events
        assert all((ROOT / path).is_file() for path in found.files)
        assert as_lines(found)[0].startswith(f"{name}: ")


def test_every_event_type_is_explained_with_version_payload_and_topic() -> None:
    load()
    for name, kind in EVENT_TYPES.items():
        found = explain(name)
        assert isinstance(found, EventFact)
        assert (found.type, found.version) == (kind.TYPE, kind.VERSION)
        assert (found.topic is None) == kind.PRIVATE
        assert not found.fields.keys() & {"originator_id", "originator_version", "timestamp", "originator_topic"}
        assert as_json(found)["kind"] == "event"


def test_an_unknown_name_is_answered_with_the_nearest_ones() -> None:
    with pytest.raises(NotFound, match="there is no context or event type 'nonsense'"):
        explain("nonsense")
