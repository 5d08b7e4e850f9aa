"""HTTP for one process: a socket taken before anything is started, and uvicorn on it until it is told to stop."""

import errno
import ipaddress
import socket
from collections.abc import Callable
from typing import Any

import uvicorn

from domain.errors import Refused, Unavailable

GRACE_SECONDS = 5
"""How long answers in progress may take once the server stops."""
BACKLOG = 2048


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket bound to the address; taken first, so that a port in use is told before the database is started."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError) as error:
        raise Refused(f"{host!r} is no address of this machine: use --host 127.0.0.1", code="invalid_host") from error
    bound = socket.socket(family, kind, protocol)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise _unusable(host, port, error) from error
    return bound


def _unusable(host: str, port: int, error: OSError) -> Unavailable:
    match error.errno:
        case errno.EADDRINUSE:
            said = f"port {port} on {host} is in use by another program: choose another one, for instance "
            return Unavailable(said + "toybox up --port 0 (any free port)", code="port_in_use")
        case errno.EACCES:
            said = f"port {port} needs rights that this account lacks: choose one above 1023, for instance --port 8420"
            return Unavailable(said, code="port_not_allowed")
        case _:
            said = f"cannot listen on {host} port {port} ({error.strerror}): check --host and --port"
            return Unavailable(said, code="cannot_listen")


def url_of(bound: socket.socket) -> str:
    """The address as a client on this machine types it."""
    host, port = bound.getsockname()[:2]
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"http://[{address}]:{port}" if address.version == 6 else f"http://{address}:{port}"


def is_private(bound: socket.socket) -> bool:
    """Whether only this machine reaches it."""
    return ipaddress.ip_address(bound.getsockname()[0]).is_loopback


class WebServer(uvicorn.Server):
    """uvicorn that leaves signals to whoever runs it and says when it listens."""

    def __init__(self, app: Any, bound: socket.socket, on_ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="httptools",
                ws="none",
                lifespan="auto",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=GRACE_SECONDS,
                backlog=BACKLOG,
            )
        )
        self._bound = bound
        self._on_ready = on_ready

    async def run_until_stopped(self) -> None:
        """Serve until `stop`."""
        await self._serve([self._bound])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    def stop(self) -> None:
        """Take no new request, let those in progress end."""
        self.should_exit = True
