"""Sums of costs: by which dimensions and in which steps of time they are kept, and the statement that moves them."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, LiteralString

Dimension = Literal["project_id", "phase", "agent_id", "provider", "model", "key_id", "tier"]
Grain = Literal["month", "day", "quarter"]

DIMENSIONS: Final[Mapping[Dimension, LiteralString]] = {
    "project_id": "uuid",
    "phase": "text",
    "agent_id": "uuid",
    "provider": "text",
    "model": "text",
    "key_id": "uuid",
    "tier": "text",
}
COUNTS: Final[Sequence[LiteralString]] = (
    "attempts",
    "estimated",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
)
AMOUNTS: Final[Sequence[LiteralString]] = ("amount", "estimated_amount")
SUMS: Final[Sequence[LiteralString]] = (*COUNTS, *AMOUNTS)

CUTS: Final[Sequence[Sequence[Dimension]]] = (
    (),
    ("key_id",),
    ("provider", "model", "tier"),
    ("project_id",),
    ("project_id", "phase", "agent_id"),
    tuple(DIMENSIONS),
)
"""What sums are kept by, the fewest series first: a report reads the first one that has all that it asks about."""
WHOLE: Final = CUTS[-1]
QUARTERED: Final[Sequence[Sequence[Dimension]]] = (*CUTS[:4], WHOLE)
"""Cuts that are kept by the quarter of an hour. By agent there would be as many rows as of `WHOLE`, which serves."""
STEPS: Final[Mapping[Grain, LiteralString]] = {
    "month": "date_trunc('month', begins, 'UTC')",
    "day": "date_trunc('day', begins, 'UTC')",
    "quarter": "begins",
}
"""Where the step begins that a change falls into."""
TABLES: Final[Mapping[Grain, LiteralString]] = {
    "month": "cost_months",
    "day": "cost_days",
    "quarter": "cost_quarters",
}


def mask(cut: Sequence[Dimension]) -> int:
    """The dimensions that a cut leaves out, as PostgreSQL's `grouping` counts them."""
    left_out = ["0" if each in cut else "1" for each in DIMENSIONS]
    return int("".join(left_out), 2)


_NAMES: Final = ", ".join(DIMENSIONS)
_CUT: Final = f"grouping({_NAMES})"
_SERIES: Final[LiteralString] = (
    f"md5(concat_ws('|', {_CUT}, " + ", ".join(f"coalesce({each}::text, '-')" for each in DIMENSIONS) + "))::uuid"
)
"""No value but a model's name can hold the separator, so no two choices are spelled the same."""


def _sets(cuts: Sequence[Sequence[Dimension]]) -> LiteralString:
    return "grouping sets (" + ", ".join("(" + ", ".join(each) + ")" for each in cuts) + ")"


def _kept(grain: Grain) -> Sequence[Sequence[Dimension]]:
    return QUARTERED if grain == "quarter" else CUTS


def _move(grain: Grain) -> LiteralString:
    """Add the changes to the sums of one grain."""
    table: LiteralString = TABLES[grain]
    sums: LiteralString = ", ".join(f"sum({each})" for each in SUMS)
    added: LiteralString = ", ".join(f"{each} = {table}.{each} + excluded.{each}" for each in SUMS)
    return (
        f"insert into {table} (series, cut, begins, {', '.join(SUMS)}) select {_SERIES}, {_CUT}, {STEPS[grain]}, {sums}"
        f" from changes group by {STEPS[grain]}, {_sets(_kept(grain))}"
        f" on conflict (series, begins) do update set {added}"
    )


def _move_uses(grain: Grain) -> LiteralString:
    return (
        f"select {_SERIES}, '{grain}', {STEPS[grain]}, bucket, sum(quantity)"
        f" from changes group by {STEPS[grain]}, bucket, {_sets(_kept(grain))}"
    )


_LOCKED: Final = "(select pg_advisory_xact_lock(hashtextextended(current_schema() || '.cost_series', 0))) as lock"
"""Whoever moves sums waits for the one before: consumers of several partitions move the same sums of everything."""


def moving(changes: LiteralString) -> LiteralString:
    """The statement that moves every sum by these changes: rows of `begins` (a quarter), dimensions and sums."""
    moves: LiteralString = ", ".join(f"{grain}s as ({_move(grain)})" for grain in TABLES)
    return (
        f"with changes as materialized ({changes}), {moves} insert into cost_series (series, cut, {_NAMES})"
        f" select {_SERIES}, {_CUT}, {_NAMES} from changes group by {_sets(CUTS)} on conflict (series) do nothing"
    )


def moving_uses(changes: LiteralString) -> LiteralString:
    """The same for what is counted besides: rows of `begins`, dimensions, `bucket` and `quantity`."""
    moves = " union all ".join(_move_uses(grain) for grain in TABLES)
    return (
        f"with changes as materialized ({changes}) insert into cost_uses (series, grain, begins, bucket, quantity)"
        f" {moves} on conflict (series, grain, begins, bucket)"
        " do update set quantity = cost_uses.quantity + excluded.quantity"
    )


def _of_json(columns: Mapping[LiteralString, LiteralString]) -> LiteralString:
    of: Mapping[LiteralString, LiteralString] = {**DIMENSIONS, **columns}
    kinds: LiteralString = ", ".join([name + " " + kind for name, kind in of.items()])
    return f"select given.* from {_LOCKED}, json_to_recordset(%s::json) as given (begins timestamptz, {kinds})"


_KINDS: Final[Mapping[LiteralString, LiteralString]] = {
    **dict.fromkeys(COUNTS, "bigint"),
    **dict.fromkeys(AMOUNTS, "numeric"),
}
MOVE: Final = moving(_of_json(_KINDS))
MOVE_USES: Final = moving_uses(_of_json({"bucket": "text", "quantity": "bigint"}))
