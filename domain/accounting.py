"""Accounting: which months are closed. No routes: a month is closed where costs are looked at."""

import re
from datetime import UTC, date, datetime
from typing import Annotated
from uuid import UUID

from pydantic import StringConstraints

from domain.errors import Refused
from domain.kernel import Aggregate, Created, event
from domain.values import Name

MONTH = r"^[0-9]{4}-(0[1-9]|1[0-2])$"
Month = Annotated[str, StringConstraints(pattern=MONTH)]
"""`2026-10`, in UTC."""


def month_of(day: date) -> str:
    """The month that a day lies in."""
    return f"{day:%Y-%m}"


def day_of(moment: datetime) -> date:
    """The day in UTC that a moment lies in."""
    return moment.astimezone(UTC).date()


def check_month(text: str) -> str:
    """The same, when it is a month."""
    if not re.fullmatch(MONTH, text):
        raise Refused(f"{text!r} is no month: write it as 2026-10", code="invalid_month")
    return text


class Accounting(Aggregate):
    """The months, closed one after another: what a report says of a closed one never changes again."""

    TOPIC = "accounting"
    FOLD = 1
    closed_through: str | None

    class Opened(Created, type="accounting.opened"):
        """Months are closed in this installation."""

    class MonthClosed(Aggregate.Event, type="accounting.month_closed"):
        """This month and all before it are closed: what changes about their costs counts in the month of the change."""

        month: Month
        by: Name

    # --- decisions ---

    @event(Opened)
    def __init__(self, id: UUID) -> None:  # noqa: ARG002 -- the library's name for it
        self.closed_through = None

    def close(self, month: str, by: str) -> None:
        """Close it and those before it; closing it again changes nothing."""
        if not self.is_closed_month(month):
            self.trigger_event(Accounting.MonthClosed, month=month, by=by)

    def is_closed_month(self, month: str) -> bool:
        """Whether nothing may be booked there any more."""
        return self.closed_through is not None and month <= self.closed_through

    # --- appliers ---

    @event(MonthClosed)
    def _month_closed(self, month: str) -> None:
        self.closed_through = month


def is_closed(books: Accounting | None, day: date) -> bool:
    """Whether a day lies in a closed month."""
    return books is not None and books.is_closed_month(month_of(day))


def booking_day(books: Accounting | None, day: date, today: date) -> date:
    """Where a change to what was spent on a day counts: there, or today when its month is closed."""
    return today if is_closed(books, day) else day


def check_over(month: str, today: date) -> None:
    """Refuse to close a month in which money may still be spent."""
    check_month(month)
    if month >= month_of(today):
        raise Refused(
            f"{month} is not over: today is {today} in UTC, so close {month_of(_last_month(today))} or an earlier one",
            code="month_not_over",
        )


def _last_month(today: date) -> date:
    first = today.replace(day=1)
    return date.fromordinal(first.toordinal() - 1)
