"""Roles as processes of their own on a real PostgreSQL and a real Kafka: what happens in one of them is in Kafka."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from domain.kernel import EVENT_TYPES
from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_reading import committed, complaints
from tests.toybox.programs import Toybox, ended, listening, wait_for
from toybox.inventory import load

pytestmark = pytest.mark.process


class Installation:
    """Processes that share a data directory, a database and a broker."""

    def __init__(self, folder: Path, database: str, kafka: str, prefix: str) -> None:
        self.program = Toybox(folder)
        self.database, self.kafka, self.topic = database, kafka, f"{prefix}.events"
        self.environment = {
            "TOYBOX_DATABASE_URL": database,
            "TOYBOX_KAFKA": kafka,
            "TOYBOX_KAFKA_PREFIX": prefix,
            "TOYBOX_PROBE_PORT": "0",
        }

    @contextmanager
    def running(self, *roles: str) -> Iterator[str]:
        """One process with these roles; the address that it answers at."""
        chosen = [word for role in roles for word in ("--role", role)]
        log = self.program.data_dir.parent / f"{'-'.join(roles)}.log"
        with (
            log.open("a") as lines,
            self.program.started(
                "up", "--port", "0", "--json", *chosen, log=lines, environment=self.environment
            ) as process,
        ):
            said = json.loads(listening(process, "roles").splitlines()[-1])
            assert said["roles"] == sorted(roles), log.read_text()
            yield said["url"]
            ended(process, signal.SIGTERM)
            assert process.returncode == 0, log.read_text()

    def __call__(self, *words: str, code: int = 0) -> str:
        """A command of a person; what it printed."""
        return self.program(*words, code=code, **self.environment).out

    def public_positions(self) -> list[int]:
        """What Kafka must hold."""
        load()
        with psycopg.connect(self.database) as connection:
            rows = connection.execute("select position, type from events order by position").fetchall()
        return [position for position, kind in rows if not EVENT_TYPES[kind].PRIVATE]

    def relayed(self, url: str) -> bool:
        """Whether the relay says that everything is out."""
        answer = httpx.get(f"{url}/ready", timeout=10)
        return answer.status_code == 200 and answer.json()["relay"]["lag"] == 0

    def asked(self, url: str, path: str) -> httpx.Response:
        """An answer for the owner."""
        key = (self.program.data_dir / "owner.key").read_text().strip()
        return httpx.get(f"{url}{path}", headers={"Authorization": f"Bearer {key}"}, timeout=10)

    def metrics(self, url: str) -> str:
        """What Prometheus is told."""
        return self.asked(url, "/metrics").text


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
        assert httpx.get(f"{all_in_one}/ready", timeout=10).json()["status"] == "ready"
        assert not complaints(committed(kafka_to_break.address, installation.topic), installation.public_positions())
