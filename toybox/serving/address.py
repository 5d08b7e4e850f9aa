"""One data directory, one server: the lock that says so, and the file that tells others where it listens."""

import fcntl
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from adapters.durable_files import PRIVATE_FILE, sync_folder
from domain.errors import Unavailable
from domain.values import Instant

LOCK_NAME = "server.lock"
FILE_NAME = "server.json"
PATIENCE = 1.0
"""Seconds to wait for the lock: somebody who only asks whether a server runs holds it for a moment."""


class ServerAddress(BaseModel):
    """Where a running server listens, and what it does."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    url: str
    pid: int
    started_at: Instant
    roles: list[str]
    version: str

    def write(self, data_dir: Path) -> None:
        """Put the file in place whole: nobody ever reads half an address."""
        beside = data_dir / f"{FILE_NAME}.{os.getpid()}"
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(self.model_dump_json(indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(data_dir / FILE_NAME)
        sync_folder(data_dir)

    @classmethod
    def read(cls, data_dir: Path) -> Self | None:
        """What the file says, true or stale; None where there is none, or nothing readable in it."""
        try:
            return cls.model_validate_json((data_dir / FILE_NAME).read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValidationError):
            return None
        except PermissionError as error:
            raise Unavailable(
                f"{data_dir / FILE_NAME} cannot be read by this account: run toybox as the account that runs the "
                f"server, or name the server and a key with TOYBOX_URL and TOYBOX_KEY",
                code="data_dir_unreadable",
            ) from error


@dataclass(slots=True)
class ServerLock:
    """Held by the process that serves HTTP for a data directory; let go by the kernel when that dies."""

    data_dir: Path
    _descriptor: int | None = None

    def acquire(self) -> None:
        """Unavailable, with the other's address, while another process serves this directory."""
        descriptor = os.open(self.data_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
        deadline = time.monotonic() + PATIENCE
        while not _locked(descriptor):
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise _taken(self.data_dir)
            time.sleep(0.05)
        self._descriptor = descriptor
        (self.data_dir / FILE_NAME).unlink(missing_ok=True)  # left by one that was killed

    def release(self) -> None:
        """Take the address away and let the next one in."""
        if self._descriptor is not None:
            (self.data_dir / FILE_NAME).unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def is_served(data_dir: Path) -> bool:
    """Whether a process serves this directory, ready or still starting."""
    try:
        descriptor = os.open(data_dir / LOCK_NAME, os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except PermissionError:
        return ServerAddress.read(data_dir) is not None
    try:
        return not _locked(descriptor)
    finally:
        os.close(descriptor)


def live_server(data_dir: Path) -> ServerAddress | None:
    """The server of this directory, once it is ready; a file without a process behind it does not count."""
    return ServerAddress.read(data_dir) if is_served(data_dir) else None


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _taken(data_dir: Path) -> Unavailable:
    other = ServerAddress.read(data_dir)
    where = f"at {other.url} (process {other.pid})" if other else "and is still starting"
    return Unavailable(
        f"a server runs on {data_dir} already, {where}: use it, stop it, or choose another data directory "
        f"(toybox --data-dir DIR up)",
        code="already_running",
    )
