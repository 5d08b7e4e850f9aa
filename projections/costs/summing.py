"""Reads reports from the sums, never from facts: so many rows at a time, in the order of periods, the dearest first."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, LiteralString
from uuid import UUID

from psycopg.rows import dict_row

from domain.errors import Refused
from domain.values import ZERO, money_text
from projections.costs.asking import Asked
from projections.costs.calendar import QUARTER, Period
from projections.costs.covering import Piece, cover, rows
from projections.costs.sums import AMOUNTS, COUNTS, DIMENSIONS, QUARTERED, SUMS, TABLES, WHOLE, Dimension, Grain, mask
from projections.paging import Page, cursor_text, cursor_values
from projections.projector import Connection

CEILING: Final = 1_000_000
"""Sums that one statement may have to add up, were every one of them there. Beyond that it asks for too much."""
COUNTED: Final = 300
"""Series up to which the groups that they make are counted; of more of them each may be one."""
FEW: Final = 3_000
"""Chosen series up to which each is looked up by itself; more of them, or all, are read in the order of time."""

STEPS_OF_A_PIECE: Final = 2
"""Pieces of more steps on average are added up before they are joined with what they are about."""


@dataclass(frozen=True, slots=True)
class Sums:
    """What was spent and counted."""

    attempts: int = 0
    estimated: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    amount: Decimal = ZERO
    estimated_amount: Decimal = ZERO
    besides: Mapping[str, int] | None = None
    """What is counted besides tokens of text, by bucket; None where there is none of it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a report: a period, the values of what it is grouped by, names to read them, and the sums."""

    period: Period
    values: Mapping[Dimension, Any]
    names: Mapping[Dimension, str | None]
    sums: Sums


async def booked(connection: Connection) -> Period | None:
    """From the first to the last quarter of an hour in which anything was booked; None before there is anything."""
    query = "select min(begins), max(begins) from cost_quarters where cut = %s"
    row = await (await connection.execute(query, [mask(())])).fetchone()
    return Period(row[0].astimezone(UTC), row[1].astimezone(UTC) + QUARTER) if row and row[0] else None


async def read(connection: Connection, asked: Asked, *, cursor: str | None = None, limit: int = 200) -> Page[Row]:
    """A page of a report. Reads Costs."""
    number, after = _place(asked, cursor) if cursor else (0, None)
    size = await _size(connection, asked)
    found = list[Row]()
    at_once = -(-(limit + 1) // max(1, size.groups))
    while number < len(asked.periods) and len(found) <= limit and size.groups:
        numbers = range(number, number + at_once)
        found += await _rows(connection, asked, numbers, size.series, after, limit + 1 - len(found))
        number, after, at_once = number + at_once, None, at_once * 2
    shown = found[:limit]
    if size.besides and shown:
        shown = await _with_uses(connection, asked, shown, size.series)
    shown = await _named(connection, shown)
    return Page(shown, _cursor(asked, shown[-1]) if len(found) > limit else None)


async def read_total(connection: Connection, asked: Asked) -> Sums:
    """Everything that is asked for, in one sum."""
    found = (await read(connection, asked.in_all(), limit=1)).items
    return found[0].sums if found else Sums()


@dataclass(frozen=True, slots=True)
class _Size:
    """How much there is to read: series that have what is asked for, groups that they make at most."""

    series: int
    groups: int
    besides: bool
    """Whether anything was counted besides tokens of text, by anybody."""


async def _size(connection: Connection, asked: Asked) -> _Size:
    where: LiteralString = _having("day", asked)
    query: LiteralString = (
        f"select count(*), count(distinct {_spelled(asked.columns)}), exists (select 1 from cost_uses)"
        f" from (select * from cost_series s where {where} limit %(counted)s) as s"
    )
    row = await (await connection.execute(query, {**_values(asked), "counted": COUNTED + 1})).fetchone()
    size = _Size(*row) if row else _Size(0, 0, besides=False)
    if size.series <= COUNTED:
        return size
    counting: LiteralString = f"select count(*) from cost_series s where {where}"
    counted = await (await connection.execute(counting, _values(asked))).fetchone()
    series: int = counted[0] if counted else 0
    return _Size(series, series if asked.columns else 1, size.besides)


async def _rows(
    connection: Connection,
    asked: Asked,
    numbers: range,
    series: int,
    after: tuple[Decimal, str] | None,
    limit: int,
) -> list[Row]:
    """The first so many rows of some periods."""
    covered = _covered(asked, numbers)
    parts = [piece for _, piece in covered]
    _check(parts, series)
    signed: LiteralString = "sign * " if any(piece.sign < 0 for _, piece in covered) else ""
    own: LiteralString = ", ".join(f"sum({each}) as {each}" for each in SUMS)
    counts: LiteralString = ", ".join(f"sum({signed}{each})::bigint as {each}" for each in COUNTS)
    amounts: LiteralString = ", ".join(f"sum({signed}{each}) as {each}" for each in AMOUNTS)
    pieces = _pieces(asked, covered, series, "c." + ", c.".join(SUMS))
    if rows(parts) > STEPS_OF_A_PIECE * len(parts):
        pieces = f"select piece, series, {own} from ({pieces}) as c group by piece, series"
    query = (
        f'select * from (select n, {_spelled(asked.columns)} collate "C" as spelled, {counts}, {amounts}'
        f"{_also(asked.columns)} from ({pieces}) as c join {_SHARES} on p.piece = c.piece"
        f" join {_series(asked, covered)} on s.series = c.series group by n{_also(asked.columns)}) as found"
        f" where {_ANYTHING} and"
        " (%(after)s::numeric is null or n > %(first)s or (amount, spelled) < (%(after)s::numeric, %(spelled)s::text))"
        " order by n, amount desc, spelled desc limit %(limit)s"
    )
    values = {**_values(asked), **_bounds(covered), "limit": limit, "first": numbers.start}
    values |= {"after": after[0] if after else None, "spelled": after[1] if after else ""}
    async with connection.cursor(row_factory=dict_row) as reader:
        found = await (await reader.execute(query, values, prepare=False)).fetchall()
    columns = asked.columns
    return [_row(asked, columns, each) for each in found]


async def _with_uses(connection: Connection, asked: Asked, found: Sequence[Row], series: int) -> list[Row]:
    """The same with what is counted besides."""
    first, last = asked.periods.index(found[0].period), asked.periods.index(found[-1].period)
    covered = _covered(asked, range(first, last + 1))
    own = _pieces(asked, covered, series, "c.bucket, c.quantity", "cost_uses")
    query = (
        f"select n, bucket, sum(sign * quantity)::bigint as quantity{_also(asked.columns)} from ({own}) as c"
        f" join {_SHARES} on p.piece = c.piece join {_series(asked, covered)} on s.series = c.series"
        f" group by n, bucket{_also(asked.columns)}"
        " having sum(sign * quantity) <> 0 order by bucket"
    )
    async with connection.cursor(row_factory=dict_row) as reader:
        given = {**_values(asked), **_bounds(covered)}
        rows = await (await reader.execute(query, given, prepare=False)).fetchall()
    uses: dict[tuple[Any, ...], dict[str, int]] = {}
    for each in rows:
        number: int = each["n"]
        values: list[Any] = [each[name] for name in asked.columns]
        uses.setdefault((asked.periods[number], *values), {})[each["bucket"]] = each["quantity"]
    return [
        replace(row, sums=replace(row.sums, besides=uses.get((row.period, *row.values.values()), {}))) for row in found
    ]


async def _named(connection: Connection, found: Sequence[Row]) -> list[Row]:
    """The same with the names of projects and agents."""
    ids = {value for row in found for name, value in row.values.items() if name in ("project_id", "agent_id") and value}
    if not ids:
        return list(found)
    query = "select id, name from cost_names where id = any(%s)"
    names: dict[UUID, str] = dict(await (await connection.execute(query, [list(ids)])).fetchall())
    return [replace(row, names={key: names.get(value) for key, value in row.values.items()}) for row in found]


def _covered(asked: Asked, numbers: range) -> list[tuple[int, Piece]]:
    return [
        (number, piece)
        for number in numbers
        if number < len(asked.periods)
        for piece in cover(asked.periods[number].begins, asked.periods[number].ends)
    ]


def _pieces(
    asked: Asked,
    covered: Sequence[tuple[int, Piece]],
    series: int,
    sums: LiteralString,
    table: LiteralString | None = None,
) -> LiteralString:
    """The sums that make up every period, with the values of their dimensions."""
    grains = {piece.grain for _, piece in covered}
    return " union all ".join(_part(asked, each, series, sums, table) for each in TABLES if each in grains)


def _part(asked: Asked, grain: Grain, series: int, sums: LiteralString, table: LiteralString | None) -> LiteralString:
    shown: LiteralString = f"p.piece, c.series, {sums}"
    bounds: LiteralString = (
        f"unnest(%({grain}_piece)s::int[], %({grain}_begins)s::timestamptz[], %({grain}_ends)s::timestamptz[])"
        " as p (piece, begins, ends)"
    )
    span: LiteralString = "c.begins >= p.begins and c.begins < p.ends"
    if table:
        span = f"c.grain = '{grain}' and {span}"
    elif series > FEW or not asked.chosen:
        return (
            f"select {shown} from {bounds} cross join lateral (select * from {TABLES[grain]} c"
            f" where c.cut = %({grain}_cut)s and {span} offset 0) as c"
        )
    return (
        f"select {shown} from {bounds} cross join"
        f" (select series from cost_series s where {_having(grain, asked)} offset 0) as s cross join lateral"
        f" (select * from {table or TABLES[grain]} c where c.series = s.series and {span} offset 0) as c"
    )


_SHARES: Final[LiteralString] = (
    "unnest(%(share_piece)s::int[], %(share_n)s::int[], %(share_sign)s::int[]) as p (piece, n, sign)"
)
"""Where a piece counts: what one day gains at its end, the next one loses at its beginning."""


_ANYTHING: Final[LiteralString] = "(" + " or ".join(f"{each} <> 0" for each in SUMS) + ")"
"""A change of a closed month moves no attempt, and perhaps no money either: its counts are a row all the same."""


def _series(asked: Asked, covered: Sequence[tuple[int, Piece]]) -> LiteralString:
    """Every series that is asked for: joined last, when each has one row for each piece."""
    quarters: LiteralString = ", %(quarter_cut)s" if any(piece.grain == "quarter" for _, piece in covered) else ""
    return f"(select * from cost_series s where s.cut in (%(day_cut)s{quarters}){asked.condition} offset 0) as s"


def _having(grain: Grain, asked: Asked) -> LiteralString:
    return f"s.cut = %({grain}_cut)s{asked.condition}"


def _values(asked: Asked) -> dict[str, Any]:
    cuts = {"month_cut": asked.cut, "day_cut": asked.cut}
    cuts["quarter_cut"] = asked.cut if asked.cut in QUARTERED else WHOLE
    return {**asked.chosen, **{name: mask(cut) for name, cut in cuts.items()}}


def _bounds(covered: Sequence[tuple[int, Piece]]) -> dict[str, str]:
    """The pieces, each once, and which periods they count for."""
    pieces: dict[tuple[Grain, datetime, datetime], int] = {}
    shares: list[tuple[int, int, int]] = []
    for number, each in covered:
        piece = pieces.setdefault((each.grain, each.begins, each.ends), len(pieces))
        shares.append((piece, number, each.sign))
    found: dict[str, str] = {
        f"share_{name}": _array(share[place] for share in shares) for place, name in enumerate(("piece", "n", "sign"))
    }
    for grain in TABLES:
        own = [(piece, begins, ends) for (of, begins, ends), piece in pieces.items() if of == grain]
        found[f"{grain}_piece"] = _array(piece for piece, _, _ in own)
        found[f"{grain}_begins"] = _array(begins.isoformat() for _, begins, _ in own)
        found[f"{grain}_ends"] = _array(ends.isoformat() for _, _, ends in own)
    return found


def _array(values: Iterable[int | str]) -> str:
    """Numbers or instants as PostgreSQL spells them: the driver looks at each of a thousand for what it may be."""
    return "{" + ",".join(map(str, values)) + "}"


def _check(pieces: Sequence[Piece], series: int) -> None:
    most = series * rows(pieces)
    if most > CEILING:
        msg = (
            f"this may have to add up {most:,} sums, and {CEILING:,} are the most: ask for less time, for coarser "
            "periods, for one project or agent, or group by fewer things"
        )
        raise Refused(msg, code="report_too_large", most=CEILING, wanted=most)


def _row(asked: Asked, columns: Sequence[Dimension], row: Mapping[str, Any]) -> Row:
    values: dict[Dimension, Any] = {name: row[name] for name in columns}
    number: int = row["n"]
    return Row(asked.periods[number], values, {}, Sums(*[row[each] for each in SUMS]))


def _also(columns: Sequence[Dimension]) -> LiteralString:
    return "".join(f", {each}" for each in DIMENSIONS if each in columns)


def _spelled(columns: Sequence[Dimension]) -> LiteralString:
    """The group as one text, which makes the order unique."""
    texts: LiteralString = "".join(f", coalesce({each}::text, '')" for each in DIMENSIONS if each in columns)
    return f"concat_ws('/', ''{texts})"


def _order(asked: Asked) -> str:
    return f"costs by {', '.join(asked.by)}"


def _cursor(asked: Asked, last: Row) -> str:
    spelled = "/".join(["", *("" if each is None else str(each) for each in last.values.values())])
    return cursor_text(_order(asked), last.period.begins.isoformat(), money_text(last.sums.amount), spelled)


def _place(asked: Asked, cursor: str) -> tuple[int, tuple[Decimal, str]]:
    """The period where a cursor goes on, and the row after which."""
    begins, amount, spelled = cursor_values(cursor, _order(asked), 3)
    numbers = [number for number, each in enumerate(asked.periods) if each.begins.isoformat() == begins]
    if not numbers:
        msg = "this cursor belongs to a report about other periods: give the same from, to, bucket and zone with it"
        raise Refused(msg, code="invalid_cursor")
    return numbers[0], (Decimal(amount), spelled)
