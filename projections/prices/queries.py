"""Asks for estimates, changes of prices, models in use, and what may be priced anew."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Final, LiteralString
from uuid import UUID

from psycopg.rows import dict_row

from domain.values import Instant, Money
from projections.listing import Listing
from projections.paging import Page
from projections.projector import Connection
from projections.views import View


class Estimate(View):
    """An attempt that stands at the most it can have cost, until somebody says what it used."""

    cost_id: UUID
    position: int
    recorded_at: Instant
    priced_on: date
    project_id: UUID | None
    agent_id: UUID | None
    job_id: UUID
    attempt_id: UUID
    response_id: str | None
    """By what the vendor knows it, where it answered."""
    provider: str
    model: str
    amount: Money
    counted: bool
    """Whether its usage is known and only the price is missing: a card and a re-rating mend it."""
    problem: str | None


class CostChange(View):
    """A cost that was changed after it had been recorded."""

    position: int
    cost_id: UUID
    kind: str
    card: str | None
    reason: str | None
    actor: str
    recorded_at: Instant
    recorded_on: date
    booked_on: date
    """Where the difference counts: the day of the cost, or a later one where that day's month was closed."""
    project_id: UUID | None
    job_id: UUID
    attempt_id: UUID
    provider: str
    model: str
    previous: Money
    amount: Money
    delta: Money


class UsedModel(View):
    """A model that was asked, or that answered."""

    provider: str
    model: str
    asked: int
    answered: int
    last_at: Instant


class Oddity(View):
    """A count in vendors' usage that this release does not know."""

    provider: str
    field: str
    attempts: int
    last_position: int
    last_attempt: UUID


class Priced(View):
    """An attempt that may be priced anew."""

    cost_id: UUID
    position: int
    counted: bool


@dataclass(frozen=True, slots=True)
class Between:
    """Attempts at one provider whose prices are those of these days, both included."""

    provider: str
    first_day: date | None = None
    last_day: date | None = None


_ESTIMATES: Final = Listing[Estimate](
    name="estimates",
    query="select cost_id, position, recorded_at, priced_on, project_id, agent_id, a.job_id, a.attempt_id,"
    " r.response_id, provider, model, amount, counted, problem from priced_attempts a"
    " left join attempt_responses r on r.attempt_id = a.attempt_id"
    " where estimated and {filters} and {after} order by {order}",
    row=Estimate.model_validate,
    order={"position": "bigint"},
    filters={"provider": "provider = %(provider)s", "project_id": "project_id = %(project_id)s"},
)
_CHANGES: Final = Listing[CostChange](
    name="cost changes",
    query="select position, cost_id, kind, card, reason, actor, recorded_at, recorded_on, booked_on, project_id,"
    " job_id, attempt_id, provider, model, previous, amount, delta from cost_changes"
    " where {filters} and {after} order by {order}",
    row=CostChange.model_validate,
    order={"position": "bigint"},
    filters={
        "card": "card = %(card)s",
        "kind": "kind = %(kind)s",
        "project_id": "project_id = %(project_id)s",
        "month": "to_char(booked_on, 'YYYY-MM') = %(month)s",
    },
)
_PRICED: Final = Listing[Priced](
    name="priced attempts",
    query="select cost_id, position, counted from priced_attempts where {filters} and {after} order by {order}",
    row=Priced.model_validate,
    order={"position": "bigint"},
    filters={
        "provider": "provider = %(provider)s",
        "first_day": "priced_on >= %(first_day)s",
        "last_day": "priced_on <= %(last_day)s",
    },
    descending=False,
)
_USED: Final = "select provider, model, asked, answered, last_at from used_models order by provider, model limit %s"
_ODDITIES: Final = (
    "select provider, field, attempts, last_position, last_attempt from usage_oddities"
    " order by last_position desc, field limit %s"
)
_WAITING: Final = (
    "select count(*) as estimates, count(*) filter (where counted) as without_price,"
    " coalesce(sum(amount), 0) as amount from priced_attempts where estimated"
)
_BY_RESPONSE: Final = (
    "select response_id, job_id, attempt_id from attempt_responses where response_id = any(%s) order by attempt_id"
)
_BY_ATTEMPT: Final = "select attempt_id, job_id from priced_attempts where attempt_id = any(%s)"
MOST: Final = 1_000


async def estimates(
    connection: Connection,
    *,
    provider: str | None = None,
    project_id: UUID | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[Estimate]:
    """What waits for its usage or its price, the newest first. Reads PricedAttempts."""
    wanted = {"provider": provider, "project_id": project_id}
    return await _ESTIMATES.page(connection, wanted, cursor=cursor, limit=limit)


async def cost_changes(
    connection: Connection,
    *,
    card: str | None = None,
    kind: str | None = None,
    project_id: UUID | None = None,
    month: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[CostChange]:
    """Costs that were changed later, the newest change first; `month` is where it counts. Reads PricedAttempts."""
    wanted = {"card": card, "kind": kind, "project_id": project_id, "month": month}
    return await _CHANGES.page(connection, wanted, cursor=cursor, limit=limit)


async def priced(connection: Connection, wanted: Between, *, cursor: str | None, limit: int) -> Page[Priced]:
    """Attempts in the order in which they were recorded. Reads PricedAttempts."""
    return await _PRICED.page(connection, asdict(wanted), cursor=cursor, limit=limit)


async def _rows(connection: Connection, query: LiteralString, values: Sequence[object]) -> list[dict[str, Any]]:
    async with connection.cursor(row_factory=dict_row) as reader:
        return await (await reader.execute(query, values)).fetchall()


async def used_models(connection: Connection) -> list[UsedModel]:
    """Every model that was asked or that answered, by name. Reads PricedAttempts."""
    return [UsedModel.model_validate(each) for each in await _rows(connection, _USED, [MOST])]


async def oddities(connection: Connection) -> list[Oddity]:
    """Counts that nobody prices, those that were seen last first. Reads PricedAttempts."""
    return [Oddity.model_validate(each) for each in await _rows(connection, _ODDITIES, [MOST])]


async def waiting(connection: Connection) -> Mapping[str, Any]:
    """How many estimates there are, how many of them lack only a price, and what they stand at."""
    return (await _rows(connection, _WAITING, []))[0]


async def attempts_by_response(connection: Connection, ids: Collection[str]) -> Mapping[str, list[tuple[UUID, UUID]]]:
    """Jobs and attempts that were answered under these ids of a vendor. Reads PricedAttempts."""
    found: dict[str, list[tuple[UUID, UUID]]] = {}
    for each in await _rows(connection, _BY_RESPONSE, [list(ids)]):
        found.setdefault(each["response_id"], []).append((each["job_id"], each["attempt_id"]))
    return found


async def jobs_of_attempts(connection: Connection, ids: Collection[UUID]) -> Mapping[UUID, UUID]:
    """The job of each of these attempts. Reads PricedAttempts."""
    return {each["attempt_id"]: each["job_id"] for each in await _rows(connection, _BY_ATTEMPT, [list(ids)])}
