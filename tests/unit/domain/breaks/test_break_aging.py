from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement_engine.domain.breaks.aging import (
    AgeBucket,
    BusinessCalendar,
    bucket_of,
    business_days_between,
    due_at,
)

PLAIN = BusinessCalendar()
EASTER = BusinessCalendar(
    zone="Europe/Berlin",
    holidays=(date(2026, 4, 3), date(2026, 4, 5), date(2026, 4, 6)),
)
GULF = BusinessCalendar(zone="Asia/Dubai", weekend=frozenset({5, 6}))
days = st.dates(date(2025, 1, 1), date(2028, 12, 31))


@pytest.mark.parametrize(
    ("calendar", "since", "until", "age"),
    [
        (PLAIN, date(2026, 3, 2), date(2026, 3, 2), 0),  # a Monday
        (PLAIN, date(2026, 3, 2), date(2026, 3, 3), 1),
        (PLAIN, date(2026, 3, 6), date(2026, 3, 8), 0),  # Friday to Sunday
        (PLAIN, date(2026, 3, 6), date(2026, 3, 9), 1),
        (PLAIN, date(2026, 3, 2), date(2026, 3, 16), 10),
        (PLAIN, date(2026, 3, 3), date(2026, 3, 2), 0),
        (EASTER, date(2026, 4, 2), date(2026, 4, 7), 1),  # over Good Friday and Easter Monday
        (EASTER, date(2026, 4, 1), date(2026, 4, 8), 3),
        (GULF, date(2026, 3, 5), date(2026, 3, 8), 1),  # Thursday to Sunday
    ],
)
def test_only_business_days_count(calendar, since, until, age):
    assert business_days_between(calendar, since, until) == age


@given(
    days, st.integers(0, 400), st.sets(days, max_size=40), st.sets(st.integers(1, 7), max_size=6)
)
def test_the_count_equals_that_of_a_loop_over_all_days(since, length, holidays, weekend):
    calendar = BusinessCalendar(holidays=tuple(sorted(holidays)), weekend=frozenset(weekend))
    until = since + timedelta(days=length)
    each = [since + timedelta(days=number) for number in range(1, length + 1)]
    assert business_days_between(calendar, since, until) == sum(map(calendar.is_business_day, each))


@pytest.mark.parametrize(
    ("age", "label"),
    [
        *((0, "0-1"), (1, "0-1"), (2, "2-5"), (5, "2-5"), (6, "6-10"), (10, "6-10")),
        *((11, "11-30"), (30, "11-30"), (31, ">30"), (10_000, ">30")),
    ],
)
def test_ages_are_in_the_buckets_of_the_field(age, label):
    assert bucket_of(age).label == label


def test_buckets_are_the_five_of_the_field():
    assert [each.label for each in AgeBucket] == ["0-1", "2-5", "6-10", "11-30", ">30"]


def local(zone, year, month, day, hour=0, minute=0):
    return datetime(year, month, day, hour, minute, tzinfo=ZoneInfo(zone)).astimezone(UTC)


@pytest.mark.parametrize(
    ("now", "business_days", "due"),
    [
        ((2026, 4, 2, 9), 0, (2026, 4, 2, 17)),
        ((2026, 4, 2, 16, 59), 0, (2026, 4, 2, 17)),
        ((2026, 4, 2, 17), 0, (2026, 4, 7, 17)),  # after the end of the day: over Easter
        ((2026, 4, 2, 9), 1, (2026, 4, 7, 17)),
        ((2026, 4, 4, 9), 0, (2026, 4, 7, 17)),  # a Saturday
        ((2026, 4, 4, 9), 1, (2026, 4, 8, 17)),
        ((2026, 3, 27, 12), 1, (2026, 3, 30, 17)),  # over the change to summer time
    ],
)
def test_what_is_due_is_due_at_the_end_of_a_business_day_of_the_zone(now, business_days, due):
    found = due_at(EASTER, local("Europe/Berlin", *now), business_days)
    assert found == local("Europe/Berlin", *due)
    assert found.tzinfo is UTC


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.integers(0, 40),
)
def test_a_due_time_is_ahead_on_a_business_day_and_so_many_of_them_away(now, business_days):
    found = due_at(EASTER, now, business_days)
    day = EASTER.local_date(found)
    assert found > now
    assert EASTER.is_business_day(day)
    begins = due_at(EASTER, now, 0)
    assert business_days_between(EASTER, EASTER.local_date(begins), day) == business_days


def test_the_date_is_that_of_the_zone():
    assert EASTER.local_date(datetime(2026, 4, 1, 22, 30, tzinfo=UTC)) == date(2026, 4, 2)


@pytest.mark.parametrize(
    "fields",
    [
        {"weekend": frozenset(range(1, 8))},
        {"holidays": (date(2026, 1, 2), date(2026, 1, 1))},
        {"holidays": (date(2026, 1, 1), date(2026, 1, 1))},
    ],
)
def test_a_calendar_without_sense_is_not_made(fields):
    with pytest.raises(AssertionError):
        BusinessCalendar(day_ends=time(17), **fields)
