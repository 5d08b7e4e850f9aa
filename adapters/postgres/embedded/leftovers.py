"""Server processes that an earlier toybox could not stop: found by their names, ended before a new start."""

import contextlib
import hashlib
import signal
from pathlib import Path

import psutil

from domain.errors import Unavailable


def cluster_name(cluster: Path) -> str:
    """Stands in the title of every process of the server, which all accounts can read (their folders they cannot)."""
    return f"toybox-{hashlib.sha256(str(cluster).encode(errors='surrogateescape')).hexdigest()[:12]}"


def processes_of(cluster: Path, uid: int) -> list[psutil.Process]:
    title = f"postgres: {cluster_name(cluster)}:"
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.uids().real == uid and process.status() != psutil.STATUS_ZOMBIE:
                words = process.cmdline()
                if words[1:3] == ["-D", str(cluster)] or " ".join(words).startswith(title):
                    found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # it ended while we looked, or is none of ours
    return found


def end_leftovers(cluster: Path, uid: int) -> None:
    """Stops a server that outlived its toybox, and sessions that outlived their server.

    It is stopped, not taken over: only a child can be watched and restarted, and a server that an older toybox
    started may have other settings.
    """
    pid_file = cluster / "postmaster.pid"
    for code, patience in ((signal.SIGINT, 20), (signal.SIGQUIT, 10), (signal.SIGKILL, 5)):
        left = processes_of(cluster, uid)
        if not left:
            break
        if code == signal.SIGINT:
            # a server tells its sessions; a session without one heeds only the harder signals
            left = [process for process in left if str(process.pid) == _first_line(pid_file)]
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(code)
        psutil.wait_procs(left, timeout=patience)
    if left := [process.pid for process in processes_of(cluster, uid)]:
        raise Unavailable(f"Processes of an earlier database server do not end: {left}. End them by hand.")
    # whoever bears the number in this file now is somebody else, whom PostgreSQL would take for a server
    pid_file.unlink(missing_ok=True)


def _first_line(pid_file: Path) -> str:
    try:
        return pid_file.read_text().partition("\n")[0].strip()
    except FileNotFoundError:
        return ""
