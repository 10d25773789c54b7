"""Late statements: by a due time in the bank's zone, on banking days, from the first day without one."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import pytest

from settlement_engine.domain.missing_statements import (
    DAYS_MAX,
    StatementDue,
    StatementDueTimes,
    due_key,
    missing_statement,
)
from settlement_engine.domain.statement_import import AccountAtBank

BERLIN = StatementDue(at=time(8), zone="Europe/Berlin", weekdays=frozenset(range(1, 6)))
ACCOUNT = AccountAtBank(id=1, bank="DEUTDEFF", currency="EUR", number="111")
THURSDAY, FRIDAY = date(2026, 11, 26), date(2026, 11, 27)


@pytest.mark.parametrize(
    ("now", "day"),
    [
        ("2026-11-27T06:59:59", date(2026, 11, 25)),  # 7:59:59 in Berlin: Thursday's is not due yet
        ("2026-11-27T07:00:00", THURSDAY),
        ("2026-11-28T12:00:00", THURSDAY),  # Friday's is due on Monday
        ("2026-11-29T23:30:00", THURSDAY),  # Monday, 0:30
        ("2026-11-30T07:00:00", FRIDAY),
        ("2026-07-27T06:00:00", date(2026, 7, 24)),  # summer time
    ],
)
def test_a_statement_is_due_at_a_time_of_the_next_banking_day(now, day):
    assert BERLIN.day(datetime.fromisoformat(now).replace(tzinfo=UTC)) == day


NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.mark.parametrize("last_day", [THURSDAY, FRIDAY, date(2026, 12, 1)])
def test_an_account_with_the_due_statement_is_not_late(last_day):
    assert missing_statement(ACCOUNT, last_day, BERLIN, NOON) is None


def test_an_account_is_late_from_its_first_banking_day_without_one():
    found = missing_statement(ACCOUNT, date(2026, 11, 20), BERLIN, NOON)
    assert found is not None
    assert (found.first_day, found.last_day, found.days) == (date(2026, 11, 23), THURSDAY, 4)


def test_an_account_without_any_statement_is_late_only_with_a_due_time_of_its_own():
    assert missing_statement(ACCOUNT, None, BERLIN, NOON) is None
    own = StatementDue(at=time(8), zone="UTC", weekdays=BERLIN.weekdays, is_own=True)
    found = missing_statement(ACCOUNT, None, own, NOON)
    assert found is not None
    assert (found.first_day, found.days) == (THURSDAY, 1)


def test_how_far_back_is_looked_is_bounded():
    found = missing_statement(ACCOUNT, date(1, 1, 1), BERLIN, NOON)
    assert found is not None
    assert found.first_day >= THURSDAY - timedelta(days=DAYS_MAX)


def test_a_due_time_of_its_own_comes_before_that_of_all():
    own = StatementDue(at=time(11), zone="UTC", weekdays=BERLIN.weekdays, is_own=True)
    times = StatementDueTimes(default=BERLIN, own={due_key("deutdeffxxx", "EUR", "1 11"): own})
    assert times.of(ACCOUNT) is own
    other = AccountAtBank(id=2, bank="DEUTDEFF", currency="USD", number="111")
    assert times.of(other) is BERLIN
    assert StatementDueTimes().of(ACCOUNT) is None
    assert StatementDueTimes().is_empty
    assert not times.is_empty
