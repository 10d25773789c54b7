"""Value dates: for which days an instruction is accepted.

Nothing is scheduled yet (docs/decisions/0011-value-dates-are-recorded-not-scheduled.md): an accepted instruction
is settled at once, whatever its value date is. So only value dates near today are accepted. Today is the date in
UTC by the database's clock, as for an instruction without a date. Must never: read a clock itself.
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
        """Say what is wrong with a value date; empty when nothing is, or when there is none."""
        if value_date is None or -self.days_back <= (value_date - today).days <= self.days_ahead:
            return ""
        if not self.days_back and not self.days_ahead:
            return f"must be today, which is {today} in UTC: settlement for another day is not supported"
        first = today - timedelta(days=self.days_back)
        last = today + timedelta(days=self.days_ahead)
        return f"must be from {first} to {last}: today is {today} in UTC"
