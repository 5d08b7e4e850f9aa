"""Fills the topic of cost facts when it is behind the events: it was made anew, or is younger than they are."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from domain.log import LogReader
from domain.relaying import Outlet
from streams.envelope import source_of
from streams.products.costs import COST_TYPES, Facts
from streams.relay.batching import record_of
from streams.relay.marker import Marker
from streams.topics import Topics


async def fill_costs(
    marker: Marker,
    outlet: Outlet,
    reader: LogReader,
    topics: Topics,
    *,
    batch: int,
    check: Callable[[], Awaitable[None]],
) -> Marker:
    """Write the facts of everything that is relayed, the marker inside each transaction; answers the last marker.

    `check` is asked after each reading whether this process still leads.
    """
    while marker.costs.position < marker.position:
        found = await reader.read(marker.costs.position, batch, types=COST_TYPES, up_to=marker.position)
        await check()
        facts = Facts(marker.costs, topics, source_of(marker.log))
        for stored in found:
            if made := facts.make(stored):
                facts.take(made, stored.position)
        up_to = found[-1].position if len(found) == batch else marker.position
        marker = replace(marker, costs=facts.chain(up_to))
        if facts.records:
            await outlet.send([*facts.records, record_of(marker, topics, found[-1])])
    return marker
