"""Windows of time: days of 23 and 25 hours, weeks from Monday, months, the last so many hours; zones that exist."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from domain.windows import LIFETIME, AskedWindow, Window

MOMENTS = st.datetimes(datetime(2005, 1, 1), datetime(2035, 1, 1)).map(lambda each: each.replace(tzinfo=UTC))  # noqa: DTZ001
ZONES = st.sampled_from(
    [
        "UTC",
        "Europe/Berlin",
        "America/Sao_Paulo",
        "Pacific/Apia",
        "Asia/Kathmandu",
        "Australia/Lord_Howe",
        "Asia/Beirut",
    ]
)


def hours(window: Window, now: datetime) -> float:
    span = window.span(now)
    assert span is not None
    return (span.ends_at - span.starts_at) / timedelta(hours=1)


@pytest.mark.parametrize(
    ("kind", "now", "wanted"),
    [
        ("day", datetime(2026, 3, 29, 12, tzinfo=UTC), 23),
        ("day", datetime(2026, 10, 25, 12, tzinfo=UTC), 25),
        ("day", datetime(2026, 11, 21, 12, tzinfo=UTC), 24),
        ("week", datetime(2026, 10, 25, 12, tzinfo=UTC), 7 * 24 + 1),
        ("month", datetime(2026, 3, 5, tzinfo=UTC), 31 * 24 - 1),
        ("month", datetime(2028, 2, 29, tzinfo=UTC), 29 * 24),
    ],
)
def test_calendar_windows_are_as_long_as_the_clocks_make_them(kind: str, now: datetime, wanted: int) -> None:
    assert hours(Window.model_validate({"kind": kind, "time_zone": "Europe/Berlin"}), now) == wanted


def test_a_week_begins_on_monday() -> None:
    span = Window(kind="week", time_zone="UTC").span(datetime(2026, 11, 21, 10, tzinfo=UTC))
    assert span is not None
    assert (span.starts_at, span.ends_at) == (datetime(2026, 11, 16, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC))


@given(now=MOMENTS, zone=ZONES, kind=st.sampled_from(["day", "week", "month"]))
def test_calendar_windows_follow_one_another_without_a_gap(now: datetime, zone: str, kind: str) -> None:
    window = Window.model_validate({"kind": kind, "time_zone": zone})
    span = window.span(now)
    assert span is not None
    assert span.starts_at <= now < span.ends_at
    after = window.span(span.ends_at)
    before = window.span(span.starts_at - timedelta(microseconds=1))
    assert after is not None
    assert before is not None
    assert (after.starts_at, before.ends_at) == (span.ends_at, span.starts_at)
    assert window.span(span.ends_at - timedelta(microseconds=1)) == span


@given(now=MOMENTS, length=st.integers(1, 24 * 30))
def test_a_rolling_window_covers_its_hours_and_at_most_a_part_more(now: datetime, length: int) -> None:
    span = Window(kind="rolling", hours=length).span(now)
    assert span is not None
    part = timedelta(hours=length) / 24
    assert span.starts_at <= now - timedelta(hours=length) < span.starts_at + part
    assert span.begins_at <= now < span.ends_at == span.begins_at + part


def test_a_lifetime_never_ends() -> None:
    assert LIFETIME.span(datetime(2026, 11, 21, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    ("asked", "saying"),
    [
        ({"kind": "day", "time_zone": "Europe/Bonn"}, "there is no time zone Europe/Bonn: use an IANA name"),
        ({"kind": "day", "time_zone": "../etc"}, "time_zone"),
        ({"kind": "day", "time_zone": "/usr"}, "there is no time zone"),
        ({"kind": "rolling"}, "needs its hours"),
        ({"kind": "day", "hours": 3}, "only a rolling one"),
        ({"kind": "rolling", "hours": 0}, "hours"),
        ({"kind": "rolling", "hours": 24 * 366 + 1}, "hours"),
        ({"kind": "rolling", "hours": 24, "time_zone": "UTC"}, "has no time zone"),
        ({"kind": "lifetime", "time_zone": "UTC"}, "has no time zone"),
        ({"kind": "fortnight"}, "kind"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused(asked: dict[str, object], saying: str) -> None:
    with pytest.raises(ValidationError, match=saying):
        TypeAdapter(AskedWindow).validate_python(asked)
