"""For which days an instruction is taken in."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from settlement_engine.domain.value_dates import ValueDateRange

TODAY = date(2026, 11, 28)
FORTY_YEARS = 40 * 365 + 10


@pytest.mark.parametrize("days", [-1, 1, -FORTY_YEARS, FORTY_YEARS])
def test_another_day_than_today_is_refused_by_default(days: int) -> None:
    assert "today, which is 2026-11-28" in ValueDateRange().fault(TODAY + timedelta(days), TODAY)


def test_today_and_a_date_that_is_left_open_are_taken_in() -> None:
    assert ValueDateRange().fault(TODAY, TODAY) == ""
    assert ValueDateRange().fault(None, TODAY) == ""


@pytest.mark.parametrize(("days", "is_allowed"), [(-3, False), (-2, True), (5, True), (6, False)])
def test_a_range_has_its_two_ends(days: int, is_allowed: bool) -> None:
    allowed = ValueDateRange(days_back=2, days_ahead=5)
    fault = allowed.fault(TODAY + timedelta(days), TODAY)
    assert fault == "" if is_allowed else "from 2026-11-26 to 2026-12-03" in fault


@pytest.mark.parametrize("day", [date.min, date.max])
def test_the_first_and_the_last_day_of_the_calendar_are_no_trouble(day: date) -> None:
    assert ValueDateRange().fault(day, TODAY)
    assert ValueDateRange().fault(TODAY, day)
