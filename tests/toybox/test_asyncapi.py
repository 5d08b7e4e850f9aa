"""The AsyncAPI document: valid to its official parser, complete, and never taken back."""

import copy
import json
import os.path
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator as Validator

from domain.kernel import EVENT_TYPES
from streams.envelope import seal, source_of
from streams.topics import Topics
from tests.streams.relaying import event_at, examples, is_public
from tests.support.asyncapi_parser import ParserMissing, installed, parse, program
from toybox import event_contracts, topic_contracts
from toybox.asyncapi import FILE, asyncapi, breaks, document
from toybox.contracts import check, main, write

SOURCE = source_of("ab" * 32)


@pytest.fixture(scope="session")
def parser() -> Path:
    """Before any test's environment is cleaned: npm needs its own settings."""
    return installed()


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A folder with every contract in it."""
    write(tmp_path)
    return tmp_path


@pytest.mark.process
def test_the_official_parser_takes_it_and_finds_nothing_to_say(parser: Path, written: Path) -> None:
    told = parse(parser, written / FILE)
    assert told["diagnostics"] == []
    assert told["version"] == "3.1.0"
    payloads = {each["name"]: each["payload"] for each in told["messages"]}
    assert len(payloads) == len(document()["components"]["messages"]) > 60
    for stored in filter(is_public, map(event_at, range(len(examples())))):
        name = f"toybox.{stored.type}.v{stored.schema_version}"
        assert payloads[name]["allOf"][1]["properties"]["data"]["x-aggregate"], "its schema is found by its reference"


@pytest.mark.process
def test_the_official_parser_finds_what_is_wrong(parser: Path, written: Path) -> None:
    text = (written / FILE).read_text()
    (written / FILE).write_text(text.replace("partitions: 12", "partitions: twelve").replace("envelope.v1", "envelop"))
    codes = {each["code"] for each in parse(parser, written / FILE)["diagnostics"]}
    assert codes >= {"asyncapi-document-resolved"} or "invalid-ref" in codes


def test_a_missing_node_is_an_error_that_names_the_fix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ParserMissing, match="apt-get install nodejs npm"):
        program("npm")


def test_every_topic_is_a_channel_as_the_code_makes_it() -> None:
    channels = {each["address"]: each for each in document()["channels"].values()}
    assert set(channels) == {topic.name for topic in Topics.named()}
    for topic in Topics.named():
        kafka = channels[topic.name]["bindings"]["kafka"]
        assert kafka["partitions"] == topic.partitions
        assert kafka["topicConfiguration"]["cleanup.policy"] == ["compact" if topic.compacted else "delete"]
        assert kafka["topicConfiguration"]["retention.ms"] == int(topic.facts(1).settings["retention.ms"])


def test_every_public_event_is_a_message_and_no_private_one_is() -> None:
    messages = document()["channels"]["events"]["messages"]
    own = [kind for kind in EVENT_TYPES.values() if kind.__module__.startswith("domain.")]
    assert {f"toybox.{kind.TYPE}.v{kind.VERSION}" for kind in own if not kind.PRIVATE} <= set(messages)
    private = {kind.TYPE for kind in own if kind.PRIVATE}
    assert private
    assert not [name for name in messages if any(f".{kind}.v" in name for kind in private)]
    assert not any(kind in asyncapi() for kind in private)


@pytest.mark.parametrize("position", range(1, len(examples()) + 1))
def test_every_event_as_it_is_sealed_fits_the_payload_of_its_message(
    position: int, envelope: Validator, messages: Mapping[str, Any]
) -> None:
    stored = event_at(position)
    record = json.loads(seal(stored, 7, SOURCE))
    envelope.validate(record)
    assert set(record) <= set(topic_contracts.envelope()["properties"]), "every attribute is described"
    if not is_public(stored):
        return
    payload = messages[f"toybox.{stored.type}.v{stored.schema_version}"]["payload"]["allOf"][1]["properties"]
    assert record["type"] == payload["type"]["const"]
    schema = event_contracts.present()[Path(os.path.normpath(FILE.parent / payload["data"]["$ref"]))]
    Validator(json.loads(schema)).validate(record["data"])


@pytest.fixture(scope="module")
def envelope() -> Validator:
    """The judge of everything around an event, itself judged once."""
    schema = topic_contracts.envelope()
    Validator.check_schema(schema)
    return Validator(schema, format_checker=Validator.FORMAT_CHECKER)


@pytest.fixture(scope="module")
def messages() -> Mapping[str, Any]:
    """All messages of the document."""
    return document()["components"]["messages"]


def drop_a_topic(found: dict[str, Any]) -> None:
    del found["channels"]["costs"]


def drop_a_message(found: dict[str, Any]) -> None:
    del found["channels"]["events"]["messages"]["toybox.cost.recorded.v1"]


def repartition(found: dict[str, Any]) -> None:
    found["channels"]["events"]["bindings"]["kafka"]["partitions"] = 24


def compact(found: dict[str, Any]) -> None:
    found["channels"]["events"]["bindings"]["kafka"]["topicConfiguration"]["cleanup.policy"] = ["compact"]


def rekey(found: dict[str, Any]) -> None:
    found["components"]["messages"]["toybox.cost-fact.v1"]["bindings"]["kafka"]["key"]["description"] = "The model."


def rename(found: dict[str, Any]) -> None:
    found["channels"]["events"]["address"] = "toybox.happenings"


def swap_a_payload(found: dict[str, Any]) -> None:
    found["components"]["messages"]["toybox.cost-fact.v1"]["payload"]["$ref"] = "./kafka/other.json"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (drop_a_topic, "the address of costs is gone"),
        (drop_a_message, "toybox.cost.recorded.v1 on events is gone"),
        (repartition, "the number of partitions of events was 12 and is 24"),
        (compact, "the clean-up of events"),
        (rekey, "the key of toybox.cost-fact.v1"),
        (rename, "the address of events was 'toybox.events'"),
        (swap_a_payload, "the payload of toybox.cost-fact.v1"),
    ],
)
def test_a_promise_that_is_taken_back_is_noticed(change: Callable[[dict[str, Any]], None], said: str) -> None:
    found = document()
    changed = copy.deepcopy(found)
    change(changed)
    assert said in "; ".join(breaks(asyncapi(), json.dumps(changed)))


def test_a_new_topic_and_a_new_message_hurt_nobody() -> None:
    older = copy.deepcopy(document())
    drop_a_topic(older)
    drop_a_message(older)
    assert breaks(json.dumps(older), asyncapi()) == []


def test_a_document_that_promises_more_than_the_code_keeps_is_never_written_over(written: Path) -> None:
    published = (written / FILE).read_text().replace("address: toybox.costs", "address: toybox.expenses")
    (written / FILE).write_text(published)
    assert write(written) == []
    [finding] = check(written)
    assert "would break its readers" in str(finding)
    assert (written / FILE).read_text() == published
    assert main(["--check"], written) == 1
    assert main(["--unreleased"], written) == 0


def test_prose_that_changed_is_stale_and_mended(written: Path) -> None:
    (written / FILE).write_text((written / FILE).read_text().replace("Never compacted", "Never ever compacted"))
    assert [str(each.file) for each in check(written)] == [str(FILE)]
    assert write(written) == [FILE]
    assert check(written) == []


@pytest.mark.parametrize("text", ["", "stale", "[]", "channels: {a: 1}\ncomponents: {messages: {}}", "a: [b"])
def test_what_is_no_document_promises_nothing(text: str) -> None:
    assert breaks(text, asyncapi()) == []
