"""Windows of time that a limit covers: a lifetime, calendar days, weeks and months, or the last so many hours."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, StringConstraints

from domain.values import Instant, Value

BUCKETS = 24
"""Parts of a rolling window. What was spent leaves it a part at a time, never before its hours are over."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZoneName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+_/-]{1,64}$")]


class Span(Value):
    """One window at one time: everything from `starts_at` counts, new holds count from `begins_at`, until `ends_at`.

    In a calendar window the first two are the same; in a rolling one `begins_at` opens its newest part.
    """

    starts_at: Instant
    begins_at: Instant
    ends_at: Instant


class Window(Value):
    """How long what was spent counts. Days, weeks from Monday and months are those of a time zone."""

    kind: Literal["lifetime", "day", "week", "month", "rolling"] = "lifetime"
    time_zone: ZoneName | None = None
    hours: Annotated[int, Field(ge=1, le=24 * 366)] | None = None

    @property
    def is_calendar(self) -> bool:
        """Whether it follows a calendar."""
        return self.kind in ("day", "week", "month")

    @property
    def label(self) -> str:
        """In words: `lifetime`, `day Europe/Berlin`, `last 24 h`."""
        if self.kind == "rolling":
            return f"last {self.hours} h"
        return f"{self.kind} {self.time_zone or 'UTC'}" if self.is_calendar else self.kind

    def span(self, now: datetime) -> Span | None:
        """The window that this moment lies in; None where it never ends."""
        match self.kind:
            case "lifetime":
                return None
            case "rolling":
                return self._rolling(now)
            case _:
                return self._calendar(now)

    def _rolling(self, now: datetime) -> Span:
        part = timedelta(hours=self.hours or 1) / BUCKETS
        begins = _EPOCH + (now - _EPOCH) // part * part
        return Span(starts_at=begins - BUCKETS * part, begins_at=begins, ends_at=begins + part)

    def _calendar(self, now: datetime) -> Span:
        zone = ZoneInfo(self.time_zone or "UTC")
        first = self._first_day(now.astimezone(zone).date())
        starts, ends = _midnight(first, zone), _midnight(self._next(first), zone)
        while ends <= now:  # clocks that are set back over a midnight say the day before once more
            first = self._next(first)
            starts, ends = ends, _midnight(self._next(first), zone)
        return Span(starts_at=starts, begins_at=starts, ends_at=ends)

    def _first_day(self, day: date) -> date:
        if self.kind == "week":
            return day - timedelta(days=day.weekday())
        return day.replace(day=1) if self.kind == "month" else day

    def _next(self, first: date) -> date:
        if self.kind == "month":
            return (first + timedelta(days=31)).replace(day=1)
        return first + timedelta(days=7 if self.kind == "week" else 1)


LIFETIME = Window()


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """When the day begins there; where its midnight is left out, at the change of the clocks."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def check_zone(name: str) -> str:
    """The same name, when such a time zone exists."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as unknown:
        raise ValueError(
            f"there is no time zone {name}: use an IANA name such as Europe/Berlin, America/New_York or UTC"
        ) from unknown
    return name


def check_window(window: Window) -> Window:
    """The same window, when it makes sense. Only where people ask: a log must load also where zones are missing."""
    if (window.hours is not None) != (window.kind == "rolling"):
        raise ValueError("a rolling window needs its hours, and only a rolling one has them")
    if window.time_zone is not None and not window.is_calendar:
        raise ValueError(f"a {window.kind} window has no time zone: only day, week and month do")
    if window.time_zone is not None:
        check_zone(window.time_zone)
    return window


KnownZone = Annotated[ZoneName, AfterValidator(check_zone)]
AskedWindow = Annotated[Window, AfterValidator(check_window)]
