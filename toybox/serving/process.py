"""Runs one server process from its start to its end: lock, socket, system, HTTP, signals."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Collection, Generator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from socket import socket

import structlog
import uvloop

from adapters.clock import now
from adapters.postgres.embedded import make_data_dir
from api.app import close_feeds
from api.metrics import Metrics
from domain.errors import Unavailable
from projections.projector import PROJECTIONS
from toybox.services import probes_app, web_app
from toybox.serving.address import ServerAddress, ServerLock
from toybox.serving.collector import spare_what_stands
from toybox.serving.owner import KeyState, ensure_owner_key, reaching_the_same_database
from toybox.serving.web import WebServer, is_private, listening_socket, url_of
from toybox.settings import Role, Settings
from toybox.system import System, running
from toybox.version import VERSION

PATIENCE_SECONDS = 10.0
"""How long a start waits for its read models."""
log = structlog.get_logger("toybox")


@dataclass(frozen=True, slots=True)
class Ready:
    """What a process that has started says of itself."""

    address: ServerAddress
    serves_api: bool
    """Otherwise its address, if there is one, is for probes."""
    private: bool
    """Whether only this machine reaches it."""
    key: KeyState


def serve(
    settings: Settings, roles: Collection[Role], on_ready: Callable[[Ready], None], *, with_stdin: bool = False
) -> None:
    """Run until SIGINT or SIGTERM; with `with_stdin` also until whoever holds the other end of stdin is gone."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_Process(settings, frozenset(roles), on_ready, with_stdin=with_stdin).run())


class _Process:
    def __init__(
        self, settings: Settings, roles: frozenset[Role], on_ready: Callable[[Ready], None], *, with_stdin: bool
    ) -> None:
        self._settings = settings
        self._roles = roles
        self._on_ready = on_ready
        self._with_stdin = with_stdin
        self._metrics = Metrics()
        self._stopping = asyncio.Event()
        self._is_up = False
        self._is_server = "api" in roles

    async def run(self) -> None:
        """A first request to stop lets work in flight end, a second one does not wait for it."""
        work = asyncio.current_task()
        assert work is not None  # noqa: S101 -- run() is always a task

        def stop() -> None:
            if self._stopping.is_set() or not self._is_up:
                work.cancel()
            self._stopping.set()

        with self._told_to_stop(stop):
            try:
                await self._serve()
            except asyncio.CancelledError:
                if not self._stopping.is_set():
                    raise

    @contextmanager
    def _told_to_stop(self, stop: Callable[[], None]) -> Generator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        if self._with_stdin:
            loop.add_reader(sys.stdin.fileno(), self._heard, stop)
        yield
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    def _heard(self, stop: Callable[[], None]) -> None:
        if not os.read(sys.stdin.fileno(), 1024):
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            stop()

    async def _serve(self) -> None:
        make_data_dir(self._settings.data_dir)
        async with AsyncExitStack() as stack:
            bound: socket | None = None
            settings, port = self._settings, self._settings.probe_port
            if self._is_server:
                # Off the loop: waiting for the lock must not keep a signal from being heard.
                lock = ServerLock(make_data_dir(settings.address_dir))
                await asyncio.to_thread(lock.acquire)
                stack.callback(lock.release)
                port = settings.port
            else:
                settings = reaching_the_same_database(settings)
            if port is not None:
                bound = listening_socket(settings.host, port)
                stack.callback(bound.close)
            async with running(settings, roles=self._roles, observe=self._metrics.observe_batch) as system:
                key = await ensure_owner_key(system)
                if self._roles - {"relay"}:  # which reads none
                    await _read_models_stand(system)
                ready = self._ready(bound, key)
                if bound is None:
                    self._say(ready)
                    await self._stopping.wait()
                else:
                    await self._answer(system, bound, ready)
            log.info("stopped")

    async def _answer(self, system: System, bound: socket, ready: Ready) -> None:
        app = web_app(system, self._metrics) if self._is_server else probes_app(system, self._metrics)

        def on_ready() -> None:
            if self._is_server:
                ready.address.write(self._settings.address_dir)
            self._say(ready)

        server = WebServer(app, bound, on_ready)

        async def when_told() -> None:
            await self._stopping.wait()
            await close_feeds(app)  # they never end by themselves
            server.stop()

        watcher = asyncio.create_task(when_told(), name="wait for a signal")
        try:
            await server.run_until_stopped()
        finally:
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher

    def _ready(self, bound: socket | None, key: KeyState) -> Ready:
        address = ServerAddress(
            url=url_of(bound) if bound else "",
            pid=os.getpid(),
            started_at=now(),
            roles=sorted(self._roles),
            version=VERSION,
        )
        return Ready(address, self._is_server, bound is None or is_private(bound), key)

    def _say(self, ready: Ready) -> None:
        spare_what_stands()
        self._is_up = True
        log.info("ready", url=ready.address.url or None, roles=ready.address.roles)
        self._on_ready(ready)


async def _read_models_stand(system: System) -> None:
    """Nobody should be sent to a server that cannot answer yet; but one that rebuilds answers from what it has."""
    try:
        await system.follower.wait_for(list(PROJECTIONS), await system.store.head(), PATIENCE_SECONDS)
    except Unavailable as late:
        log.warning("started, though not all read models are there", reason=str(late))
