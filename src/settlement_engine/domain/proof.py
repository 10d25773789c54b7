"""The proof of an account: for each booking day our balance and the open items give the bank's balance.

Promises: ``our closing + unmatched theirs - unmatched ours + opening difference + difference = their closing``, in
minor units with the sign of the bank's statement; the proof is zero if the difference is. Their closing balance of a
day is the opening balance of the chain and all booked entries up to the day: inside of a statement of several days it
is derived. What is missing in the chain of statements holds the proof back from that day on. Must never: leave out a
day that a statement ends on, or one on which a side has booked something.
"""

from __future__ import annotations

from datetime import date  # noqa: TC003 -- whoever decodes a proof needs the type
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.booking_days import first_day, last_day, since, stated_changes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from settlement_engine.domain.booking_days import DaysByStatement
    from settlement_engine.domain.statement_chain import StatementChain, StatementHead


NOT_COVERED: Final = "no statement in force covers the day any more"


class DaySums(msgspec.Struct, frozen=True):
    """The sums of one account and booking day. What is matched counts from the day on which both sides have it."""

    day: date
    ours_minor: int = 0
    theirs_minor: int = 0
    matched_ours_minor: int = 0
    matched_theirs_minor: int = 0
    ours: int = 0
    theirs: int = 0
    matched_ours: int = 0
    matched_theirs: int = 0


class ReconciledBooks(msgspec.Struct, frozen=True):
    """What our books say of an account.

    ``balance_minor`` is the account's balance, of which ``days`` are the postings; None while some are not read
    yet. ``open_before`` are the open postings before the first statement: its opening balance stands for them.
    """

    days: tuple[DaySums, ...]
    balance_minor: int | None
    open_before_minor: int = 0
    open_before: int = 0


class BalanceProof(msgspec.Struct, frozen=True):
    """The proof of an account for one booking day, in minor units with the sign of the bank's statement."""

    booking_date: date
    our_closing_minor: int
    unmatched_theirs_minor: int
    unmatched_ours_minor: int
    opening_difference_minor: int
    difference_minor: int
    their_closing_minor: int
    unmatched_theirs: int = 0
    unmatched_ours: int = 0
    held_back_by: str = ""

    @property
    def is_zero(self) -> bool:
        """Say whether nothing is left unexplained, and no statement is missing."""
        return self.difference_minor == 0 and not self.held_back_by


def prove(
    chain: StatementChain,
    books: ReconciledBooks,
    heads: Iterable[StatementHead] = (),
    days: DaysByStatement = MappingProxyType({}),
) -> list[BalanceProof]:
    """Prove each day on which a statement of the chain ends or one of the sides has booked something, in order.

    ``heads`` are all statements kept; ``days`` are the days of those in the chain. Their closing balance of a day is
    the opening balance of the chain and all entries that count up to the day.
    """
    first, last = first_day(chain, days), last_day(chain, days)
    if first is None or last is None:
        return []
    opening = chain.row[0].first.opening_minor or 0
    ends = {joined.last.ends for joined in chain.row} | {last}
    wanted = sorted(
        each for each in ends | {each.day for each in books.days} if first <= each <= last
    )
    closings = _closings(opening, stated_changes(chain, days), wanted)
    held = _held_back(chain, list(heads))
    off = _not_in_days(books)
    sums = _running(books.days, wanted)
    found: list[BalanceProof] = []
    for day in wanted:
        reason = next((why for start, why in held if start <= day), "")
        total = msgspec.structs.replace(sums[day], ours_minor=sums[day].ours_minor + off)
        found.append(_proof(total, books, opening - books.open_before_minor, closings[day], reason))
    return found


def _proof(
    total: DaySums, books: ReconciledBooks, opening_difference: int, closing: int, reason: str
) -> BalanceProof:
    """Prove one day by the sums of all days up to it."""
    unmatched_theirs = total.theirs_minor - total.matched_theirs_minor
    unmatched_ours = total.ours_minor - total.matched_ours_minor - books.open_before_minor
    said = total.ours_minor + unmatched_theirs - unmatched_ours + opening_difference
    return BalanceProof(
        booking_date=total.day,
        our_closing_minor=total.ours_minor,
        unmatched_theirs_minor=unmatched_theirs,
        unmatched_ours_minor=unmatched_ours,
        opening_difference_minor=opening_difference,
        difference_minor=closing - said,
        their_closing_minor=closing,
        unmatched_theirs=total.theirs - total.matched_theirs,
        unmatched_ours=total.ours - total.matched_ours - books.open_before,
        held_back_by=reason,
    )


def last_proved(proofs: Sequence[BalanceProof]) -> date | None:
    """Return the last day whose proof is zero."""
    return next((each.booking_date for each in reversed(proofs) if each.is_zero), None)


def _not_in_days(books: ReconciledBooks) -> int:
    """Return what the account's balance has beside its postings: 0, or the books are wrong."""
    if books.balance_minor is None:
        return 0
    return books.balance_minor - sum(each.ours_minor for each in books.days)


def at_day(proofs: Sequence[BalanceProof], day: date) -> BalanceProof | None:
    """Return the proof of a day: on a day without bookings it is that of the day before it."""
    if not proofs or day > proofs[-1].booking_date:
        return None
    found = next((each for each in reversed(proofs) if each.booking_date <= day), None)
    return None if found is None else msgspec.structs.replace(found, booking_date=day)


def changed_proofs(
    known: Mapping[date, BalanceProof], proofs: Sequence[BalanceProof]
) -> list[BalanceProof]:
    """Return the proofs to record, given the last ones of all days that were ever proved.

    A day on which nothing is booked any more gets the proof of the day before it. A day that no statement in force
    covers any more is held back.
    """
    now = {each.booking_date: each for each in proofs}
    for day, before in known.items():
        if day not in now:
            held = msgspec.structs.replace(before, held_back_by=NOT_COVERED)
            now[day] = at_day(proofs, day) or held
    return [each for day, each in sorted(now.items()) if known.get(day) != each]


def _closings(
    opening: int, changes: Sequence[tuple[date, int]], wanted: Sequence[date]
) -> dict[date, int]:
    """Return the bank's balance at the end of each wanted day."""
    found: dict[date, int] = {}
    place = 0
    for day in wanted:
        while place < len(changes) and changes[place][0] <= day:
            opening += changes[place][1]
            place += 1
        found[day] = opening
    return found


def _running(days: Sequence[DaySums], wanted: Sequence[date]) -> dict[date, DaySums]:
    """Return the sums of all days up to each wanted one."""
    fields = [name for name in DaySums.__struct_fields__ if name != "day"]
    totals = dict.fromkeys(fields, 0)
    rest = iter(sorted(days, key=lambda each: each.day))
    ahead = next(rest, None)
    found: dict[date, DaySums] = {}
    for day in wanted:
        while ahead is not None and ahead.day <= day:
            for name in fields:
                totals[name] += getattr(ahead, name)
            ahead = next(rest, None)
        found[day] = DaySums(day=day, **totals)
    return found


def _held_back(chain: StatementChain, heads: list[StatementHead]) -> list[tuple[date, str]]:
    """Return what holds proofs back, each with the day from which on it does, the earliest first."""
    known = {head.content_hash: head for head in heads}
    known |= {page.content_hash: page for joined in chain.row for page in joined.pages}
    found = [
        (
            since(known[gap.after], known[gap.before]),
            f"a statement is missing before it: {gap.reason}",
        )
        for gap in chain.gaps
    ]
    found += [
        (since(joined.first), f"the statement is incomplete: {joined.missing()}")
        for joined in chain.row
        if joined.missing()
    ]
    kinds = (
        (chain.contested, "two versions of a statement do not say which is later"),
        (chain.unbalanced, "a statement does not add up"),
        (chain.overlapping, "two statements cover the same days"),
    )
    for hashes, reason in kinds:
        found += [(since(known[each]), reason) for each in hashes if each in known]
    return sorted(found)
