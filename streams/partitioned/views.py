"""Projections on Kafka: each keeps its own account per partition, and one that fails stops nobody else."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress

import structlog

from domain.consuming import Chunk, Consumption, Place
from domain.errors import Unavailable
from domain.log import LogReader, leaf
from domain.relaying import TopicAdmin
from projections.projector import (
    PROJECTIONS,
    Advanced,
    Connections,
    Gap,
    Generation,
    Inflow,
    Leadership,
    Progress,
    Projection,
    Superseded,
    advance_partitions,
    claim,
    followed_by_partition,
    generation,
    level,
    mark_offset,
    move_house,
    note_mark,
    partition_rows,
    reached,
    rebuild,
    wait_until,
)
from streams.envelope import source_of
from streams.follower import BACKOFF_SECONDS, OUTDATED_SECONDS, Follower, Standing, tell_parked
from streams.partitioned.opening import Foreign, Ids, open_chunks, source_in
from streams.partitioned.state import ConsumptionState, offsets_after
from streams.partitioned.view import View, stays_on_the_log
from streams.topics import Topics, partition_of_key

AT_ONCE = 4
"""Projections that may use a connection at the same time."""
LOOK_SECONDS = 0.5
"""How often those that do not follow are looked at."""
BUILD_GRACE_SECONDS = 10.0
"""How long the others wait for projections that are built, so as to begin together."""
HALT_SECONDS = 10.0
"""How soon a projection that met a gap is tried again: its rebuild, or a topic made anew, puts it right."""
RETRY_SECONDS = (0.05, 0.2, 1.0)
"""Pauses in which a batch is tried again in place; then the others go on without this projection for a while."""
log = structlog.get_logger("toybox.views")


class KafkaViews:
    """Keeps projections up to what Kafka holds; those of private events follow the log beside it.

    Any number of workers share the partitions. Start it in a running loop, stop it before the pool is closed.
    """

    def __init__(
        self,
        consumption: Consumption,
        admin: TopicAdmin,
        *,
        reader: LogReader,
        connections: Connections,
        topics: Topics,
        projections: Iterable[Projection] | None = None,
        progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        chosen = list(PROJECTIONS.values() if projections is None else projections)
        self._consumption, self._admin, self._reader = consumption, admin, reader
        self._connections, self._topics, self._progress = connections, topics, progress
        self._embedded = Follower(reader, connections, [each for each in chosen if stays_on_the_log(each)])
        self._private = frozenset(each.name for each in chosen if stays_on_the_log(each))
        self._views = {each.name: View(each) for each in chosen if each.name not in self._private}
        self._leadership = Leadership(connections, shared=True)
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._again = asyncio.Event()
        self._ids: Ids | None = None
        self._marked = False
        """Whether a marker for these topics was seen: one for others, after it, says that they were made anew."""
        self._source = b""
        self._tasks: list[asyncio.Task[None]] = []
        self._builder: asyncio.Task[None] | None = None
        self._built_since = 0.0
        self._stranger: str | None = None
        self.state = ConsumptionState()

    # --- what the outside asks ---

    def start(self) -> None:
        """Begin to follow."""
        self._embedded.start()
        self._tasks = [asyncio.create_task(self.run(), name="views"), asyncio.create_task(self._look(), name="look")]

    async def stop(self) -> None:
        """Stop at once: what is not committed is rolled back, and whoever has the partition next takes it up."""
        tasks = [*self._tasks, *([self._builder] if self._builder else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks, self._builder = [], None
        self.state.phase = "stopped"
        for view in self._views.values():
            view.state = "stopped"
        await self._leadership.close()
        await self._embedded.stop()

    async def wait_for(self, names: Collection[str], position: int, timeout: float) -> None:  # noqa: ASYNC109 -- late is an error
        """Return once readers of all these projections see `position`, whichever process follows them."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout
        if private := [each for each in names if each in self._private]:
            await self._embedded.wait_for(private, position, timeout)
        others = [each for each in names if each not in self._private]
        await wait_until(self._connections, others, position, max(0.0, deadline - clock()))

    async def standings(self) -> Sequence[Standing]:
        """Where every projection is, as the table of positions says, whoever follows it."""
        head = await self._reader.head()
        async with self._connections.connection() as connection:
            durable = await reached(connection, list(self._views))
        here = [
            Standing(name, view.projection.version, view.state, durable.get(name, 0), head, view.error, view.progress)
            for name, view in self._views.items()
        ]
        return [*here, *await self._embedded.standings()]

    # --- the turns of a consumer ---

    async def run(self) -> None:
        """Consume whenever there is something to consume with, until cancelled."""
        failures = 0
        while True:
            started = asyncio.get_running_loop().time()
            try:
                self._again.clear()
                if not await self._ready():
                    self.state.phase = "preparing"
                    await self._again.wait()
                    continue
                await self._consume()
                failures = 0
                continue
            except Unavailable as away:
                reason = str(away)
            except Exception as error:  # noqa: BLE001 -- a follower goes on, whatever happened to it once
                reason = f"{type(error).__name__}: {error}"
            if asyncio.get_running_loop().time() - started > BACKOFF_SECONDS[-1]:
                failures = 0
            self.state.wait_because(reason)
            log.warning("views wait", reason=reason)
            await asyncio.sleep(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])
            failures += 1

    async def _consume(self) -> None:
        """Until somebody wants to begin anew, or the consumer fails."""
        self.state.phase = "starting"
        await Ids.ask(self._admin, self._topics)  # a consumer would wait for a missing topic in silence
        self.state.starts += 1
        self._ids = None
        for view in self._views.values():
            if view.ready:
                view.state = "following"
        consuming = asyncio.create_task(self._consumption.run(self), name="consumption")
        again = asyncio.create_task(self._again.wait(), name="again")
        try:
            await asyncio.wait([consuming, again], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (consuming, again):
                task.cancel()
            done = await asyncio.gather(consuming, again, return_exceptions=True)
        if isinstance(done[0], Exception):
            raise done[0]

    async def _look(self) -> None:
        """Begin anew when a projection that stood back may follow again."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._ready()
            except Exception as error:  # noqa: BLE001 -- nobody begins this anew, and what stood back would never follow
                log.warning("views are looked at again", reason=f"{type(error).__name__}: {error}")
                continue
            if not self._building() and any(view.ready and view.state != "following" for view in self._views.values()):
                self._again.set()

    async def _ready(self) -> bool:
        """Whether there are projections that may follow; those behind their code are built beside."""
        now = asyncio.get_running_loop().time()
        behind: list[View] = []
        for view in self._views.values():
            if view.ready or view.state == "building" or now < view.not_before:
                continue
            async with self._connections.connection() as connection:
                live = await generation(connection, view.name, "live")
            version = view.projection.version
            if live and live.version > version:
                said = f"version {live.version} is live and this program has version {version}: upgrade it"
                view.rest("outdated", said, OUTDATED_SECONDS)
            elif live is None or live.version < version:
                view.state = "building"
                behind.append(view)
            elif not await self._leadership.take(view.name):
                view.rest("standby", "it is followed on the log itself by another process", LOOK_SECONDS)
            else:
                view.live, view.ready = live, True
        if behind:
            previous, self._built_since = self._builder, now
            self._builder = asyncio.create_task(self._build(behind, previous), name="builder")
        return any(view.ready for view in self._views.values()) and not self._building()

    def _building(self) -> bool:
        """Whether builds run that will be over in a moment: a consumer that begins anew each time helps nobody."""
        clock = asyncio.get_running_loop().time
        return bool(self._builder and not self._builder.done()) and clock() - self._built_since < BUILD_GRACE_SECONDS

    async def _build(self, behind: Sequence[View], previous: "asyncio.Task[None] | None") -> None:
        if previous:
            await asyncio.gather(previous, return_exceptions=True)
        for view in behind:

            def show(progress: Progress, view: View = view) -> None:
                view.progress = progress
                self._progress(progress)

            try:
                await rebuild(self._connections, self._reader, view.projection, progress=show)
                view.rest("starting", None, 0.0)
            except Exception as error:  # noqa: BLE001 -- it is told, and tried again
                self._failed(view, error)
        await self._ready()
        self._built_since = float("-inf")
        self._again.set()

    # --- what a consumer asks ---

    async def resume(self, places: Collection[Place]) -> Mapping[Place, int]:
        """The lowest offset of any projection that follows."""
        ids = await Ids.ask(self._admin, self._topics)
        first = await self._reader.read(0, 1)
        self._source = source_in(source_of(leaf(first[0]).hex())) if first else b""
        offsets: dict[int, int] = {}
        for view in self._views.values():
            if view.state == "following" and view.live:
                try:
                    for partition, offset in (await self._account(view.live, ids)).items():
                        offsets[partition] = min(offset, offsets.get(partition, offset))
                except Exception as error:  # noqa: BLE001 -- it is told, and the others go on
                    self._failed(view, error)
        async with self._connections.connection() as connection:
            marks = await mark_offset(connection, ids.events, ids.marks)
        self._ids, self._marked = ids, marks > 0
        self.state.follow()
        events = self._topics.events.name
        return {each: offsets.get(each.partition, 0) if each.topic == events else marks for each in places}

    async def _account(self, live: Generation, ids: Ids) -> Mapping[int, int]:
        async with self._connections.connection() as connection:
            rows = await partition_rows(connection, live)
            if not rows:
                offsets = await offsets_after(self._consumption, self._reader, self._topics, ids, live.position)
                await claim(connection, live, ids.events, offsets, lambda key: partition_of_key(key, ids.partitions))
                rows = await partition_rows(connection, live)
            elif any(row.topic != ids.events for row in rows.values()):
                await move_house(connection, live, ids.events)
                rows = await partition_rows(connection, live)
        return {row.partition: row.next_offset for row in rows.values()}

    async def take(self, chunks: Sequence[Chunk]) -> None:
        """Apply what came to every projection that follows."""
        if (ids := self._ids) is None:
            return
        opened = open_chunks(chunks, self._topics, ids, self._source)
        if opened.elsewhere and self._marked:
            raise Unavailable("the topic of events was made anew: go on there by position", code="topic_made_anew")
        self._marked = self._marked or opened.mark is not None
        for each in opened.foreign:
            await self._put_aside(each)
        if opened.mark:
            async with self._connections.connection() as connection:
                await note_mark(connection, opened.mark)
        following = [each for each in self._views.values() if each.state == "following"]
        if opened.inflow.next_offsets:
            await asyncio.gather(*(self._apply(view, opened.inflow) for view in following))
        elif opened.mark:
            await self._level()

    async def _put_aside(self, foreign: Foreign) -> None:
        self.state.foreign += 1
        place, message = foreign.place, foreign.message
        self._stranger = (
            f"a record that is not ours lies on {place.topic}, partition {place.partition}, offset {message.offset}: "
            f"it is among {self._topics.dead_letters.name}; find out who writes there"
        )
        self._tell_alarm()
        log.error("a record that is not ours", partition=place.partition, offset=message.offset, reason=foreign.reason)
        await self._consumption.send(self._topics.dead_letters.name, message.key, message.value or b"", foreign.headers)

    async def _level(self) -> None:
        """A marker without events of ours: the positions of all views may rise, those of other workers included."""
        async with self._connections.connection() as connection:
            for name in await followed_by_partition(connection):
                with suppress(Superseded):
                    if live := await generation(connection, name, "live"):
                        await level(connection, live)

    async def _apply(self, view: View, inflow: Inflow) -> None:
        for pause in (*RETRY_SECONDS, None):
            try:
                advanced = await self._advance(view, inflow)
            except (Gap, Superseded) as torn:
                self._failed(view, torn)
                return
            except Exception as error:  # noqa: BLE001 -- one broken projection must not stop the others
                if pause is None or (isinstance(error, Unavailable) and error.code == "newer_event"):
                    self._failed(view, error)
                    return
                await asyncio.sleep(pause)
            else:
                view.live, view.error, view.failures = advanced.generation, None, 0
                if view.passed_the_gap(inflow):
                    view.gap, view.alarmed = None, False
                    self._tell_alarm()
                tell_parked(view.projection, advanced.parked)
                return

    async def _advance(self, view: View, inflow: Inflow) -> Advanced:
        if view.live is None:
            raise Superseded(f"projection {view.name} has nothing to write to")
        async with self._slots, self._connections.connection() as connection:
            return await advance_partitions(connection, view.projection, view.live, inflow)

    def _tell_alarm(self) -> None:
        """A gap before a stranger: it holds up a read model."""
        gaps = [str(view.gap) for view in self._views.values() if view.alarmed]
        self.state.alarm = gaps[0] if gaps else self._stranger

    def _failed(self, view: View, error: Exception) -> None:
        if isinstance(error, Gap):
            # Once may be a record that was on its way while the consumer went back; twice is a gap.
            again = view.gap is not None and view.gap.details == error.details
            view.gap = error
            view.rest("halted", str(error), HALT_SECONDS if again else LOOK_SECONDS)
            if again and not view.alarmed:
                view.alarmed = True
                log.error("a gap", **error.details)
                self._tell_alarm()
            return
        if isinstance(error, Superseded):
            view.rest("starting", None, BACKOFF_SECONDS[0])
            log.info("projection was moved by another process", projection=view.name, reason=str(error))
            return
        code = error.code if isinstance(error, Unavailable) else ""
        if code in {"newer_event", "newer_projection"}:
            view.rest("outdated", str(error), OUTDATED_SECONDS)
            return
        if code == "rebuild_running":
            view.rest("standby", str(error), 1.0)
            return
        seconds = BACKOFF_SECONDS[min(view.failures, len(BACKOFF_SECONDS) - 1)]
        view.failures += 1
        view.rest("retrying", f"{type(error).__name__}: {error}", seconds)
        log.warning("projection failed and tries again", projection=view.name, reason=view.error, seconds=seconds)
