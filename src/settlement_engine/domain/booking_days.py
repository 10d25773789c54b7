"""On which booking day each entry of a statement counts, and which days the statements of an account cover.

Promises: an entry counts on its own booking date, whichever statement it is in, so that daily, weekly and monthly
statements of the same entries count alike. A booking date outside of the statement's days is counted on its last day,
and told. Must never: leave an entry out of the sum of its statement.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from typing import TYPE_CHECKING, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from settlement_engine.domain.statement_chain import StatementChain, StatementHead

ONE_DAY = timedelta(days=1)


class StatementDay(msgspec.Struct, frozen=True):
    """What a statement books on one day: the sum and the number of its booked entries that count on it.

    ``misdated`` are those of them whose own booking date is outside of the statement's days.
    """

    day: date
    minor: int
    entries: int
    misdated: int = 0


DaysByStatement: TypeAlias = "Mapping[str, tuple[StatementDay, ...]]"
"""The days of statements, by their content hashes. One that counts as a whole on its last day may have none."""


def counted_on(begins: date, ends: date, booking_date: date | None) -> date:
    """Return the day on which an entry of a statement counts."""
    if booking_date is None or not begins <= booking_date <= ends:
        return ends
    return booking_date


def is_misdated(begins: date, ends: date, booking_date: date | None) -> bool:
    """Say whether an entry's booking date is outside of its statement's days."""
    return booking_date is not None and not begins <= booking_date <= ends


def days_of(
    head: StatementHead, entries: Iterable[tuple[date | None, int]]
) -> tuple[StatementDay, ...]:
    """Return the days of booked entries of a statement, given as booking dates and amounts."""
    sums: defaultdict[date, list[int]] = defaultdict(lambda: [0, 0, 0])
    for booking_date, minor in entries:
        day = sums[counted_on(head.begins, head.ends, booking_date)]
        day[0] += minor
        day[1] += 1
        day[2] += is_misdated(head.begins, head.ends, booking_date)
    return tuple(StatementDay(day, *found) for day, found in sorted(sums.items()))


def first_day(chain: StatementChain, days: DaysByStatement) -> date | None:
    """Return the first day whose bookings the chain states; None if there is no statement.

    An opening balance that is dated before the last day of its statement is the closing balance of its date, unless
    entries count on that date: then it is the balance before them.
    """
    if not chain.row:
        return None
    first = chain.row[0]
    begins, ends = first.first.begins, first.last.ends
    booked = [each.day for page in first.pages for each in days.get(page.content_hash, ())]
    if begins == ends or (booked and min(booked) <= begins):
        return begins
    return begins + ONE_DAY


def last_day(chain: StatementChain, days: DaysByStatement) -> date | None:
    """Return the last day whose bookings the chain states; None if there is no statement.

    Where all entries of the last statement count on the date of its opening balance, its closing balance is dated the
    next day, as some banks do: that day is not over.
    """
    if not chain.row:
        return None
    last = chain.row[-1]
    begins, ends = last.first.begins, last.last.ends
    booked = {each.day for page in last.pages for each in days.get(page.content_hash, ())}
    return begins if booked == {begins} else ends


def since(head: StatementHead, before: StatementHead | None = None) -> date:
    """Return the first day that a statement covers: the one after the statement before it, if there is one."""
    if before is not None:
        return min(head.ends, before.ends + ONE_DAY)
    return head.begins + ONE_DAY if head.begins < head.ends else head.begins


def stated_changes(chain: StatementChain, days: DaysByStatement) -> list[tuple[date, int]]:
    """Return by how much the bank's balance changes on each day, in order.

    Up to the last day of a statement these are its entries, and then the sum that its balances state. Where a balance
    does not continue the one before it, that is a change, too.
    """
    found: list[tuple[date, int]] = []
    before: StatementHead | None = None
    for page in (page for joined in chain.row for page in joined.pages):
        if before is not None and None not in (before.closing_minor, page.opening_minor):
            found.append(
                (since(page, before), (page.opening_minor or 0) - (before.closing_minor or 0))
            )
        early = [each for each in days.get(page.content_hash, ()) if each.day < page.ends]
        found += [(each.day, each.minor) for each in early]
        found.append((page.ends, page.booked_minor - sum(each.minor for each in early)))
        before = page
    return sorted(found)
