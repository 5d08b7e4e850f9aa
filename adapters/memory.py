"""The event store in a dict, for stories and unit tests: the same contract as Postgres, minus durability."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

from commands.ports import CommandRow, KnownCommand, Opened, Snapshot
from domain.log import StoredEvent

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class MemoryStore:
    """Holds what Postgres would hold. `clock` is the database's clock."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.events: list[StoredEvent] = []
        self._clock = clock
        self._commands: dict[UUID, CommandRow] = {}
        self._streams: dict[UUID, list[StoredEvent]] = {}
        self._snapshots: dict[UUID, Snapshot] = {}
        self._lock = asyncio.Lock()
        self._moved = asyncio.Condition()

    @asynccontextmanager
    async def batch(self) -> AsyncIterator["MemoryBatch"]:
        """One batch at a time, as under the advisory lock."""
        async with self._lock:
            yield MemoryBatch(self)

    # --- what a batch does ---

    def look(self, command_ids: Sequence[UUID], after: Mapping[UUID, int], most: int) -> Opened:
        """What `Batch.open` answers."""
        known = {each: self._known(self._commands[each]) for each in command_ids if each in self._commands}
        last = self.events[-1].recorded_at if self.events else EPOCH
        return Opened(max(self._clock(), last), len(self.events), known, self.newer(after, most), 0.0)

    def newer(self, after: Mapping[UUID, int], most: int) -> list[StoredEvent]:
        """Events of these streams above these versions, in order of position."""
        found = [
            each
            for stream, version in after.items()
            for each in self._streams.get(stream, [])[version : version + most]
        ]
        return sorted(found, key=lambda each: each.position)

    def append(self, events: Sequence[StoredEvent], commands: Sequence[CommandRow]) -> None:
        """What a commit does; the same refusals as the table's constraints."""
        for each in events:
            stream = self._streams.setdefault(each.stream_id, [])
            if each.position != len(self.events) + 1 or each.version != len(stream) + 1:
                msg = f"position {each.position} or version {each.version} is out of order"
                raise RuntimeError(msg)
            self.events.append(each)
            stream.append(each)
        self._commands.update({each.command_id: each for each in commands})

    def _known(self, row: CommandRow) -> KnownCommand:
        if row.first is None or row.last is None:
            return KnownCommand(row.digest, None, None, {})
        versions = {each.stream_id: each.version for each in self.events[row.first - 1 : row.last]}
        return KnownCommand(row.digest, row.first, row.last, versions)

    async def snapshots(self, stream_ids: Sequence[UUID]) -> Sequence[Snapshot]:
        """The snapshots held of these streams."""
        return [self._snapshots[each] for each in stream_ids if each in self._snapshots]

    async def save_snapshots(self, snapshots: Sequence[Snapshot]) -> None:
        """Keep the newest of each stream."""
        self._snapshots.update({each.stream_id: each for each in snapshots})

    async def announce(self, head: int) -> None:  # noqa: ARG002 -- readers look at the head themselves
        """Wake readers."""
        async with self._moved:
            self._moved.notify_all()

    # --- LogReader ---

    async def head(self) -> int:
        """The highest position."""
        return len(self.events)

    async def read(
        self,
        after: int,
        limit: int,
        *,
        project_id: UUID | None = None,
        types: Collection[str] | None = None,
        up_to: int | None = None,
    ) -> Sequence[StoredEvent]:
        """Events in order of position."""
        found = [
            each
            for each in self.events[after:up_to]
            if (project_id is None or each.project_id == project_id) and (types is None or each.type in types)
        ]
        return found[:limit]

    async def read_stream(
        self, stream_id: UUID, *, up_to: int | None = None, after: int = 0, limit: int | None = None
    ) -> Sequence[StoredEvent]:
        """One aggregate's history."""
        history = self._streams.get(stream_id, [])[after:]
        return [each for each in history if up_to is None or each.position <= up_to][:limit]

    async def read_streams(self, stream_ids: Collection[UUID]) -> Mapping[UUID, Sequence[StoredEvent]]:
        """Several histories."""
        return {each: list(self._streams.get(each, [])) for each in stream_ids}

    async def wait(self, after: int, timeout: float) -> int:  # noqa: ASYNC109 -- as in the protocol
        """The head, once it is above `after` or the time is over."""
        try:
            async with asyncio.timeout(timeout), self._moved:
                await self._moved.wait_for(lambda: len(self.events) > after)
        except TimeoutError:
            pass
        return len(self.events)

    async def position_at(self, moment: datetime) -> int:
        """The last position recorded at or before `moment`."""
        return max((each.position for each in self.events if each.recorded_at <= moment), default=0)


class MemoryBatch:
    """One transaction over the dict."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def open(self, command_ids: Sequence[UUID], after: Mapping[UUID, int], *, most: int) -> Opened:
        """Read what is true now."""
        return self._store.look(command_ids, after, most)

    async def load(self, after: Mapping[UUID, int], *, most: int) -> Sequence[StoredEvent]:
        """Events of more streams."""
        return self._store.newer(after, most)

    async def commit(self, events: Sequence[StoredEvent], commands: Sequence[CommandRow]) -> None:
        """Append."""
        self._store.append(events, commands)
