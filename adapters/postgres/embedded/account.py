"""Which account of the machine the embedded server runs as: ours, or an unprivileged one when we are root."""

import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from domain.errors import Unavailable

UNPRIVILEGED = ("postgres", "nobody")  # in order of preference; initdb wants an account that has a name


class Credentials(TypedDict, total=False):
    """The arguments of `subprocess` that make a child another account's."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, slots=True)
class ServerAccount:
    """The account that owns the cluster and runs the server."""

    name: str
    uid: int
    gid: int
    is_ours: bool

    @property
    def credentials(self) -> Credentials:
        return {} if self.is_ours else {"user": self.uid, "group": self.gid, "extra_groups": []}

    def give(self, path: Path) -> None:
        """Hands one of our own files or folders to the server."""
        if not self.is_ours:
            os.chown(path, self.uid, self.gid)

    def may_enter(self, folder: Path) -> bool:
        status = folder.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & 0o100)
        return bool(status.st_mode & (0o010 if status.st_gid == self.gid else 0o001))


def server_account(cluster: Path) -> ServerAccount:
    """An existing cluster keeps its owner: PostgreSQL refuses files that belong to anybody else."""
    us = os.geteuid()
    owner = cluster.stat().st_uid if (cluster / "PG_VERSION").exists() else None
    if us != 0:
        if owner not in (None, us):
            raise Unavailable(
                f"The database in {cluster} belongs to user id {owner}, and toybox runs as {us}. "
                f"Start toybox as that user, or choose another data directory."
            )
        return _account(_named(us), is_ours=True)
    if owner == 0:
        raise Unavailable(
            f"The database in {cluster} belongs to root, and PostgreSQL never runs as root. "
            f"Give it to an account that may: chown -R {_unprivileged().pw_name} '{cluster}'"
        )
    return _account(_named(owner) if owner is not None else _unprivileged(), is_ours=False)


def _account(entry: pwd.struct_passwd, *, is_ours: bool) -> ServerAccount:
    return ServerAccount(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid, is_ours=is_ours)


def _named(uid: int) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        raise Unavailable(
            f"User id {uid} has no name on this machine, and PostgreSQL needs one. "
            f"Add it to /etc/passwd, or point TOYBOX_DATABASE_URL at a server."
        ) from None


def _unprivileged() -> pwd.struct_passwd:
    for name in UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise Unavailable(
        "PostgreSQL never runs as root, and this machine has no account to run it as. "
        "Create one (useradd --system postgres), start toybox as a normal user, or set TOYBOX_DATABASE_URL."
    )
