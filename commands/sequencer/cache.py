"""The aggregates that a process remembers between batches: folded once, then kept up with what others append."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from uuid import UUID

from commands.ports import EventStore, Snapshot
from domain.kernel import AGGREGATE_OF, Aggregate, evolve
from domain.log import StoredEvent

SNAPSHOT_EVERY = 200
"""Events between two snapshots of one aggregate: about 3 ms of replay."""
PAGE = 1000
"""Events of one stream that are folded while the log's lock is held; a longer history is read before."""


class AggregateCache:
    """The least recently used are forgotten first; a snapshot or the log brings them back."""

    def __init__(self, store: EventStore, capacity: int) -> None:
        self._store = store
        self._capacity = capacity
        self._snapshot_at: dict[UUID, int] = {}
        self.aggregates: OrderedDict[UUID, Aggregate] = OrderedDict()

    def after(self, streams: Iterable[UUID]) -> dict[UUID, int]:
        """The versions that are known of these streams; 0 of those that are not."""
        return {stream: cached.version if (cached := self.aggregates.get(stream)) else 0 for stream in streams}

    def evict(self, streams: Iterable[UUID]) -> None:
        """Forget what may hold decisions that were never committed."""
        for stream in streams:
            self.aggregates.pop(stream, None)

    async def restore(self, streams: Iterable[UUID]) -> None:
        """Take unknown aggregates from their snapshots, where there are any."""
        missing = [stream for stream in streams if stream not in self.aggregates]
        if not missing:
            return
        for snapshot in await self._store.snapshots(missing):
            kind = _kind(snapshot.aggregate)
            if kind is None or snapshot.fold != kind.FOLD:
                continue
            # Another release may have written it, and it is only a cache: what cannot be read is replayed.
            with suppress(ValueError, KeyError):
                self.aggregates[snapshot.stream_id] = kind.from_snapshot(
                    snapshot.stream_id, snapshot.version, snapshot.body
                )
                self._snapshot_at[snapshot.stream_id] = snapshot.version

    async def catch_up(self, streams: Iterable[UUID]) -> None:
        """Fold long histories page by page, without the lock and without keeping the event loop from others."""
        wanted = list(streams)
        await self.restore(wanted)
        for stream in wanted:
            while True:
                known = self.aggregates.get(stream)
                events = await self._store.read_stream(stream, after=known.version if known else 0, limit=PAGE)
                self.fold(events)
                if len(events) < PAGE:
                    break
                await asyncio.sleep(0)

    def fold(self, events: Sequence[StoredEvent]) -> None:
        """Bring aggregates up to these committed events."""
        for stored in events:
            self.aggregates[stored.stream_id] = evolve(self.aggregates.get(stored.stream_id), stored)

    def tidy(self, streams: Iterable[UUID]) -> list[Snapshot]:
        """After a commit: snapshots of what has grown; what was not used for long is forgotten."""
        snapshots: list[Snapshot] = []
        for stream in streams:
            aggregate = self.aggregates.get(stream)
            if aggregate is None:
                continue
            self.aggregates.move_to_end(stream)
            if aggregate.version - self._snapshot_at.get(stream, 0) >= SNAPSHOT_EVERY:
                self._snapshot_at[stream] = aggregate.version
                kind = type(aggregate)
                snapshots.append(Snapshot(stream, aggregate.version, kind.TOPIC, kind.FOLD, aggregate.snapshot()))
        while len(self.aggregates) > self._capacity:
            stream, _ = self.aggregates.popitem(last=False)
            self._snapshot_at.pop(stream, None)
        return snapshots


_KINDS: dict[str, type[Aggregate]] = {}


def _kind(name: str) -> type[Aggregate] | None:
    found = _KINDS.get(name) or next((kind for kind in AGGREGATE_OF.values() if name == kind.TOPIC), None)
    if found:
        _KINDS[name] = found
    return found
