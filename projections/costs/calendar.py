"""Periods of a report: hours, days, weeks and months as they are in a time zone, with every change of its clocks."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from domain.errors import Refused

Step = Literal["hour", "day", "week", "month"]
STEPS: Final[tuple[Step, ...]] = get_args(Step)
MOST_PERIODS: Final = 1_000
"""More of them nobody looks at, and no chart shows."""
USUAL: Final[dict[Step, int]] = {"hour": 48, "day": 30, "week": 12, "month": 12}
"""How many a report has whose beginning nobody says."""
QUARTER: Final = timedelta(minutes=15)
_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Period:
    """From a moment up to, not including, another; both begin a quarter of an hour."""

    begins: datetime
    ends: datetime


def zone_of(name: str) -> ZoneInfo:
    """The time zone of this name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        msg = f"there is no time zone {name[:60]!r}: name one like Europe/Berlin, Asia/Kolkata or UTC"
        raise Refused(msg, code="unknown_time_zone") from error


def moment_of(said: date | datetime, zone: ZoneInfo) -> datetime:
    """A day's beginning in its zone, or a moment that begins a quarter of an hour."""
    if not isinstance(said, datetime):
        return _midnight(said, zone)
    moment = (said if said.tzinfo else said.replace(tzinfo=zone)).astimezone(UTC)
    if moment.minute % 15 or moment.second or moment.microsecond:
        msg = (
            f"{said.isoformat()} begins no quarter of an hour, and sums are kept by those: ask for :00, :15, :30 or :45"
        )
        raise Refused(msg, code="no_quarter_hour")
    return moment


def begun(moment: datetime, step: Step, zone: ZoneInfo) -> datetime:
    """Where the period begins that a moment lies in."""
    local = moment.astimezone(zone)
    match step:
        case "hour":
            start = moment - timedelta(minutes=local.minute % 60, seconds=local.second, microseconds=local.microsecond)
            while not _same_hour(start, local, zone):  # the clocks were put on within this hour
                start += QUARTER
            return start.astimezone(UTC)
        case "day":
            return _midnight(local.date(), zone)
        case "week":
            return _midnight(local.date() - timedelta(days=local.weekday()), zone)
        case "month":
            return _midnight(local.date().replace(day=1), zone)


def after(start: datetime, step: Step, zone: ZoneInfo, count: int = 1) -> datetime:
    """Where the next period begins, or the one so many later; earlier with a negative count."""
    if step == "hour":
        moment = start
        for _ in range(abs(count)):
            moment = _next_hour(moment, zone) if count > 0 else begun(moment - QUARTER, step, zone)
        return moment
    local = start.astimezone(zone).date()
    match step:
        case "day":
            return _midnight(local + timedelta(days=count), zone)
        case "week":
            return _midnight(local + timedelta(weeks=count), zone)
        case "month":
            months = local.year * 12 + local.month - 1 + count
            return _midnight(date(months // 12, months % 12 + 1, 1), zone)


def periods(begins: datetime, ends: datetime, step: Step, zone: ZoneInfo, *, most: int = MOST_PERIODS) -> list[Period]:
    """Every period between two moments; the first and the last may be cut. Refused when they are too many."""
    found = list[Period]()
    for each in _periods(begins, ends, step, zone):
        if len(found) == most:
            coarser = STEPS[STEPS.index(step) + 1 :]
            msg = f"from {begins.date()} to {ends.date()} there are more than {most} periods of a {step}: "
            fix = f"ask for bucket={coarser[0]}, or for less time" if coarser else "ask for less time"
            raise Refused(msg + fix, code="too_many_buckets", most=most)
        found.append(each)
    return found


def _periods(begins: datetime, ends: datetime, step: Step, zone: ZoneInfo) -> Iterator[Period]:
    start, following = begins, after(begun(begins, step, zone), step, zone)
    while start < ends:
        yield Period(start, min(ends, following))
        start, following = following, after(following, step, zone)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """Where a day begins: a midnight that the clocks skip is the moment they skip it at."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _same_hour(moment: datetime, local: datetime, zone: ZoneInfo) -> bool:
    own = moment.astimezone(zone)
    return (own.date(), own.hour, own.utcoffset()) == (local.date(), local.hour, local.utcoffset())


def _next_hour(start: datetime, zone: ZoneInfo) -> datetime:
    local, later = start.astimezone(zone), (start + _HOUR).astimezone(zone)
    if not local.minute and local.utcoffset() == later.utcoffset():
        return start + _HOUR
    moment = start + QUARTER
    while _same_hour(moment, local, zone):
        moment += QUARTER
    return moment
