"""Answers "what has to happen by when?": one row for everything that a command is due for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from domain.agents import Agent
from domain.budgets import Budget
from domain.checkpoints import Checkpoint
from domain.ids import start_deadline_id
from domain.kernel import Event
from domain.llm_jobs import LlmJob
from domain.values import Instant
from projections.listing import Listing
from projections.paging import Page
from projections.projector import Applied, Connection, on
from projections.rows import as_json
from projections.tables import Tables
from projections.views import View

_FORGET: Final = (
    "delete from deadlines using unnest(%s::uuid[], %s::uuid[]) as done (stream_id, key)"
    " where deadlines.stream_id = done.stream_id and deadlines.key = done.key"
)
_SET: Final = (
    "insert into deadlines (kind, stream_id, key, position, due_at)"
    " select kind, stream_id, key, position, due_at from json_populate_recordset(null::deadlines, %s::json)"
    " on conflict (stream_id, key) do update set kind = excluded.kind, position = excluded.position,"
    " due_at = excluded.due_at"
)


@dataclass(slots=True)
class _Deadline:
    kind: str
    stream_id: UUID
    key: UUID
    position: int
    due_at: datetime


class Deadlines(Tables):
    """Answers "what has to happen by when?": retries, starts of jobs, checkpoints, holds, windows that jobs wait for.

    The kind is the type of the event that set the row; the key is the attempt's for a hold, one of its own for the
    deadline by which a job must start, else the stream's.
    """

    name = "deadlines"
    version = 2

    @on(
        Agent.RetryScheduled,
        Agent.Started,
        Agent.Completed,
        Agent.Failed,
        Agent.Skipped,
        Agent.Reset,
        Agent.Cancelled,
        Agent.Redefined,
        Agent.Removed,
        LlmJob.Queued,
        LlmJob.Requeued,
        LlmJob.RetryScheduled,
        LlmJob.Rerouted,
        LlmJob.Resumed,
        LlmJob.Completed,
        LlmJob.Failed,
        LlmJob.Cancelled,
        Checkpoint.Requested,
        Checkpoint.Resolved,
        Checkpoint.Expired,
        Checkpoint.Withdrawn,
        Budget.Reserved,
        Budget.Settled,
        Budget.Released,
        Budget.HoldExpired,
        Budget.JobParked,
        Budget.JobUnparked,
        Budget.LimitRemoved,
        Budget.WindowRolled,
    )
    async def apply(self, connection: Connection, batch: Sequence[Applied]) -> None:
        """The last event about a row decides: one that sets it, or any other, which removes it."""
        last: dict[tuple[UUID, UUID], _Deadline | None] = {}
        for each in batch:
            stored, event = each.stored, each.event
            due_at = due(event)
            for key in keys(event, stored.stream_id):
                last[stored.stream_id, key] = (
                    _Deadline(stored.type, stored.stream_id, key, stored.position, due_at) if due_at else None
                )
        done = [place for place, deadline in last.items() if deadline is None]
        if done:
            await connection.execute(_FORGET, [list(each) for each in zip(*done, strict=True)])
        if rows := [each for each in last.values() if each]:
            await connection.execute(_SET, [as_json(rows)])

    async def totals(self, connection: Connection) -> Mapping[str, str]:
        """How many of each kind are open."""
        found = await connection.execute("select kind, count(*)::text from deadlines group by kind")
        return dict(await found.fetchall())


OF_HOLDS: Final = (Budget.Reserved, Budget.Settled, Budget.Released, Budget.HoldExpired)


OF_STARTS: Final = (LlmJob.Queued, LlmJob.Requeued)
ENDS_OF_JOBS: Final = (LlmJob.Completed, LlmJob.Failed, LlmJob.Cancelled)


def keys(event: Event, stream: UUID) -> Sequence[UUID]:
    """The rows that an event is about: it sets them, or they are done."""
    if isinstance(event, OF_HOLDS):
        return [event.attempt_id]
    if isinstance(event, OF_STARTS):
        return [start_deadline_id(stream)] if event.deadline else []
    if isinstance(event, ENDS_OF_JOBS):
        return [stream, start_deadline_id(stream)]
    return [stream]


def due(event: Event) -> datetime | None:
    """When the event's command is due, if it asks for one."""
    match event:
        case Agent.RetryScheduled() | LlmJob.RetryScheduled() | Checkpoint.Requested():
            return event.due_at
        case Budget.Reserved():
            return event.expires_at
        case Budget.JobParked() | Budget.JobUnparked() | Budget.LimitRemoved() | Budget.WindowRolled():
            return event.rolls_at
        case LlmJob.Queued() | LlmJob.Requeued():
            return event.deadline
        case _:
            return None


class Deadline(View):
    """Something that is due at a time."""

    kind: str
    stream_id: UUID
    key: UUID
    position: int
    due_at: Instant


_LIST: Final = Listing[Deadline](
    name="deadlines",
    query="select kind, stream_id, key, position, due_at from deadlines where {filters} and {after} order by {order}",
    row=Deadline.model_validate,
    order={"position": "bigint"},
    filters={"kind": "kind = %(kind)s"},
    descending=False,
)


async def deadlines(
    connection: Connection, *, kind: str | None = None, cursor: str | None = None, limit: int = 50
) -> Page[Deadline]:
    """What is open, in the order in which it was set. Reads Deadlines."""
    return await _LIST.page(connection, {"kind": kind}, cursor=cursor, limit=limit)
