"""`toybox trace-event`: an event's way as a table and as JSON, and what is told of positions that are none."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.kafka_reading import committed
from tests.toybox.programs import Toybox, wait_for
from toybox import cli
from toybox.terminal.failures import Exit
from toybox.terminal.output import forget_consoles

pytestmark = pytest.mark.process


def test_an_events_way_is_shown_as_a_table_and_as_json(served: Toybox) -> None:
    served("run", str(served.blueprint), "--name", "traced", "--approve", "auto")
    events = served("replay", "traced", "--json").json[:-1]
    begun = next(each for each in events if each["type"] == "project.started")
    said = served("trace-event", str(begun["position"]))
    assert said.out.splitlines()[0].endswith(": project.started")
    lines = said.out.splitlines()
    assert any(line.startswith("log ") and "recorded" in line for line in lines)
    assert any(line.startswith("Kafka ") and "not relayed" in line and "TOYBOX_KAFKA" in line for line in lines)
    assert any(line.startswith("view project_overviews v") and "applied" in line for line in lines)
    assert any(line.startswith("reaction ") and "answered" in line for line in lines)
    assert any("agent.ready" in line for line in lines)
    told = served("trace-event", str(begun["position"]), "--json").json
    assert len(told) == 1
    assert told[0]["recorded"]["type"] == "project.started"
    assert {each["status"] for each in told[0]["views"]} <= {"applied", "not_read"}
    assert all(each["exact"] for each in told[0]["views"] if each["status"] == "applied")
    assert {each["status"] for each in told[0]["reactions"]} == {"answered"}


class OnKafka(Toybox):
    """The program with a Kafka named by the environment."""

    def __init__(self, folder: Path, address: str, prefix: str) -> None:
        super().__init__(folder)
        self.named = {"TOYBOX_KAFKA": address, "TOYBOX_KAFKA_PREFIX": prefix}

    def environment(self, **more: str) -> dict[str, str]:
        return super().environment(**self.named, **more)


def test_the_place_in_kafka_is_where_a_consumer_finds_the_event(
    data_home: Path, kafka_server: str, kafka_prefix: str
) -> None:
    program = OnKafka(data_home, kafka_server, kafka_prefix)
    with program.up():
        program("run", str(program.blueprint), "--name", "sent", "--approve", "auto")
        last = program("replay", "sent", "--json").json[-2]["position"]

        def relayed() -> dict[str, Any]:
            return program("trace-event", str(last), "--json").json[0]["relayed"]

        wait_for(lambda: relayed()["at"] is not None)
        told = relayed()
        said = program("trace-event", str(last)).out
    found = {each.position: each for each in committed(kafka_server, f"{kafka_prefix}.events")}[last]
    assert (told["topic"], told["status"]) == (f"{kafka_prefix}.events", "relayed")
    assert (told["partition"], told["offset"]) == (found.partition, found.offset)
    assert f"{kafka_prefix}.events, partition {found.partition}, offset {found.offset}" in said


def test_a_position_beyond_the_head_is_told_with_the_head(served: Toybox) -> None:
    said = served("trace-event", "987654321", code=3)
    assert "there is no event 987654321: the log's head is" in said.last_words


@pytest.mark.parametrize("position", ["0", "first", "--json"])
def test_what_is_no_position_is_wrong_usage(position: str, capsys: pytest.CaptureFixture[str]) -> None:
    forget_consoles()
    assert cli.run(["trace-event", position]) == Exit.USAGE
    assert "POSITION" in capsys.readouterr().err
