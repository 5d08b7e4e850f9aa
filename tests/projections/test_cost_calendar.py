"""Periods and what they are made of: every zone, every change of clocks, nothing counted twice or left out."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import Refused
from projections.costs.calendar import QUARTER, STEPS, Step, after, begun, moment_of, periods, zone_of
from projections.costs.covering import Piece, cover, rows
from tests.support.examples import examples

ZONES = sorted(each for each in available_timezones() if "/" in each and not each.startswith(("posix", "right")))
STRANGE = [
    "UTC", "Europe/Berlin", "America/Los_Angeles", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe",
    "Pacific/Chatham", "Pacific/Apia", "America/St_Johns", "Africa/Cairo", "America/Santiago", "Pacific/Kiritimati",
]  # fmt: skip
QUARTERS = st.integers(0, 4 * 24 * 366 * 3).map(lambda count: datetime(2025, 1, 1, tzinfo=UTC) + count * QUARTER)


def quarters(pieces: Sequence[Piece]) -> dict[datetime, int]:
    """How often each quarter of an hour is counted; those that cancel out are left out."""
    found: dict[datetime, int] = {}
    for piece in pieces:
        moment = piece.begins
        while moment < piece.ends:
            found[moment] = found.get(moment, 0) + piece.sign
            moment += QUARTER
    return {moment: count for moment, count in found.items() if count}


@settings(max_examples=examples(150), deadline=None)
@given(QUARTERS, st.integers(0, 4 * 24 * 80))
def test_pieces_count_each_quarter_of_a_period_once_and_no_other(begins: datetime, length: int) -> None:
    ends = begins + length * QUARTER
    expected = {begins + number * QUARTER: 1 for number in range(length)}
    assert quarters(cover(begins, ends)) == expected


@settings(max_examples=examples(200), deadline=None)
@given(QUARTERS, st.integers(0, 4 * 24 * 3000))
def test_pieces_begin_and_end_where_their_sums_do_and_are_never_more_than_quarters(
    begins: datetime, length: int
) -> None:
    pieces = cover(begins, begins + length * QUARTER)
    for each in pieces:
        for edge in (each.begins, each.ends):
            assert each.grain == "quarter" or (edge.hour, edge.minute) == (0, 0)
            assert each.grain != "month" or edge.day == 1
    assert rows(pieces) <= length
    assert rows(pieces) <= length // (4 * 24 * 28) + 2 * (16 + 48)


def test_a_cover_that_forgets_an_edge_is_caught() -> None:
    begins = datetime(2026, 3, 28, 23, tzinfo=UTC)
    whole = cover(begins, begins + timedelta(days=40))
    edges = [each for each in whole if each.grain == "quarter"]
    assert edges
    spoilt = [each for each in whole if each is not edges[0]]
    assert quarters(spoilt) != quarters(whole)


def test_a_day_in_berlin_takes_nine_rows_and_a_year_of_it_few() -> None:
    zone = zone_of("Europe/Berlin")
    day = periods(moment_of(date(2026, 1, 20), zone), moment_of(date(2026, 1, 21), zone), "day", zone)
    assert rows(cover(day[0].begins, day[0].ends)) == 9
    assert rows(cover(moment_of(date(2025, 1, 1), zone), moment_of(date(2026, 1, 1), zone))) == 12 + 8


@settings(max_examples=examples(120), deadline=None)
@given(st.sampled_from(STRANGE), st.sampled_from(STEPS), QUARTERS)
def test_periods_follow_one_another_without_gaps_and_begin_where_the_zone_says(
    name: str, step: Step, moment: datetime
) -> None:
    zone = zone_of(name)
    start = begun(moment, step, zone)
    assert start <= moment < after(start, step, zone)
    found = periods(start, after(start, step, zone, 12), step, zone)
    assert len(found) == 12
    assert [each.ends for each in found[:-1]] == [each.begins for each in found[1:]]
    for each in found:
        assert each.begins < each.ends
        assert each.begins == begun(each.begins, step, zone) == begun(each.ends - QUARTER, step, zone)
        local = each.begins.astimezone(zone)
        assert step != "week" or (local - timedelta(seconds=1)).weekday() == 6 or local.weekday() == 0
        assert step != "month" or local.day == 1
        assert (each.begins - datetime(2020, 1, 1, tzinfo=UTC)) % QUARTER == timedelta(0)


@settings(max_examples=examples(60), deadline=None)
@given(st.sampled_from(ZONES), st.dates(date(2024, 1, 1), date(2028, 1, 1)))
def test_days_of_every_zone_begin_a_quarter_of_an_hour(name: str, day: date) -> None:
    moment = moment_of(day, ZoneInfo(name))
    assert (moment.minute % 15, moment.second) == (0, 0)


@pytest.mark.parametrize(
    ("name", "day", "hours"),
    [
        ("Europe/Berlin", date(2026, 3, 29), 23),
        ("Europe/Berlin", date(2026, 10, 25), 25),
        ("Australia/Lord_Howe", date(2026, 4, 5), 24.5),
        ("Australia/Lord_Howe", date(2026, 10, 4), 23.5),
        ("America/Santiago", date(2026, 9, 6), 23),
        ("Asia/Kathmandu", date(2026, 9, 6), 24),
    ],
)
def test_a_day_on_which_clocks_change_is_as_long_as_it_is(name: str, day: date, hours: float) -> None:
    zone = zone_of(name)
    begins, ends = moment_of(day, zone), moment_of(day + timedelta(days=1), zone)
    assert ends - begins == timedelta(hours=hours)
    by_hour = periods(begins, ends, "hour", zone)
    assert sum((each.ends - each.begins for each in by_hour), timedelta()) == timedelta(hours=hours)
    starts: list[Any] = [
        (each.begins.astimezone(zone).hour, each.begins.astimezone(zone).utcoffset()) for each in by_hour
    ]
    assert len(set(starts)) == len(starts), "the same hour on the same clock, twice"


def test_what_cannot_be_a_report_is_refused_with_what_to_do() -> None:
    for name in ("Mars/Olympus", "", "../etc/passwd", "Europe", "a\0b", "x" * 5000):
        with pytest.raises(Refused, match="Europe/Berlin") as refused:
            zone_of(name)
        assert refused.value.code == "unknown_time_zone"
    utc = zone_of("UTC")
    with pytest.raises(Refused, match=":15") as refused:
        moment_of(datetime(2026, 1, 1, 10, 7, tzinfo=UTC), utc)
    assert refused.value.code == "no_quarter_hour"
    begins = moment_of(date(2026, 1, 1), utc)
    with pytest.raises(Refused, match="bucket=day") as refused:
        periods(begins, begins + timedelta(days=60), "hour", utc)
    assert refused.value.code == "too_many_buckets"
    with pytest.raises(Refused, match="less time"):
        periods(begins, begins + timedelta(days=365 * 200), "month", utc)
