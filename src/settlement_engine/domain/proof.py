"""The proof of an account: for each booking day our balance and the open items give the bank's balance.

Promises: ``our closing + unmatched theirs - unmatched ours + opening difference + difference = their closing``, in
minor units with the sign of the bank's statement; the proof is zero if the difference is. What is missing in the
chain of statements holds the proof back from that day on. Must never: leave out a day that a statement ends on.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from settlement_engine.domain.statement_chain import StatementChain, StatementHead


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


def first_day(chain: StatementChain) -> date | None:
    """Return the first day whose bookings the chain states; None if there is no statement.

    An opening balance that is dated before the last day of its statement is the closing balance of its date.
    """
    if not chain.row:
        return None
    begins, ends = chain.row[0].first.begins, chain.row[0].last.ends
    return begins + timedelta(days=1) if begins < ends else begins


def prove(
    chain: StatementChain, books: ReconciledBooks, heads: Iterable[StatementHead] = ()
) -> list[BalanceProof]:
    """Prove each day on which a statement of the chain ends, in order. ``heads`` are all statements kept.

    A day's closing balance is that of its last statement.
    """
    if not chain.row:
        return []
    opening = chain.row[0].first.opening_minor or 0
    closings: dict[date, int | None] = {}
    for joined in chain.row:
        closings[joined.last.ends] = joined.last.closing_minor
    held = _held_back(chain, list(heads))
    off = _not_in_days(books)
    sums = _running(books.days, sorted(closings))
    found: list[BalanceProof] = []
    for day, closing in sorted(closings.items()):
        reason = next((why for since, why in held if since <= day), "")
        if closing is None and not reason:
            reason = "the closing balance is missing"
        total = msgspec.structs.replace(sums[day], ours_minor=sums[day].ours_minor + off)
        found.append(_proof(total, books, opening - books.open_before_minor, closing or 0, reason))
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
    ends = {head.content_hash: head.ends for head in heads}
    ends |= {page.content_hash: page.ends for joined in chain.row for page in joined.pages}
    found = [
        (ends[gap.after], f"a statement is missing before it: {gap.reason}") for gap in chain.gaps
    ]
    found += [
        (joined.last.ends, f"the statement is incomplete: {joined.missing()}")
        for joined in chain.row
        if joined.missing()
    ]
    kinds = (
        (chain.contested, "two versions of a statement do not say which is later"),
        (chain.unbalanced, "a statement does not add up"),
        (chain.overlapping, "two statements cover the same days"),
    )
    for hashes, reason in kinds:
        found += [(ends[each], reason) for each in hashes if each in ends]
    return sorted(found)
