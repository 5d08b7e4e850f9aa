"""Where the embedded server keeps its files, and what may be said about folders that are not ours: nothing."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from adapters.postgres.embedded.account import ServerAccount
from domain.errors import Unavailable

SOCKET = ".s.PGSQL.5432"
LONGEST_SOCKET_PATH = 103  # macOS; Linux takes 107


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """For root it lies where an unprivileged server can get at it, which root's home is not."""
    if os.geteuid() == 0:
        return Path("/var/lib/toybox")
    data_home = environ.get("XDG_DATA_HOME", "")
    return (Path(data_home) if data_home.startswith("/") else Path.home() / ".local" / "share") / "toybox"


def make_data_dir(data_dir: Path) -> Path:
    """Nobody else can list it; root's can be passed through by the account the server runs as."""
    try:
        data_dir.parent.mkdir(parents=True, exist_ok=True)
        data_dir.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, exist_ok=True)
    except OSError as error:
        raise Unavailable(
            f"The data directory {data_dir} cannot be made ({error.strerror}): choose another one."
        ) from error
    return data_dir.resolve()


def require_reachable(folder: Path, account: ServerAccount) -> None:
    for step in reversed([folder, *folder.parents]):
        if not account.may_enter(step):
            raise Unavailable(
                f"toybox runs as root, so its PostgreSQL runs as {account.name}, who may not enter {step}. "
                f"Choose a data directory elsewhere (such as /var/lib/toybox), run toybox as a normal user, "
                f"or allow it: chmod o+x '{step}'"
            )


class DataDirLock:
    """One data directory, one server: held by the process that runs it, let go by the kernel when that dies."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "postgres.lock"
        self._descriptor: int | None = None

    def acquire(self) -> None:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode() or "unknown"
            os.close(descriptor)
            raise Unavailable(
                f"The data directory {self._path.parent} is in use by another toybox (process {holder}). "
                f"Use that one, stop it, or choose another data directory."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class RunFolder:
    """The private folder of the socket and of the rules of access, made at each start and gone after each stop."""

    def __init__(self, data_dir: Path) -> None:
        self._entry = data_dir / "postgres.run"
        self.path = self._entry

    def make(self, account: ServerAccount, rules: Mapping[str, str]) -> None:
        self.remove()
        if _fits_a_socket(self._entry):
            self._entry.mkdir(mode=0o700)
            self.path = self._entry
        else:
            self.path = _short_folder(account)
            self._entry.symlink_to(self.path)  # so that the next start finds and removes it after a crash
        for name, text in rules.items():
            file = self.path / name
            file.write_text(text, encoding="utf-8")
            file.chmod(0o644)
        account.give(self.path)  # last: while we write as root, nobody else can put a link in our way

    def remove_sockets(self) -> None:
        for file in self.path.glob(f"{SOCKET}*"):
            file.unlink(missing_ok=True)

    def remove(self) -> None:
        if self._entry.is_symlink():
            target = self._entry.readlink()
            if target.name.startswith("toybox-"):
                shutil.rmtree(target, ignore_errors=True)
            self._entry.unlink()
        elif self._entry.exists():
            shutil.rmtree(self._entry)


def _fits_a_socket(folder: Path) -> bool:
    # libpq reads a comma in a host as the end of one host and the start of the next
    return len(os.fsencode(folder / SOCKET)) <= LONGEST_SOCKET_PATH and "," not in str(folder)


def _short_folder(account: ServerAccount) -> Path:
    for parent in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 - mkdtemp makes a private folder in it
        reachable = all(account.may_enter(step) for step in (parent, *parent.parents))
        if reachable and _fits_a_socket(parent / "toybox-12345678"):
            return Path(tempfile.mkdtemp(prefix="toybox-", dir=parent))
    raise Unavailable(
        "The paths of the data directory and of the temporary folder are too long for a socket: set TMPDIR"
    )
