"""A toybox to be killed: starts an embedded server, says so in one line of JSON, and waits.

`python -m tests.adapters.embedded.child DATA_DIR attached|orphaned [UID GID]`
"""

import json
import os
import signal
import sys
from pathlib import Path

import psycopg
import psycopg.conninfo

from adapters.postgres.embedded import postmaster
from adapters.postgres.embedded.account import ServerAccount
from adapters.postgres.embedded.binaries import binaries_for


def main(data_dir: Path, kind: str, account: tuple[int, ...]) -> None:
    if kind == "orphaned":
        postmaster._die_with_us = None  # what a system without such a signal leaves behind
    if account:
        uid, gid = account
        # found while we are root: the interpreter may live where the other account cannot go
        binaries = binaries_for(ServerAccount(name="", uid=uid, gid=gid, is_ours=False), data_dir.parent)
        postmaster.binaries_for = lambda *_: binaries
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    server = postmaster.Postmaster(data_dir, {})
    conninfo = server.start()
    with psycopg.connect(conninfo) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (word text)")
        connection.execute("INSERT INTO kept VALUES (%s)", [kind])
    sys.stdout.write(json.dumps({"pid": server.pid, "conninfo": conninfo}) + "\n")
    sys.stdout.flush()
    signal.sigwait([signal.SIGTERM])
    server.stop()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    main(Path(sys.argv[1]), sys.argv[2], tuple(int(word) for word in sys.argv[3:]))
