"""The database cluster on disk: made by `initdb`, entered by peer or password, never by trust."""

import os
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

from adapters.postgres.embedded.account import ServerAccount
from domain.errors import Unavailable

ROLE = "toybox"
ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath}  # nothing of ours: our environment holds keys


class Cluster:
    """The folder `postgres` of the data directory and the password file beside it."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self.path = data_dir / "postgres"
        self.password_file = data_dir / "postgres.pgpass"

    def make(self, binaries: Path, account: ServerAccount) -> None:
        """An interrupted `initdb` leaves nothing that could be taken for a cluster: the last step is a rename."""
        for leftover in self._data_dir.glob("postgres.new-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        if (self.path / "PG_VERSION").exists():
            self._require_same_version(binaries)
            return
        self.password_file.unlink(missing_ok=True)
        staging = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=self._data_dir))
        account.give(staging)
        self._run(
            [
                binaries / "initdb",
                *("--pgdata", staging, "--username", ROLE, "--auth-local=peer", "--auth-host=reject"),
                *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                *("--data-checksums", "--no-instructions"),
            ],
            account,
        )
        staging.rename(self.path)
        _sync_folder(self._data_dir)

    def ensure_password(self, binaries: Path, account: ServerAccount) -> None:
        """Also for a cluster that another account made, or whose password was lost; no server may be running."""
        if self.password_file.exists():
            return
        password = secrets.token_hex(32)
        said = self._run(
            [binaries / "postgres", "--single", "-D", self.path, "-c", "log_min_error_statement=panic", "postgres"],
            account,
            typed=f"ALTER ROLE {ROLE} PASSWORD '{password}'\n",
        )
        if "ERROR" in said:
            raise Unavailable(f"PostgreSQL took no password for its role {ROLE}: {said}")
        staging = self.password_file.with_suffix(".new")
        staging.unlink(missing_ok=True)
        with os.fdopen(os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"*:*:*:{ROLE}:{password}\n")
            file.flush()
            os.fsync(file.fileno())
        staging.rename(self.password_file)
        _sync_folder(self._data_dir)

    def access_rules(self, account: ServerAccount) -> dict[str, str]:
        """Peer proves our account to a server of the same account; another account's asks for the password."""
        method = "peer map=toybox" if account.is_ours else "scram-sha-256"
        return {
            "pg_hba.conf": f"local  all          {ROLE}  {method}\nlocal  replication  {ROLE}  {method}\n",
            "pg_ident.conf": f'toybox  "{account.name}"  {ROLE}\n',
        }

    def _require_same_version(self, binaries: Path) -> None:
        kept = (self.path / "PG_VERSION").read_text().strip()
        said = subprocess.run([binaries / "postgres", "--version"], check=True, capture_output=True, text=True).stdout
        runs = said.split()[-1].partition(".")[0]
        if kept != runs:
            raise Unavailable(
                f"The database in {self.path} was written by PostgreSQL {kept}, the installed one is {runs}. "
                f"Install the toybox that wrote it, export, and import with this one; or choose another data directory."
            )

    def _run(self, command: list[str | Path], account: ServerAccount, typed: str = "") -> str:
        result = subprocess.run(
            command,
            input=typed,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            cwd="/",
            env=ENVIRONMENT,
            start_new_session=True,  # Ctrl-C in the terminal is for toybox to answer
            **account.credentials,
        )
        if result.returncode != 0:
            last_words = " ".join(result.stdout.strip().splitlines()[-3:])
            raise Unavailable(
                f"{Path(command[0]).name} failed in {self._data_dir}: {last_words} "
                f"Mend that (is the disk full?), or point TOYBOX_DATABASE_URL at a server."
            )
        return result.stdout


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
