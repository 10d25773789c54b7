"""Value dates: for which days an instruction is taken in.

Nothing is scheduled yet (docs/decisions/0011-value-dates-are-recorded-not-scheduled.md): what is taken in is
settled at once, whatever its value date says. So a date is taken in only while settling at once is what it
asks for. The day is the one in UTC by the database's clock, as for an instruction without a date.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueDateRange:
    """How many days before and after today a value date may be."""

    days_back: int = 0
    days_ahead: int = 0

    def fault(self, value_date: date | None, today: date) -> str:
        """Say what is wrong with a date; empty when nothing is, or when the date is left open."""
        if value_date is None or -self.days_back <= (value_date - today).days <= self.days_ahead:
            return ""
        if not self.days_back and not self.days_ahead:
            return f"must be today, which is {today} in UTC: settlement for another day is not supported"
        first = today - timedelta(days=self.days_back)
        last = today + timedelta(days=self.days_ahead)
        return f"must be from {first} to {last}: today is {today} in UTC"
