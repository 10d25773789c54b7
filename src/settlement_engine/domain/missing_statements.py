"""Which statements of banks are late: by a due time in the bank's zone, on banking days.

Promises: the statement of a banking day is due at a time of the next one; an account is late from its first banking
day without a statement. An account from which nothing was ever received is late only if its own due time is
configured. Must never: read a clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.domain.continuity import compact_identifier

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, time

    from settlement_engine.domain.statement_import import AccountAtBank

DAYS_MAX: Final = 400
"""So many days back a late statement is looked for; what is older counts as of then."""

WEEK_DAYS: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementDue:
    """When the statement of a banking day is due: at this time of the next banking day, in a zone.

    ``weekdays`` are the ISO numbers (1 is Monday) of banking days. ``is_own``: it is configured for this account.
    """

    at: time
    zone: str
    weekdays: frozenset[int]
    is_own: bool = False

    def day(self, now: datetime) -> date:
        """Return the latest banking day whose statement is due by now."""
        local = now.astimezone(ZoneInfo(self.zone))
        arrives = local.date()
        if not self._is_banking(arrives) or local.time() < self.at:
            arrives = self._before(arrives)
        return self._before(arrives)

    def _is_banking(self, day: date) -> bool:
        return day.isoweekday() in self.weekdays

    def _before(self, day: date) -> date:
        for days in range(1, WEEK_DAYS + 1):
            if self._is_banking(day - timedelta(days=days)):
                return day - timedelta(days=days)
        raise AssertionError("there is a banking day in every week")

    def banking_days(self, after: date, until: date) -> list[date]:
        """List the banking days after a day, up to another; at most the last ``DAYS_MAX`` days are looked at."""
        first = max(after + timedelta(days=1), until - timedelta(days=DAYS_MAX - 1))
        days = (first + timedelta(days=number) for number in range((until - first).days + 1))
        return [day for day in days if self._is_banking(day)]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementDueTimes:
    """The due times: of all accounts, and of those that have one of their own. None: no statement is late."""

    default: StatementDue | None = None
    own: Mapping[tuple[str, str, str], StatementDue] = field(default_factory=dict)

    def of(self, account: AccountAtBank) -> StatementDue | None:
        """Return the due time of an account."""
        key = due_key(account.bank, account.currency, account.number)
        return self.own.get(key, self.default)

    @property
    def is_empty(self) -> bool:
        """Say whether no due time is configured at all."""
        return self.default is None and not self.own


def due_key(bank: str, currency: str, number: str) -> tuple[str, str, str]:
    """Return what a due time of an account's own is found by."""
    return folded_bank(bank), currency, compact_identifier(number)


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingStatement:
    """An account whose statements are late: the first and the last banking day that is missing at its end."""

    account: AccountAtBank
    first_day: date
    last_day: date
    days: int


def missing_statement(
    account: AccountAtBank, last_day: date | None, due: StatementDue, now: datetime
) -> MissingStatement | None:
    """Say what is late of an account whose last statement is of ``last_day``; None if nothing is."""
    expected = due.day(now)
    if last_day is None:
        if not due.is_own:
            return None
        last_day = expected - timedelta(days=1)
    missing = due.banking_days(last_day, expected)
    if not missing:
        return None
    return MissingStatement(
        account=account, first_day=missing[0], last_day=missing[-1], days=len(missing)
    )
