"""The embedded runner of projections: follows the log, each projection on its own feet, and wakes who waits."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import structlog

from domain.errors import Unavailable
from domain.log import LogReader
from projections.projector import (
    PROJECTIONS,
    Connections,
    Generation,
    Leadership,
    Parked,
    Progress,
    Projection,
    Superseded,
    advance,
    generation,
    late,
    reached,
    rebuild,
    settle,
    wait_until,
)
from streams.shared_log import SharedLog
from streams.topics import partition_of_key

STANDBY_SECONDS = 1.0
"""How often a process asks whether it may take over a projection that another one follows."""
OUTDATED_SECONDS = 30.0
"""How long a process stands back from a projection that needs a newer toybox."""
BACKOFF_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
AT_ONCE = 4
"""Projections that may use a connection at the same time."""

State = Literal["starting", "standby", "building", "following", "retrying", "halted", "outdated", "stopped"]
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a projection is. `lag` counts events up to the log's head, never to the follower's own mark."""

    projection: str
    version: int
    state: State
    position: int
    head: int
    error: str | None
    progress: Progress | None

    @property
    def lag(self) -> int:
        """Events of the log that readers of this projection do not see yet."""
        return max(0, self.head - self.position)


class Follower:
    """Keeps projections up to the log's head. Any number of processes may run one: each projection has one leader.

    A projection that fails is tried again with growing pauses and stops nobody else; one whose code is newer than its
    rows is built anew beside them first. Start it in a running loop, stop it before the pool is closed.
    """

    def __init__(
        self,
        reader: LogReader,
        connections: Connections,
        projections: Iterable[Projection] | None = None,
        *,
        progress: Callable[[Progress], None] = lambda _: None,
        batch: int = 1000,
    ) -> None:
        self._connections = connections
        self._log = SharedLog(reader, limit=batch)
        self._progress = progress
        self._leadership = Leadership(connections)
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._one_build = asyncio.Lock()
        self._moved = asyncio.Condition()
        chosen = PROJECTIONS.values() if projections is None else projections
        self._runners = {each.name: _Runner(each, self) for each in chosen}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to follow."""
        self._tasks = [
            asyncio.create_task(runner.run(), name=f"projection {name}") for name, runner in self._runners.items()
        ]

    async def stop(self) -> None:
        """Stop at once: what is not committed is rolled back, and the next leader takes it up."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._log.close()
        await self._leadership.close()

    async def wait_for(self, names: Collection[str], position: int, timeout: float) -> None:  # noqa: ASYNC109 -- late is an error
        """Return once readers of all these projections see `position`, whichever process follows them.

        Raises Unavailable after `timeout` seconds, naming those that are behind.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout
        here = [self._runners[name] for name in names if name in self._runners]
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline), self._moved:
                await self._moved.wait_for(lambda: all(each.shows(position) or not each.leads for each in here))
        behind = [name for name in names if name not in self._runners or not self._runners[name].shows(position)]
        if not behind:
            return
        if all(self._runners[name].leads for name in behind if name in self._runners) and clock() >= deadline:
            raise late({name: self._at(name) for name in behind}, position)
        await wait_until(self._connections, behind, position, max(0.0, deadline - clock()))

    def _at(self, name: str) -> int | None:
        return self._runners[name].position if name in self._runners else None

    async def standings(self) -> Sequence[Standing]:
        """Where every projection is, those that other processes follow included."""
        head = await self._log.reader.head()
        async with self._connections.connection() as connection:
            durable = await reached(connection, list(self._runners))
        return [each.standing(head, durable.get(name, 0)) for name, each in self._runners.items()]

    # --- what the runners share ---

    async def build(self, runner: "_Runner") -> None:
        """Build one projection at a time: they would only take turns on the processor."""
        async with self._one_build:
            await rebuild(self._connections, self._log.reader, runner.projection, progress=runner.show_progress)

    def show(self, progress: Progress) -> None:
        """Pass on how far a build is."""
        self._progress(progress)

    async def lead(self, projection: str) -> bool:
        """Whether this process may follow a projection now."""
        return await self._leadership.take(projection)

    async def stand_back(self, projection: str) -> None:
        """Let another process follow it."""
        self._log.leave(projection)
        await self._leadership.give_up(projection)

    async def live(self, projection: str) -> Generation | None:
        """What readers see of a projection."""
        async with self._connections.connection() as connection:
            return await generation(connection, projection, "live")

    async def step(self, projection: Projection, of: Generation) -> Generation:
        """Wait for the next events and apply them."""
        batch = await self._log.after(projection.name, of.position)
        async with self._slots, self._connections.connection() as connection:
            advanced = await advance(connection, projection, of, batch)
        tell_parked(projection, advanced.parked)
        return advanced.generation

    async def settle(self, projection: Projection, of: Generation) -> Generation:
        """Take over what was followed on Kafka: there some partitions may be ahead of the others."""
        async with self._connections.connection() as connection:
            settled = await settle(connection, self._log.reader, projection, of, partition_of_key)
        tell_parked(projection, settled.parked)
        return settled.generation

    def leave(self, projection: str) -> None:
        """Nobody needs to wait for this one."""
        self._log.leave(projection)

    async def wake(self) -> None:
        """Something moved, or changed its leader: whoever waits looks again."""
        async with self._moved:
            self._moved.notify_all()


def tell_parked(projection: Projection, parked: Iterable[Parked]) -> None:
    """Say which keys wait from now on."""
    for key in parked:
        log.error("projection parked a key", projection=projection.name, key=str(key.key), position=key.position,
                  type=key.type, reason=key.reason)  # fmt: skip


class _Runner:
    """One projection in this process."""

    def __init__(self, projection: Projection, follower: Follower) -> None:
        self.projection = projection
        self.position = 0
        self.state: State = "starting"
        self._follower = follower
        self._error: str | None = None
        self._progress: Progress | None = None
        self._failures = 0

    @property
    def leads(self) -> bool:
        """Whether the position in memory is the one that readers see."""
        return self.state == "following"

    def shows(self, position: int) -> bool:
        """Whether readers see this position, as far as this process knows."""
        return self.leads and self.position >= position

    def standing(self, head: int, durable: int) -> Standing:
        """Where it is; `durable` is what the table of positions says."""
        return Standing(
            self.projection.name, self.projection.version, self.state, durable, head, self._error, self._progress
        )

    def show_progress(self, progress: Progress) -> None:
        """Remember and pass on how far the build is."""
        self._progress = progress
        self._follower.show(progress)

    async def run(self) -> None:
        """Lead and follow, or stand by, for ever."""
        name = self.projection.name
        try:
            while True:
                pause = await self._try()
                await asyncio.sleep(pause)
        finally:
            self._follower.leave(name)
            await self._enter("stopped")

    async def _try(self) -> float:
        """Go on until something is in the way; answer how many seconds to wait before the next try."""
        name = self.projection.name
        try:
            # A newer version is built while an older process still leads: it stands back once it is moved aside.
            if await self._behind_the_code():
                await self._enter("building")
                await self._follower.build(self)
            if not await self._follower.lead(name):
                await self._enter("standby")
                return STANDBY_SECONDS
            await self._follow()
        except Superseded as moved:
            # A rebuild was switched in, or another process took over while our lock was lost: look anew.
            log.info("projection was moved by another process", projection=name, reason=str(moved))
            return BACKOFF_SECONDS[0]
        except Unavailable as error:
            return await self._stand_back(error)
        except Exception as error:  # noqa: BLE001 -- one broken projection must not stop the others, nor itself for good
            return await self._fail(error)
        return 0.0

    async def _behind_the_code(self) -> bool:
        live = await self._follower.live(self.projection.name)
        if live and live.version > self.projection.version:
            msg = f"version {live.version} is live and this program has version {self.projection.version}: upgrade it"
            raise Unavailable(msg, code="newer_projection")
        return live is None or live.version < self.projection.version

    async def _follow(self) -> None:
        live = await self._follower.live(self.projection.name)
        if live is None or live.version != self.projection.version:
            return
        live = await self._follower.settle(self.projection, live)
        self.position, self._progress = live.position, None
        await self._enter("following")
        while True:
            live = await self._follower.step(self.projection, live)
            self.position, self._error, self._failures = live.position, None, 0
            await self._follower.wake()

    async def _stand_back(self, error: Unavailable) -> float:
        name = self.projection.name
        if error.code == "rebuild_running":
            await self._enter("standby", str(error))
            return STANDBY_SECONDS
        if error.code not in {"newer_event", "newer_projection"}:
            return await self._fail(error)
        await self._follower.stand_back(name)
        await self._enter("outdated", str(error))
        log.warning("projection needs a newer toybox", projection=name, reason=str(error))
        return OUTDATED_SECONDS

    async def _fail(self, error: Exception) -> float:
        pause = BACKOFF_SECONDS[min(self._failures, len(BACKOFF_SECONDS) - 1)]
        self._failures += 1
        self._follower.leave(self.projection.name)
        await self._enter("retrying", f"{type(error).__name__}: {error}")
        log.warning("projection failed and tries again", projection=self.projection.name, reason=self._error,
                    seconds=pause)  # fmt: skip
        return pause

    async def _enter(self, state: State, error: str | None = None) -> None:
        self.state, self._error = state, error
        await self._follower.wake()
