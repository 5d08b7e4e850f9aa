"""Which states have changed, and how they are now: the log says which, the read model says how."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from domain.log import LogReader
from projections.documents import Row
from projections.projector import Connection, Connections, Reading, generation, parked_keys, reading
from streams.products.progress import Progress
from streams.products.states import StateProduct

_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Seen:
    """What the read model held at one moment."""

    generation: int
    position: int
    """What was looked at: every event up to here."""
    parked: Mapping[UUID, int]
    """Projects, or streams without one, whose events wait for a fix, and from which position on."""
    rows: Sequence[Row[Any]]
    gone: Sequence[UUID] = ()
    """Keys that something happened to and that have no row."""
    cursor: str | None = None
    more: bool = False
    """Whether the read model shows events beyond what was looked at."""


class Changes:
    """Reads read models in snapshots, a page at a time."""

    def __init__(self, connections: Connections, reader: LogReader, page: int) -> None:
        self._connections, self._reader, self._page = connections, reader, page

    async def everything(self, product: StateProduct[Any], cursor: str | None = None) -> Seen:
        """Every row, after the cursor of the page before."""
        async with reading(self._connections, product.document) as snapshot:
            of, parked = await _situation(snapshot, product)
            page = await product.document.page(snapshot.connection, cursor=cursor, limit=self._page)
        return Seen(of, snapshot.position, parked, page.items, cursor=page.next)

    async def since(self, product: StateProduct[Any], held: Progress, erased: Collection[UUID]) -> Seen:
        """The rows of all keys that something happened to: an event, a retry of what was parked, an erasure."""
        document = product.document
        async with reading(self._connections, document) as snapshot:
            of, parked = await _situation(snapshot, product)
            up_to = max(held.position, snapshot.position)
            events = await self._reader.read(held.position, self._page, types=document.types, up_to=up_to)
            if len(events) == self._page:
                up_to = events[-1].position
            keys = {key for stored in events if (key := product.key(stored)) is not None}
            if touched := {key for key, _ in parked.items() ^ held.parked.items()} | set(erased):
                keys |= await _keys_of(snapshot.connection, product, touched)
            rows = await document.many(snapshot.connection, keys)
        gone = sorted(keys - {row.key for row in rows})
        return Seen(of, up_to, parked, rows, gone, more=up_to < snapshot.position)


async def _situation(snapshot: Reading, product: StateProduct[Any]) -> tuple[int, Mapping[UUID, int]]:
    """Which build of the read model this is, and which keys wait for a fix."""
    live = await generation(snapshot.connection, product.document.name, "live")
    waiting = await parked_keys(snapshot.connection, product.document.name)
    return live.generation if live else 0, {each.key: each.position for each in waiting}


async def _keys_of(connection: Connection, product: StateProduct[Any], touched: Collection[UUID]) -> set[UUID]:
    """The rows of these projects, and of these streams without a project."""
    found = {row.key for row in await product.document.many(connection, touched)}
    cursor: str | None = None
    while True:
        page = await product.document.page(connection, where={"project_id": touched}, cursor=cursor, limit=_PAGE)
        found |= {row.key for row in page.items}
        if not (cursor := page.next):
            return found
