"""The server that a command talks to: a named one, the data directory's, or one started for this command alone."""

import json
import select
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, cast

from adapters.postgres.embedded import make_data_dir
from domain.errors import NotAllowed, Refused, Unavailable
from toybox.client import Client
from toybox.owner_key import ANOTHER, OwnerKeyFile
from toybox.serving.address import ServerAddress, is_served, live_server
from toybox.settings import Settings
from toybox.terminal.failures import say
from toybox.terminal.output import err

START_SECONDS = 120.0
STOP_SECONDS = 40.0
WORTH_SHOWING = 1.0
"""Seconds after which a wait gets a spinner."""
LOG_NAME = "toybox.log"


@contextmanager
def connected(settings: Settings) -> Generator[Client]:
    """A client for the server of these settings; one that had to be started ends with the command."""
    if settings.url:
        if settings.key is None:
            raise Refused("TOYBOX_URL is set and TOYBOX_KEY is not: set it to an access key", code="key_missing")
        with Client(settings.url, settings.key.get_secret_value(), local=False) as client:
            yield client
        return
    running = _present(settings.address_dir)
    if running:
        with Client(running.url, _key(settings)) as client:
            yield client
        return
    with _temporary(settings) as address, Client(address.url, _key(settings)) as client:
        yield client


def _present(address_dir: Path) -> ServerAddress | None:
    """The server that runs; waited for while it starts."""
    deadline = time.monotonic() + START_SECONDS
    while is_served(address_dir):
        if found := live_server(address_dir):
            return found
        if time.monotonic() > deadline:
            raise Unavailable(f"the server of {address_dir} does not get ready: look at {address_dir / LOG_NAME}")
        time.sleep(0.1)
    return None


def _key(settings: Settings) -> str:
    if settings.key is not None:
        return settings.key.get_secret_value()
    file = OwnerKeyFile.of(settings.data_dir)
    token = file.read()
    if token is None:
        raise NotAllowed(
            f"{file.path} is missing, so this command has no key: set TOYBOX_KEY, or {ANOTHER}", code="key_missing"
        )
    return token


@contextmanager
def _temporary(settings: Settings) -> Generator[ServerAddress]:
    """A server of its own in another process, so that its log, its signals and its pauses are not ours."""
    data_dir = make_data_dir(settings.data_dir)
    home = _home()
    log = data_dir / LOG_NAME
    say(f"no server runs on {data_dir}: starting one for this command (toybox up keeps one running; log: {log})")
    with log.open("ab") as lines:
        log.chmod(0o600)
        process = subprocess.Popen(
            [sys.executable, "-m", "toybox", "--data-dir", data_dir, "up", "--port", "0", "--attached", "--json"],
            cwd=home,  # where `toybox` is importable from, and where no folder of the user's can be mistaken for ours
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=lines,
            start_new_session=True,  # Ctrl-C in the terminal is for this command to answer
        )
    try:
        yield _started(process, log)
    finally:
        _end(process)


def _home() -> Path:
    spec = find_spec("toybox")
    assert spec is not None and spec.origin is not None  # noqa: PT018, S101 -- this is one of its modules
    return Path(spec.origin).parent.parent


def _started(process: "subprocess.Popen[bytes]", log: Path) -> ServerAddress:
    stdout = cast("IO[bytes]", process.stdout)
    with err().status("starting …"):
        in_time, _, _ = select.select([stdout], [], [], START_SECONDS)
    said = _json(stdout.readline()) if in_time else {}
    if "url" in said:
        return ServerAddress.model_validate(said)
    if "error" in said:
        raise Unavailable(str(said["error"]), code=str(said.get("code") or "") or None)
    raise Unavailable(f"the server did not start; its last words are in {log}", code="not_started")


def _json(line: bytes) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", json.loads(line))
    except ValueError:
        return {}


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Let go of it: it lets model calls in flight end and stops. Asked twice, it does not wait for them."""
    cast("IO[bytes]", process.stdin).close()
    try:
        try:
            process.wait(WORTH_SHOWING)
        except subprocess.TimeoutExpired:
            with err().status("stopping the server: calls to models that are under way may end …"):
                process.wait(STOP_SECONDS)
    except (KeyboardInterrupt, subprocess.TimeoutExpired):
        process.terminate()
        process.wait(STOP_SECONDS)
    finally:
        if process.stdout:
            process.stdout.close()
