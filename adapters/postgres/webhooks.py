"""How far each webhook is, its dead letters and its last tries, in Postgres; a stale fence moves nothing."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, LiteralString
from uuid import UUID

from psycopg.rows import args_row
from psycopg_pool import AsyncConnectionPool

from adapters.postgres.connections import unavailable_when_away
from domain.posting import SAID, Attempt, Beginning, DeadLetter, DeliveryStanding, Outcome, PastAttempt, Place

_WEBHOOKS: Final = "select stream_id from events where type = 'webhook.subscribed' order by position"
_TAKE: Final = "select told_at from webhook_places where webhook_id = %(webhook_id)s for update"
_ENTER: Final = "insert into webhook_places (webhook_id, told_at, position) values (%(webhook_id)s, -1, %(after)s)"
# What is newer than what was acted upon before is acted upon now, all of it in one statement.
_BEGIN: Final = (
    "update webhook_places set told_at = greatest(told_at, %(told_at)s),"
    " position = case when told_at < %(after_told_at)s then %(after)s else position end,"
    " attempts = case when told_at < %(fresh_told_at)s then 0 else attempts end,"
    " next_try_at = case when told_at < %(fresh_told_at)s then null else next_try_at end,"
    " failing_since = case when told_at < %(fresh_told_at)s then null else failing_since end"
    " where webhook_id = %(webhook_id)s returning position, attempts,"
    " greatest(extract(epoch from next_try_at - clock_timestamp())::float8, 0)"
)
_REQUEUE: Final = (
    "update webhook_dead_letters set requeued_at = clock_timestamp() where webhook_id = %(webhook_id)s"
    " and (%(position)s::bigint is null or position = %(position)s) and died_at < %(before)s"
)
_TRIED: Final[LiteralString] = (
    "insert into webhook_attempts (webhook_id, position, event_id, type, number, outcome, status, problem, said,"
    " milliseconds) values (%(webhook_id)s, %(position)s, %(event_id)s, %(type)s, %(number)s, %(outcome)s, %(status)s,"
    " %(problem)s, %(said)s, %(milliseconds)s)"
)
# A letter that was requeued lies behind the place: it arrives without moving anything, as does whatever is replayed.
_DELIVERED: Final[LiteralString] = (
    "with moved as (update webhook_places set position = greatest(position, %(position)s), attempts = 0,"
    " next_try_at = null, failing_since = null, last_problem = null, delivered = delivered + 1,"
    " last_delivered_at = clock_timestamp() where webhook_id = %(webhook_id)s and told_at = %(fence)s),"
    " arrived as (delete from webhook_dead_letters where webhook_id = %(webhook_id)s and position = %(position)s) "
    + _TRIED
)
_FAILED: Final[LiteralString] = (
    "with moved as (update webhook_places set attempts = %(number)s, last_problem = %(problem)s,"
    " next_try_at = clock_timestamp() + make_interval(secs => %(wait)s),"
    " failing_since = coalesce(failing_since, clock_timestamp())"
    " where webhook_id = %(webhook_id)s and told_at = %(fence)s returning failing_since),"
    " tried as (" + _TRIED + ") select extract(epoch from clock_timestamp() - failing_since)::float8 from moved"
)
_DIED: Final[LiteralString] = (
    "with moved as (update webhook_places set position = greatest(position, %(position)s), attempts = 0,"
    " next_try_at = null, last_problem = %(problem)s, failing_since = coalesce(failing_since, clock_timestamp())"
    " where webhook_id = %(webhook_id)s and told_at = %(fence)s returning webhook_id, failing_since),"
    " kept as (insert into webhook_dead_letters (webhook_id, position, event_id, type, attempts, status, problem, said)"
    " select webhook_id, %(position)s, %(event_id)s, %(type)s, %(number)s, %(status)s, %(problem)s, %(said)s from moved"
    " on conflict (webhook_id, position) do update set attempts = webhook_dead_letters.attempts + excluded.attempts,"
    " status = excluded.status, problem = excluded.problem, said = excluded.said, died_at = clock_timestamp(),"
    " requeued_at = null), tried as ("
    + _TRIED
    + ") select extract(epoch from clock_timestamp() - failing_since)::float8 from moved"
)
_PASSED: Final = (
    "update webhook_places p set position = greatest(p.position, g.position)"
    " from unnest(%s::uuid[], %s::bigint[], %s::bigint[]) as g (webhook_id, fence, position)"
    " where p.webhook_id = g.webhook_id and p.told_at = g.fence"
)
_REQUEUED: Final = (
    "select position from webhook_dead_letters where webhook_id = %s and requeued_at is not null order by position"
)
_PRUNE: Final = (
    "delete from webhook_attempts where webhook_id = %(webhook_id)s and id <= (select id from webhook_attempts"
    " where webhook_id = %(webhook_id)s order by id desc offset %(keep)s limit 1)"
)
_FORGET: Final = (
    "delete from webhook_places where webhook_id = %s",
    "delete from webhook_dead_letters where webhook_id = %s",
    "delete from webhook_attempts where webhook_id = %s",
)
_STANDINGS: Final = (
    "select webhook_id, position, delivered, (select count(*) from webhook_dead_letters d"
    " where d.webhook_id = p.webhook_id), attempts, next_try_at, failing_since, last_delivered_at, last_problem"
    " from webhook_places p where %(all)s or webhook_id = any(%(webhooks)s)"
)
_ATTEMPTS: Final = (
    "select id, position, event_id, type, number, outcome, status, problem, said, milliseconds, at"
    " from webhook_attempts where webhook_id = %(webhook_id)s and (%(before)s::bigint is null or id < %(before)s)"
    " order by id desc limit %(limit)s"
)
_LETTERS: Final = (
    "select position, event_id, type, attempts, status, problem, said, died_at, requeued_at"
    " from webhook_dead_letters where webhook_id = %(webhook_id)s and position > %(after)s"
    " order by position limit %(limit)s"
)


class PostgresDeliveries:
    """Each call is one transaction; all but `begin` are one round trip."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def webhooks(self) -> Sequence[UUID]:
        """From the log, by an index of its own."""
        return [row[0] for row in await self._rows(_WEBHOOKS, {})]

    async def begin(self, webhook_id: UUID, beginning: Beginning) -> Place:
        """In one transaction, so that a replay or a requeue that was asked for is acted upon once."""
        given = {
            "webhook_id": webhook_id,
            "told_at": beginning.told_at,
            "after": beginning.after,
            "after_told_at": beginning.after_told_at,
            "fresh_told_at": beginning.fresh_told_at,
        }
        with unavailable_when_away():
            async with self._pool.connection() as connection, connection.transaction():
                known = await (await connection.execute(_TAKE, given)).fetchone()
                if known is None:
                    await connection.execute(_ENTER, given)
                acted = known[0] if known else -1
                for each in beginning.requeued:
                    if each.told_at > acted:
                        asked = {"webhook_id": webhook_id, "position": each.position, "before": each.before}
                        await connection.execute(_REQUEUE, asked)
                position, attempts, wait = (await (await connection.execute(_BEGIN, given)).fetchall())[0]
        return Place(position, attempts, wait or 0.0)

    async def delivered(self, webhook_id: UUID, fence: int, attempt: Attempt) -> None:
        """The place moves with the memory of it, or neither."""
        await self._run(_DELIVERED, _told(webhook_id, fence, attempt, "delivered"))

    async def failed(self, webhook_id: UUID, fence: int, attempt: Attempt, wait_seconds: float) -> float:
        """By the database's clock."""
        told = _told(webhook_id, fence, attempt, "failed") | {"wait": wait_seconds}
        rows = await self._rows(_FAILED, told)
        return rows[0][0] if rows else 0.0

    async def died(self, webhook_id: UUID, fence: int, attempt: Attempt) -> float:
        """The letter is kept before anything goes on, in the same statement."""
        rows = await self._rows(_DIED, _told(webhook_id, fence, attempt, "dead"))
        return rows[0][0] if rows else 0.0

    async def passed(self, places: Mapping[UUID, tuple[int, int]]) -> None:
        """All of them at once, never backwards."""
        fences, positions = [each[0] for each in places.values()], [each[1] for each in places.values()]
        await self._run(_PASSED, [list(places), fences, positions])

    async def requeued(self, webhook_id: UUID) -> Sequence[int]:
        """The oldest first."""
        return [row[0] for row in await self._rows(_REQUEUED, [webhook_id])]

    async def prune(self, webhook_id: UUID, keep: int) -> None:
        """The newest stay."""
        await self._run(_PRUNE, {"webhook_id": webhook_id, "keep": keep})

    async def forget(self, webhook_id: UUID) -> None:
        """All of it."""
        with unavailable_when_away():
            async with self._pool.connection() as connection, connection.transaction():
                for query in _FORGET:
                    await connection.execute(query, [webhook_id])

    async def standings(self, webhooks: Collection[UUID] | None = None) -> Mapping[UUID, DeliveryStanding]:
        """Of those that have begun."""
        rows = await self._rows(_STANDINGS, {"all": webhooks is None, "webhooks": list(webhooks or ())})
        return {row[0]: DeliveryStanding(*row[1:]) for row in rows}

    async def attempts(self, webhook_id: UUID, *, before: int | None, limit: int) -> Sequence[PastAttempt]:
        """The newest first."""
        wanted = {"webhook_id": webhook_id, "before": before, "limit": limit}
        with unavailable_when_away():
            async with self._pool.connection() as connection:
                cursor = connection.cursor(row_factory=args_row(PastAttempt))
                return await (await cursor.execute(_ATTEMPTS, wanted)).fetchall()

    async def dead_letters(self, webhook_id: UUID, *, after: int, limit: int) -> Sequence[DeadLetter]:
        """In order of position."""
        wanted = {"webhook_id": webhook_id, "after": after, "limit": limit}
        with unavailable_when_away():
            async with self._pool.connection() as connection:
                cursor = connection.cursor(row_factory=args_row(DeadLetter))
                return await (await cursor.execute(_LETTERS, wanted)).fetchall()

    async def _run(self, query: LiteralString, wanted: Any) -> None:
        with unavailable_when_away():
            async with self._pool.connection() as connection:
                await connection.execute(query, wanted)

    async def _rows(self, query: LiteralString, wanted: Any) -> list[tuple[Any, ...]]:
        with unavailable_when_away():
            async with self._pool.connection() as connection:
                return await (await connection.execute(query, wanted)).fetchall()


def _told(webhook_id: UUID, fence: int, attempt: Attempt, outcome: Outcome) -> dict[str, object]:
    posted = attempt.posted
    return {
        "webhook_id": webhook_id,
        "fence": fence,
        "position": attempt.position,
        "event_id": attempt.event_id,
        "type": attempt.type,
        "number": attempt.number,
        "outcome": outcome,
        "status": posted.status,
        "problem": posted.problem,
        "said": posted.said[:SAID],
        "milliseconds": posted.milliseconds,
    }
