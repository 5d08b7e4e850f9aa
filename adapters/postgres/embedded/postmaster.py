"""The server process: prepared, launched, watched over and stopped, without an event loop."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from adapters.postgres.embedded.account import server_account
from adapters.postgres.embedded.binaries import binaries_for
from adapters.postgres.embedded.cluster import ENVIRONMENT, ROLE, Cluster
from adapters.postgres.embedded.folders import DataDirLock, RunFolder, make_data_dir, require_reachable
from adapters.postgres.embedded.leftovers import cluster_name, end_leftovers
from domain.errors import Unavailable

DATABASE = "toybox"
START_TIMEOUT = 120.0  # a crash recovery reads up to max_wal_size
STOP_TIMEOUT = 30.0
LOG_LIMIT = 10 * 1024 * 1024
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "port": "5432",  # part of the socket's name, nothing listens on it
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "64MB",  # the operating system caches the rest; the bar for both at idle is 400 MB
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_checkpoints": "off",  # a line each five minutes that nobody asked for
    "log_min_error_statement": "panic",  # statements carry the users' text
}


class Postmaster:
    """The sync half of the embedded server: every call may block, none needs a loop."""

    def __init__(self, data_dir: Path, settings: Mapping[str, str]) -> None:
        self._data_dir = data_dir
        self._settings = settings
        self._prepared = False
        self._process: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """All that takes time before a launch: the lock, the leftovers of a crash, `initdb`, the rules of access."""
        self.require_stopped()
        data_dir = self._data_dir = make_data_dir(self._data_dir)
        self._lock, self._cluster, self._run = DataDirLock(data_dir), Cluster(data_dir), RunFolder(data_dir)
        self._lock.acquire()
        try:
            self._account = server_account(self._cluster.path)
            require_reachable(data_dir, self._account)
            self._binaries = binaries_for(self._account, data_dir)
            self.clear_up()
            self._cluster.make(self._binaries, self._account)
            if not self._account.is_ours:
                self._cluster.ensure_password(self._binaries, self._account)
            self._run.make(self._account, self._cluster.access_rules(self._account))
        except BaseException:  # interrupted or not: nobody else would let go of the folder
            self._lock.release()
            raise
        self._prepared = True

    def clear_up(self) -> None:
        """After the death of a server its sessions, its socket and its pid file may be left."""
        end_leftovers(self._cluster.path, self._account.uid)
        self._run.remove_sockets()

    def launch(self) -> None:
        """Call it in a thread that lives as long as the server is wanted: on Linux the server ends with that thread."""
        rotate(self.log_file)
        self._log_start = self.log_file.stat().st_size if self.log_file.exists() else 0
        log = os.open(self.log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self._cluster.path, *self._options()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=ENVIRONMENT,
                start_new_session=True,  # Ctrl-C in the terminal is for toybox to answer
                preexec_fn=_die_with_us,  # noqa: PLW1509 - one call into libc that takes no lock
                **self._account.credentials,
            )
        finally:
            os.close(log)

    def is_ready(self) -> bool:
        """Asks the file that the server keeps for this question: attempts to connect would fill the log."""
        if not self.is_running:
            raise Unavailable(
                f"The embedded PostgreSQL did not start: {self._last_words()} (all of it: {self.log_file})"
            )
        try:
            lines = (self._cluster.path / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    def ensure_database(self) -> None:
        """Also the proof that a connection works, rules of access and password included."""
        import psycopg

        try:
            with psycopg.connect(self.conninfo(database="postgres"), autocommit=True) as connection:
                if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'toybox'").fetchone():
                    connection.execute("CREATE DATABASE toybox")
        except psycopg.OperationalError as error:
            raise Unavailable(
                f"The embedded PostgreSQL runs but lets nobody in: {error}. If it refuses the password, stop toybox "
                f"and delete {self._cluster.password_file}: the next start makes a new one."
            ) from error

    def start(self) -> str:
        """The whole start for callers without a loop."""
        self.prepare()
        try:
            self.launch()
            deadline = time.monotonic() + START_TIMEOUT
            while not self.is_ready():
                if time.monotonic() > deadline:
                    raise self.too_slow()
                time.sleep(0.01)
            self.ensure_database()
        except BaseException:  # interrupted or not: no server may stay that nobody knows of
            self.stop()
            raise
        return self.conninfo()

    def stop(self) -> None:
        """Fast shutdown: sessions are rolled back, the cluster is left clean. Stopping twice is harmless."""
        if not self._prepared:
            return
        self._prepared = False
        if self._process is not None:
            for code in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
                if self.is_running:
                    self._process.send_signal(code)
                try:
                    self._process.wait(STOP_TIMEOUT)
                    break
                except subprocess.TimeoutExpired:
                    continue
            self._process = None
        self._run.remove()
        self._lock.release()

    def conninfo(self, database: str = DATABASE) -> str:
        from psycopg.conninfo import make_conninfo

        self.require_prepared()
        password = {} if self._account.is_ours else {"passfile": str(self._cluster.password_file)}
        return make_conninfo("", host=str(self._run.path), port=5432, user=ROLE, dbname=database, **password)

    def too_slow(self) -> Unavailable:
        return Unavailable(
            f"The embedded PostgreSQL is not ready after {START_TIMEOUT:.0f} s: {self._last_words()} ({self.log_file})"
        )

    def require_prepared(self) -> None:
        if not self._prepared:
            raise Unavailable("The embedded PostgreSQL is not started: call start() first")

    def require_stopped(self) -> None:
        if self._prepared:
            raise Unavailable("This embedded PostgreSQL is already started: stop it first")

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def log_file(self) -> Path:
        return self._data_dir / "postgres.log"

    def _options(self) -> list[str]:
        socket_folder = str(self._run.path).replace('"', '""')
        settings = {
            **SETTINGS,
            **self._settings,
            "cluster_name": cluster_name(self._cluster.path),
            "hba_file": str(self._run.path / "pg_hba.conf"),
            "ident_file": str(self._run.path / "pg_ident.conf"),
            "unix_socket_directories": f'"{socket_folder}"',
        }
        return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]

    def _last_words(self) -> str:
        with self.log_file.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read(65536).decode(errors="replace").strip().splitlines()
        return " ".join(lines[-3:]) or "it said nothing"


def rotate(log_file: Path) -> None:
    """The server holds the file open for appending: what is old is copied away and the file cut to nothing."""
    if log_file.exists() and log_file.stat().st_size > LOG_LIMIT:
        shutil.copy(log_file, log_file.with_suffix(".log.1"))
        os.truncate(log_file, 0)


def _death_with_parent() -> Callable[[], None] | None:
    """Asks the kernel to shut the server down when we are gone; elsewhere the next start stops what is left."""
    if sys.platform != "linux":
        return None
    prctl, set_parent_death_signal = ctypes.CDLL(None).prctl, 1
    return lambda: prctl(set_parent_death_signal, int(signal.SIGINT))


_die_with_us = _death_with_parent()
