"""Which sums make up a period: whole months and days of UTC, with quarters of an hour added or taken away at its ends.

A day in Berlin is the day of UTC, and the hour before it, less its last hour: nine rows instead of ninety-six.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from projections.costs.calendar import QUARTER
from projections.costs.sums import Grain

_DAY: Final = timedelta(days=1)
_COARSER: Final[dict[Grain, Grain]] = {"quarter": "day", "day": "month"}
"""A range in steps of the one may be better covered by the other and two ends."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The sums of one grain between two moments, to be added, or with sign -1 to be taken away."""

    grain: Grain
    begins: datetime
    ends: datetime
    sign: int = 1


@lru_cache(maxsize=8192)
def cover(begins: datetime, ends: datetime) -> Sequence[Piece]:
    """Pieces that add up to a period, with as few rows as can be. Both ends begin a quarter of an hour."""
    return tuple(each for each in _cover("quarter", begins, ends) if each.begins < each.ends)


def _cover(grain: Grain, begins: datetime, ends: datetime) -> list[Piece]:
    direct = [Piece(grain, begins, ends)]
    if grain not in _COARSER or begins >= ends:
        return direct
    coarser = _COARSER[grain]
    inner_begins, inner_ends = _nearest(begins, coarser), _nearest(ends, coarser)
    if inner_begins >= inner_ends:
        return direct
    by_coarser = [
        _signed(grain, begins, inner_begins),
        *_cover(coarser, inner_begins, inner_ends),
        _signed(grain, inner_ends, ends),
    ]
    return min(direct, by_coarser, key=rows)


def rows(pieces: Sequence[Piece]) -> int:
    """Rows of one series, at most."""
    return sum(_steps(each) for each in pieces)


def _steps(piece: Piece) -> int:
    match piece.grain:
        case "month":
            first, last = piece.begins, piece.ends
            return (last.year - first.year) * 12 + last.month - first.month
        case "day":
            return (piece.ends - piece.begins) // _DAY
        case "quarter":
            return (piece.ends - piece.begins) // QUARTER


def _signed(grain: Grain, begins: datetime, ends: datetime) -> Piece:
    return Piece(grain, begins, ends) if begins <= ends else Piece(grain, ends, begins, -1)


def _nearest(moment: datetime, grain: Grain) -> datetime:
    """The beginning of a day or a month of UTC that lies nearest."""
    utc = moment.astimezone(UTC)
    floor = utc.replace(hour=0, minute=0)
    if grain == "day":
        ceiling = floor + _DAY
    else:
        floor = floor.replace(day=1)
        ceiling = (floor + timedelta(days=32)).replace(day=1)
    return floor if utc - floor <= ceiling - utc else ceiling
