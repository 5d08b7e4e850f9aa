"""The table of circuits that are not closed: what keeps queued jobs from their targets, and until when."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domain.kernel import Event
from domain.log import StoredEvent
from domain.provider_health import ProviderHealth
from projections.projector import Applied, Connection
from projections.rows import as_json

OF_CIRCUITS: Final = (
    ProviderHealth.CircuitOpened,
    ProviderHealth.CircuitHalfOpened,
    ProviderHealth.ProbeAbandoned,
    ProviderHealth.CircuitClosed,
)
_CLOSE: Final = (
    "delete from open_circuits using unnest(%s::text[], %s::text[]) as done (provider, model)"
    " where open_circuits.provider = done.provider and open_circuits.model = done.model"
)
_OPEN: Final = (
    "insert into open_circuits as known (provider, model, cause, blocked_until, spares_last)"
    " select provider, model, cause, coalesce(blocked_until, 'infinity'), spares_last"
    " from json_populate_recordset(null::open_circuits, %s::json)"
    " on conflict (provider, model) do update set cause = coalesce(nullif(excluded.cause, ''), known.cause),"
    " blocked_until = excluded.blocked_until, spares_last = excluded.spares_last"
)


@dataclass(slots=True)
class _Circuit:
    provider: str
    model: str
    cause: str
    """Empty: as it was."""
    blocked_until: datetime | None
    """None: until an operator closes it."""
    spares_last: bool = False


async def write_circuits(connection: Connection, batch: Sequence[Applied]) -> None:
    """The last event about a circuit decides; the cause is that of its last opening."""
    last: dict[tuple[str, str], _Circuit | None] = {}
    for each in batch:
        event = each.event
        assert isinstance(event, OF_CIRCUITS)  # noqa: S101 -- chosen by the caller
        place = (event.provider, event.model or "")
        known = last.get(place)
        row = _after(event, each.stored)
        if row and not row.cause and known:
            row.cause = known.cause
        last[place] = row
    if closed := [place for place, row in last.items() if row is None]:
        await connection.execute(_CLOSE, [list(each) for each in zip(*closed, strict=True)])
    if rows := [row for row in last.values() if row]:
        await connection.execute(_OPEN, [as_json(rows)])


def _after(event: Event, stored: StoredEvent) -> _Circuit | None:
    match event:
        case ProviderHealth.CircuitOpened():
            spares = event.all_open == "try"
            return _Circuit(event.provider, event.model or "", event.cause, event.retry_at, spares_last=spares)
        case ProviderHealth.CircuitHalfOpened():
            return _Circuit(event.provider, event.model or "", "", event.expires_at)
        case ProviderHealth.ProbeAbandoned():
            return _Circuit(event.provider, event.model or "", "", stored.recorded_at)
        case _:
            return None
