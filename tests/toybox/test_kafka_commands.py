"""`toybox kafka`: topics made and checked on a real broker, and one line when there is none."""

import asyncio
import json
from collections.abc import Iterator

import pytest

from adapters.kafka.connecting import Cluster
from adapters.kafka.topics import KafkaTopics
from domain.relaying import TopicFacts
from streams.topics import Topics
from tests.support.kafka_broker import free_ports
from toybox import cli
from toybox.terminal.failures import Exit
from toybox.terminal.output import forget_consoles


@pytest.fixture(autouse=True)
def consoles() -> Iterator[None]:
    """Each test reads what it printed itself."""
    forget_consoles()
    yield
    forget_consoles()


@pytest.fixture
def named(kafka_server: str, kafka_prefix: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A broker in the settings; the prefix of this test's topics."""
    monkeypatch.setenv("TOYBOX_KAFKA", kafka_server)
    monkeypatch.setenv("TOYBOX_KAFKA_PREFIX", kafka_prefix)
    return kafka_prefix


def test_topics_are_made_once_and_found_in_order(named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["kafka", "check", "--json"]) == Exit.FAILED
    missing = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {each["found"] for each in missing} == {"missing"}
    assert {each["fatal"] for each in missing} == {True}
    assert {each["remedy"] for each in missing} == {"make it: toybox kafka init"}
    assert cli.run(["kafka", "init", "--json"]) == Exit.OK
    made = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["topic"] for each in made] == [each.name for each in Topics.named(named)]
    assert all(each["made"] for each in made)
    assert cli.run(["kafka", "init"]) == Exit.OK
    assert f"{named}.events: there" in capsys.readouterr().out
    assert cli.run(["kafka", "check"]) == Exit.OK
    assert "as they should be" in capsys.readouterr().out


def test_a_topic_that_would_lose_events_is_fatal_and_one_that_could_be_better_is_not(
    named: str, kafka_server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    topics = Topics.named(named)
    tight = {**topics.dead_letters.facts(1).settings, "max.message.bytes": "1000"}
    asyncio.run(KafkaTopics(Cluster(kafka_server)).create([TopicFacts(topics.dead_letters.name, 1, 1, tight)]))
    assert cli.run(["kafka", "init"]) == Exit.OK
    assert cli.run(["kafka", "check"]) == Exit.OK
    said = capsys.readouterr().out
    assert f"advice   {named}.dead-letters: max.message.bytes is 1000" in said
    assert "set it: kafka-configs --alter" in said


def test_too_few_partitions_are_fatal(named: str, kafka_server: str, capsys: pytest.CaptureFixture[str]) -> None:
    topics = Topics.named(named)
    few = TopicFacts(topics.events.name, 3, 1, topics.events.facts(1).settings)
    asyncio.run(KafkaTopics(Cluster(kafka_server)).create([few]))
    assert cli.run(["kafka", "init"]) == Exit.OK
    assert cli.run(["kafka", "check"]) == Exit.FAILED
    assert f"fatal    {named}.events: partitions is 3, not 12: keys would move" in capsys.readouterr().out


def test_a_broker_that_is_away_is_told_in_one_line(loopback: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["kafka", "check", "--kafka", f"{loopback}:{free_ports(1)[0]}"]) == Exit.UNAVAILABLE
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 1, said
    assert "nobody answers at 127.0.0.1" in said[0]
