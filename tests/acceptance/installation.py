"""Roles of toybox as processes of their own, that share a data directory, a database and, if it has one, a broker."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg

from domain.kernel import EVENT_TYPES
from tests.toybox.programs import Toybox, ended, listening
from toybox.inventory import load


class Installation:
    """Processes that share a data directory, a database and a broker."""

    def __init__(self, folder: Path, database: str, kafka: str | None = None, prefix: str = "toybox") -> None:
        self.program = Toybox(folder)
        self.database, self.kafka, self.topic = database, kafka, f"{prefix}.events"
        self.environment = {"TOYBOX_DATABASE_URL": database, "TOYBOX_PROBE_PORT": "0"}
        if kafka:
            self.environment |= {"TOYBOX_KAFKA": kafka, "TOYBOX_KAFKA_PREFIX": prefix}

    @contextmanager
    def running(self, *roles: str) -> Iterator[str]:
        """One process with these roles; the address that it answers at."""
        with self.process(*roles) as running:
            assert running.roles == sorted(roles)
            yield running.url

    @contextmanager
    def process(self, *roles: str, name: str = "", **environment: str) -> Iterator["Running"]:
        """One process, which must end cleanly when it is asked to, unless it was killed before."""
        chosen = [word for role in roles for word in ("--role", role)]
        log = self.program.data_dir.parent / f"{name or '-'.join(roles) or 'all'}.log"
        with (
            log.open("a") as lines,
            self.program.started(
                "up", "--port", "0", "--json", *chosen, log=lines, environment=self.environment | environment
            ) as process,
        ):
            said = json.loads(listening(process, "roles").splitlines()[-1])
            running = Running(process, said["url"], said["roles"])
            yield running
            if not running.killed:
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


@dataclass
class Running:
    """A process that has said that it is ready."""

    process: "subprocess.Popen[str]"
    url: str
    roles: list[str]
    killed: bool = False

    def kill(self) -> None:
        """Kill -9."""
        self.process.kill()
        self.process.wait()
        self.killed = True
