"""Answers "what has been going on?": one readable line for every public event, found by plain fields."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final
from uuid import UUID

from domain.kernel import load_payload
from projections.additions import Additions
from projections.listing import Listing
from projections.log_lines import Level, LogLine, is_public, names_before, written
from projections.paging import Page
from projections.projector import Applied, Connection, on_every_event
from projections.rows import Rows
from projections.tables import Tables


@dataclass(slots=True)
class _Name:
    stream_id: UUID
    name: str


_LINES: Final = Additions(
    "system_log",
    {
        "position": "int8",
        "recorded_at": "timestamptz",
        "project_id": "uuid",
        "stream_id": "uuid",
        "type": "text",
        "actor": "text",
        "level": "text",
        "line": "text",
    },
)
_NAMES: Final = Rows(_Name, "system_log_names", "stream_id")


class SystemLog(Tables):
    """Answers "what has been going on?": a line per public event, and the names that lines speak by."""

    name = "system_log"
    version = 2
    readable_from = 1

    @on_every_event
    async def apply(self, connection: Connection, batch: Sequence[Applied]) -> None:
        """Names first, as far as they are known; then each event in words, which may give new names.

        Words need no validated event: the payload as it was stored has all that they show, fifteen times as fast.
        """
        public = [(each.stored, load_payload(each.stored)) for each in batch if is_public(each.stored)]
        before = {row.stream_id: row.name for row in await _NAMES.load(connection, names_before(public))}
        names = dict(before)
        lines = [written(stored, payload, names) for stored, payload in public]
        await _NAMES.save(
            connection, (_Name(stream, name) for stream, name in names.items() if before.get(stream) != name)
        )
        await _LINES.write(connection, lines)


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which lines are asked for; what is None does not matter."""

    project_id: UUID | None = None
    stream_id: UUID | None = None
    types: list[str] | None = None
    actor: str | None = None
    levels: list[Level] | None = None
    text: str | None = None
    """Any part of the line, in any case."""
    up_to: int | None = None
    """The last position that counts: the log as of then."""


_LIST: Final = Listing[LogLine](
    name="system log",
    query="select position, recorded_at, project_id, stream_id, type, actor, level, line from system_log"
    " where {filters} and {after} order by {order}",
    row=LogLine.model_validate,
    order={"position": "bigint"},
    filters={
        "project_id": "project_id = %(project_id)s",
        "stream_id": "stream_id = %(stream_id)s",
        "types": "type = any(%(types)s)",
        "actor": "actor = %(actor)s",
        "levels": "level = any(%(levels)s)",
        "loud": "level <> 'info'",
        "errors": "level = 'error'",
        "text": "position(lower(%(text)s) in lower(line)) > 0",
        "up_to": "position <= %(up_to)s",
    },
)
EVERYTHING: Final = LogFilter()


async def system_log(
    connection: Connection, wanted: LogFilter = EVERYTHING, *, cursor: str | None = None, limit: int = 50
) -> Page[LogLine]:
    """The newest lines first. Reads SystemLog."""
    levels = set(wanted.levels or ["info"])
    # Said as the partial indexes say it: of a parameter the planner would not know.
    narrowed = {"loud": "info" not in levels or None, "errors": levels == {"error"} or None}
    return await _LIST.page(connection, asdict(wanted) | narrowed, cursor=cursor, limit=limit)
