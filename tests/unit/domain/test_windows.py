from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement_engine.domain.windows import (
    BANKING_DAYS_MAX,
    EVERY_DAY,
    LOOK_AHEAD_DAYS,
    Window,
    WindowOpening,
    always_open,
    both_open,
    end_of_banking_day,
    next_opening,
    next_opening_of_both,
    window_opening_at,
)

WORKDAYS = frozenset(range(1, 6))
BERLIN = "Europe/Berlin"
NEW_YORK = "America/New_York"
SECOND = timedelta(seconds=1)
TICK = timedelta(microseconds=1)


def window(zone, opens, closes, weekdays=WORKDAYS, currency="EUR"):
    return Window(currency=currency, zone=zone, opens=opens, closes=closes, weekdays=weekdays)


def local(zone, year, month, day, hour, minute=0):
    return datetime(year, month, day, hour, minute, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def utc(year, month, day, hour=0, minute=0):
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


EUR = window(BERLIN, time(8), time(16))
USD = window(NEW_YORK, time(9), time(17), currency="USD")


# --- edges ------------------------------------------------------------------------------------------


def test_the_opening_instant_is_open_and_the_closing_instant_is_shut():
    opens, closes = local(BERLIN, 2026, 1, 14, 8), local(BERLIN, 2026, 1, 14, 16)
    assert window_opening_at([EUR], "EUR", opens - TICK) is None
    assert window_opening_at([EUR], "EUR", opens) == WindowOpening(opens, closes)
    assert window_opening_at([EUR], "EUR", closes - TICK) == WindowOpening(opens, closes)
    assert window_opening_at([EUR], "EUR", closes) is None


def test_the_instant_counts_and_not_the_zone_in_which_it_is_written():
    now = local(BERLIN, 2026, 1, 14, 15, 30)
    for zone in ("Asia/Tokyo", NEW_YORK, "UTC"):
        assert window_opening_at([EUR], "EUR", now.astimezone(ZoneInfo(zone))) is not None


def test_every_day_is_the_seven_days_of_iso():
    assert {1, 2, 3, 4, 5, 6, 7} == EVERY_DAY
    assert always_open("EUR").weekdays == EVERY_DAY


def test_a_currency_without_a_window_is_never_open():
    now = local(BERLIN, 2026, 1, 14, 12)
    assert window_opening_at([EUR], "GBP", now) is None
    assert next_opening([EUR], "GBP", now) is None
    assert window_opening_at([], "EUR", now) is None
    assert next_opening([], "EUR", now) is None


def test_a_window_without_weekdays_never_opens():
    never = window(BERLIN, time(8), time(16), frozenset())
    assert next_opening([never], "EUR", utc(2026, 1, 14)) is None


def test_the_weekend_is_shut_and_monday_is_next():
    friday_evening = local(BERLIN, 2026, 1, 16, 16)
    monday_morning = local(BERLIN, 2026, 1, 19, 8)
    assert friday_evening.astimezone(ZoneInfo(BERLIN)).isoweekday() == 5
    for now in (friday_evening, friday_evening + timedelta(days=1), monday_morning - TICK):
        assert window_opening_at([EUR], "EUR", now) is None
        assert next_opening([EUR], "EUR", now) == monday_morning


def test_the_next_opening_comes_after_now_even_while_it_is_open():
    opens = local(BERLIN, 2026, 1, 14, 8)
    assert next_opening([EUR], "EUR", opens - TICK) == opens
    assert next_opening([EUR], "EUR", opens) == local(BERLIN, 2026, 1, 15, 8)


def test_a_window_of_one_weekday_is_found_a_week_ahead():
    weekly = window(BERLIN, time(8), time(16), frozenset({3}))
    wednesday = local(BERLIN, 2026, 1, 14, 8)
    assert next_opening([weekly], "EUR", wednesday) == wednesday + timedelta(days=7)
    assert LOOK_AHEAD_DAYS >= 8


# --- overnight --------------------------------------------------------------------------------------


def test_an_overnight_window_ends_on_the_next_day():
    night = window(NEW_YORK, time(22), time(2))
    opens, closes = local(NEW_YORK, 2026, 1, 14, 22), local(NEW_YORK, 2026, 1, 15, 2)
    for now in (opens, local(NEW_YORK, 2026, 1, 15, 0), closes - TICK):
        assert window_opening_at([night], "EUR", now) == WindowOpening(opens, closes)
    assert window_opening_at([night], "EUR", closes) is None


def test_an_overnight_window_belongs_to_the_weekday_on_which_it_opens():
    friday_night = window(BERLIN, time(22), time(6), frozenset({5}))
    saturday = local(BERLIN, 2026, 1, 17, 3)
    friday_before_dawn = local(BERLIN, 2026, 1, 16, 3)
    assert window_opening_at([friday_night], "EUR", saturday) is not None
    assert window_opening_at([friday_night], "EUR", friday_before_dawn) is None


def test_equal_times_are_a_whole_day():
    sunday = window(BERLIN, time(0), time(0), frozenset({7}))
    opens = local(BERLIN, 2026, 1, 18, 0)
    window_opening = window_opening_at([sunday], "EUR", opens + timedelta(hours=12))
    assert window_opening == WindowOpening(opens, opens + timedelta(hours=24))


# --- summer time ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "day", "utc_hour"),
    [
        (BERLIN, (2026, 3, 27), 7),  # the Friday before the clocks go forward
        (BERLIN, (2026, 3, 30), 6),  # the Monday after
        (BERLIN, (2026, 10, 23), 6),  # the Friday before they go back
        (BERLIN, (2026, 10, 26), 7),
        (NEW_YORK, (2026, 3, 6), 13),
        (NEW_YORK, (2026, 3, 9), 12),
        (NEW_YORK, (2026, 10, 30), 12),
        (NEW_YORK, (2026, 11, 2), 13),
        ("Asia/Kolkata", (2026, 7, 1), 2),  # 02:30 UTC; no summer time
        ("Asia/Dubai", (2026, 7, 1), 4),
    ],
)
def test_a_window_keeps_its_local_time_when_the_clocks_change(zone, day, utc_hour):
    morning = window(zone, time(8), time(16))
    found = next_opening([morning], "EUR", utc(*day))
    assert found is not None
    assert (found.hour, found.date()) == (utc_hour, date(*day))
    assert found.astimezone(ZoneInfo(zone)).time() == time(8)


def test_in_the_weeks_between_both_changes_the_overlap_of_berlin_and_new_york_is_another():
    both_open = {}
    for day in (date(2026, 3, 4), date(2026, 3, 11), date(2026, 4, 1)):
        closes = datetime.combine(day, time(16), ZoneInfo(BERLIN)).astimezone(UTC)
        opens = datetime.combine(day, time(9), ZoneInfo(NEW_YORK)).astimezone(UTC)
        assert window_opening_at([EUR], "EUR", closes - SECOND) is not None
        assert window_opening_at([USD], "USD", opens) is not None
        both_open[day.isoformat()] = (closes - opens).total_seconds() / 3600
    assert both_open == {"2026-03-04": 1.0, "2026-03-11": 2.0, "2026-04-01": 1.0}


@pytest.mark.parametrize(
    ("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 6, 7), 24)]
)
def test_a_whole_sunday_has_as_many_hours_as_the_clocks_give_it(day, hours):
    sunday = window(BERLIN, time(0), time(0), frozenset({7}))
    window_opening = window_opening_at(
        [sunday], "EUR", local(BERLIN, day.year, day.month, day.day, 12)
    )
    assert window_opening is not None
    assert window_opening.closes_at - window_opening.opens_at == timedelta(hours=hours)


def test_an_opening_in_the_hour_that_does_not_exist_comes_when_the_clocks_have_gone_forward():
    # On 2026-03-29 Berlin's clocks go from 02:00 to 03:00, which is 01:00 UTC.
    early = window(BERLIN, time(2, 30), time(4), EVERY_DAY)
    window_opening = window_opening_at([early], "EUR", utc(2026, 3, 29, 1, 45))
    assert window_opening == WindowOpening(utc(2026, 3, 29, 1, 30), utc(2026, 3, 29, 2))
    assert window_opening.opens_at.astimezone(ZoneInfo(BERLIN)).time() == time(3, 30)


def test_a_window_that_the_missing_hour_swallows_does_not_open_that_day():
    swallowed = window(BERLIN, time(2, 15), time(3), EVERY_DAY)
    assert window_opening_at([swallowed], "EUR", utc(2026, 3, 29, 1, 15)) is None
    assert next_opening([swallowed], "EUR", utc(2026, 3, 29)) == utc(2026, 3, 30, 0, 15)


def test_a_window_that_is_just_the_missing_hour_does_not_open_that_day():
    missing = window(BERLIN, time(2), time(3), EVERY_DAY)
    assert window_opening_at([missing], "EUR", utc(2026, 3, 29, 1)) is None
    assert next_opening([missing], "EUR", utc(2026, 3, 29)) == utc(2026, 3, 30, 0)


def test_a_time_that_comes_twice_is_its_first_coming():
    # On 2026-10-25 Berlin's 02:30 is both 00:30 and 01:30 UTC.
    early = window(BERLIN, time(2, 30), time(4), EVERY_DAY)
    assert next_opening([early], "EUR", utc(2026, 10, 25)) == utc(2026, 10, 25, 0, 30)
    late = window(BERLIN, time(1), time(2, 30), EVERY_DAY)
    window_opening = window_opening_at([late], "EUR", utc(2026, 10, 25, 0))
    assert window_opening is not None
    assert window_opening.closes_at == utc(2026, 10, 25, 0, 30)
    assert window_opening_at([late], "EUR", utc(2026, 10, 25, 1, 15)) is None


# --- several windows --------------------------------------------------------------------------------


def test_of_several_open_windows_the_one_that_shuts_last_counts():
    morning = window(BERLIN, time(8), time(12))
    late = window(BERLIN, time(10), time(18))
    window_opening = window_opening_at([late, morning], "EUR", local(BERLIN, 2026, 1, 14, 11))
    assert window_opening is not None
    assert window_opening.closes_at == local(BERLIN, 2026, 1, 14, 18)


def test_of_several_windows_the_next_opening_is_the_earliest():
    afternoon = window(BERLIN, time(13), time(18))
    now = local(BERLIN, 2026, 1, 14, 12)
    assert next_opening([EUR, afternoon], "EUR", now) == local(BERLIN, 2026, 1, 14, 13)


def test_windows_of_other_currencies_do_not_count():
    now = local(NEW_YORK, 2026, 1, 14, 14)
    assert window_opening_at([USD, EUR], "USD", now) is not None
    assert window_opening_at([USD, EUR], "EUR", now) is None


# --- always -----------------------------------------------------------------------------------------

instants = st.datetimes(
    min_value=datetime(2024, 1, 1),  # noqa: DTZ001 - given its zone below
    max_value=datetime(2030, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)


@given(instants)
def test_the_window_that_never_shuts_is_always_open(now):
    window_opening = window_opening_at([always_open("EUR")], "EUR", now)
    assert window_opening is not None
    assert window_opening.holds(now)


@given(
    instants,
    st.sampled_from([BERLIN, NEW_YORK, "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"]),
    st.times(),
    st.times(),
    st.sets(st.integers(min_value=1, max_value=7), min_size=1).map(frozenset),
)
def test_what_is_said_to_be_open_is_open_by_the_clock_on_the_wall(
    now, zone, opens, closes, weekdays
):
    windows = [window(zone, opens, closes, weekdays)]
    window_opening = window_opening_at(windows, "EUR", now)
    if window_opening is not None:
        assert window_opening.opens_at <= now < window_opening.closes_at
        assert window_opening.closes_at - window_opening.opens_at <= timedelta(hours=26)
        assert window_opening.opens_at.astimezone(ZoneInfo(zone)).isoweekday() in weekdays
    following = next_opening(windows, "EUR", now)
    assert following is not None
    assert following > now
    assert window_opening_at(windows, "EUR", following) is not None


# --- a currency's windows and those of a rail -----------------------------------------------------


def test_both_are_open_until_the_first_of_them_shuts():
    one = WindowOpening(utc(2026, 3, 2, 7), utc(2026, 3, 2, 15))
    other = WindowOpening(utc(2026, 3, 2, 9), utc(2026, 3, 2, 17))
    assert both_open(one, other) == both_open(other, one)
    assert both_open(one, other) == WindowOpening(utc(2026, 3, 2, 9), utc(2026, 3, 2, 15))


def test_both_open_next_when_the_later_one_does():
    morning = window("UTC", time(6), time(10), currency="")
    monday = utc(2026, 3, 2, 3)
    assert next_opening_of_both([EUR], [morning], "EUR", monday) == utc(2026, 3, 2, 7)
    assert next_opening_of_both([EUR], [morning], "EUR", utc(2026, 3, 2, 7)) == utc(2026, 3, 3, 7)


def test_windows_that_never_meet_never_open():
    night = window("UTC", time(20), time(23), currency="")
    assert next_opening_of_both([EUR], [night], "EUR", utc(2026, 3, 2, 3)) is None


def test_a_rail_round_the_clock_opens_with_the_currency():
    always = always_open("")
    now = utc(2026, 3, 2, 3)
    assert next_opening_of_both([EUR], [always], "EUR", now) == next_opening([EUR], "EUR", now)


def test_a_window_of_every_currency_is_open_for_each():
    always = always_open("")
    assert window_opening_at([always], "JPY", utc(2026, 3, 2, 3)) is not None
    assert window_opening_at([EUR], "JPY", utc(2026, 3, 2, 9)) is None


# --- banking days -----------------------------------------------------------------------------------

FRIDAY_NIGHT = local(BERLIN, 2026, 1, 16, 23, 30)
DAILY = window("UTC", time(0), time(0), weekdays=EVERY_DAY, currency="")
SUNDAYS = window(
    "Asia/Dubai", time(8), time(14), weekdays=frozenset({7, 1, 2, 3, 4}), currency="AED"
)


@pytest.mark.parametrize(
    ("windows", "of_rail", "currency", "count", "end"),
    [
        ([EUR], [], "EUR", 1, local(BERLIN, 2026, 1, 20, 0)),  # Monday
        ([EUR], [], "EUR", 5, local(BERLIN, 2026, 1, 24, 0)),
        ([EUR], [], "EUR", 15, local(BERLIN, 2026, 2, 7, 0)),
        ([EUR], [DAILY], "EUR", 1, utc(2026, 1, 20)),  # the rail never rests, the currency does
        ([], [DAILY], "EUR", 1, utc(2026, 1, 18)),
        ([SUNDAYS], [], "AED", 1, local("Asia/Dubai", 2026, 1, 19, 0)),
        ([EUR], [], "USD", 1, utc(2026, 1, 20)),  # nobody says: Monday to Friday
        ([EUR], [SUNDAYS], "EUR", 2, local(BERLIN, 2026, 1, 21, 0)),
    ],
)
def test_a_banking_day_is_one_on_which_the_windows_open(windows, of_rail, currency, count, end):
    assert end_of_banking_day(windows, of_rail, currency, FRIDAY_NIGHT, count) == end


@given(st.integers(1, BANKING_DAYS_MAX), st.sets(st.integers(1, 7), min_size=1))
def test_a_time_limit_ends_after_so_many_banking_days_and_no_earlier(count, weekdays):
    calendar = [window(BERLIN, time(8), time(16), weekdays=frozenset(weekdays))]
    end = end_of_banking_day(calendar, [], "EUR", FRIDAY_NIGHT, count).astimezone(ZoneInfo(BERLIN))
    first = FRIDAY_NIGHT.astimezone(ZoneInfo(BERLIN)).date()
    days = [first + timedelta(days=number) for number in range(1, (end.date() - first).days)]
    assert sum(day.isoweekday() in weekdays for day in days) == count
    assert days[-1].isoweekday() in weekdays
