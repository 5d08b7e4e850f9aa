"""Roles as processes of their own on a real PostgreSQL and a real Kafka: what happens in one of them is in Kafka."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.installation import Installation
from tests.support.kafka_broker import KafkaBroker, free_ports
from tests.support.kafka_reading import committed, complaints
from tests.toybox.programs import wait_for

pytestmark = pytest.mark.process


def test_what_the_api_and_the_workers_do_is_in_kafka_once_and_in_order(
    data_home: Path, database: str, kafka_server: str, kafka_prefix: str
) -> None:
    installation = Installation(data_home, database, kafka_server, kafka_prefix)
    with (
        installation.running("api", "projector") as api,
        installation.running("worker"),
        installation.running("relay") as relay,
    ):
        assert installation.asked(relay, "/api/projects").status_code == 404  # it answers probes alone
        installation("run", str(installation.program.blueprint))
        wait_for(lambda: installation.relayed(relay))
        expected = installation.public_positions()
        assert len(expected) > 20
        found = committed(kafka_server, installation.topic)
        assert not complaints(found, expected)
        assert {"project.completed", "budget.opened"} & {each.arrived().event.type for each in found}
        shown = installation.metrics(relay)
        assert 'toybox_relay_phase{phase="relaying"} 1.0' in shown
        assert "toybox_relay_lag_events 0.0" in shown
        assert f"toybox_relay_events_total {len(expected)}.0" in shown
        assert "toybox_relay_phase" not in "".join(
            line for line in installation.metrics(api).splitlines() if line.endswith(" 1.0")
        )
        assert "all 6 topics" in installation("kafka", "check")
        found_by_doctor = {
            each["what"]: each for each in map(json.loads, installation("doctor", "--json").splitlines())
        }
        assert {found_by_doctor[what]["level"] for what in ("kafka", "topics", "relay")} == {"ok"}
        assert 'toybox_kafka_duty_phase{duty="products",phase="publishing"} 1.0' in shown
        assert committed(kafka_server, f"{kafka_prefix}.projects.state")


def test_a_broker_that_is_away_leaves_the_api_ready_and_is_told_everywhere(
    data_home: Path, database: str, kafka_to_break: KafkaBroker
) -> None:
    installation = Installation(data_home, database, kafka_to_break.address, "away")
    with installation.running("api", "projector", "worker", "relay") as all_in_one:
        wait_for(lambda: installation.relayed(all_in_one))
        kafka_to_break.kill()
        installation("run", str(installation.program.blueprint))
        with installation.running("relay") as alone:
            wait_for(lambda: httpx.get(f"{all_in_one}/ready", timeout=10).json()["status"] == "degraded")
            answer = httpx.get(f"{all_in_one}/ready", timeout=10)
            assert answer.status_code == 200
            alarm = answer.json()["relay"]["alarm"]
            assert (alarm["code"], alarm["halted"]) == ("broker_away", False)
            assert "TOYBOX_KAFKA" in alarm["text"]
            assert 'toybox_relay_alarm{code="broker_away",halted="false"} 1.0' in installation.metrics(all_in_one)
            found = {
                each["what"]: each for each in map(json.loads, installation("doctor", "--json", code=1).splitlines())
            }
            assert found["kafka"]["level"] == "problem"
            assert found["relay process"]["level"] == "warning"
            assert httpx.get(f"{alone}/health", timeout=10).status_code == 200
        kafka_to_break.start()
        wait_for(lambda: installation.relayed(all_in_one))
        wait_for(lambda: httpx.get(f"{all_in_one}/ready", timeout=10).json()["status"] == "ready")
        assert not complaints(committed(kafka_to_break.address, installation.topic), installation.public_positions())


def test_a_broker_that_was_never_there_keeps_nobody_from_starting(data_home: Path, database: str) -> None:
    nowhere = f"127.0.0.1:{free_ports(1)[0]}"
    installation = Installation(data_home, database, nowhere)
    with installation.process("all", name="alone", TOYBOX_FOLLOW="kafka") as alone:
        assert installation.asked(alone.url, "/api/projects").json()["items"] == []
        assert installation.asked(alone.url, "/api/auth/keys").json()["items"]  # of private events: they need no Kafka
        wait_for(lambda: httpx.get(f"{alone.url}/ready", timeout=10).json()["status"] == "degraded")
        for name in ("relay", "products", "views", "reactions"):
            wait_for(lambda name=name: _alarm(alone.url, name) is not None)
        ringing = [_alarm(alone.url, name) or {} for name in ("relay", "products", "views", "reactions")]
        assert all("TOYBOX_KAFKA" in each["text"] for each in ringing), ringing
        found = {each["what"]: each for each in map(json.loads, installation("doctor", "--json", code=1).splitlines())}
        assert found["kafka"]["level"] == "problem"
        assert {found[what]["level"] for what in ("views on Kafka", "reactions on Kafka", "state products")} == {
            "warning"
        }


def _alarm(url: str, name: str) -> dict[str, Any] | None:
    return httpx.get(f"{url}/ready", timeout=10).json()[name]["alarm"]
