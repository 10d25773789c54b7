"""What an issued statement's bytes say, compared with the bookings of its period.

Promises: the bytes are read back, so that what the holder has is compared and not what we would write today. Must
never: correct what was issued.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.domain.issued_statements import booking_reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.domain.issued_statements import AccountBooking, IssuedStatement
    from settlement_engine.domain.statements import StatementFile


def listing_fault(
    issued: IssuedStatement, bookings: Sequence[AccountBooking], read: StatementFile
) -> tuple[str, str] | None:
    """Return what was expected of an issued file and what was found, at the first place; None if all is there.

    ``read`` is the file as it reads now: a statement with its pages.
    """
    if read.faults or not read.statements:
        fault = read.faults[0].reason if read.faults else "no statement"
        return f"statement {issued.number}", f"cannot be read: {fault}"
    pages = read.statements
    first, last = pages[0].opening(), pages[-1].closing()
    figures = (pages[0].sequence, first.minor if first else None, last.minor if last else None)
    due = (issued.number, issued.opening_minor, issued.closing_minor)
    if figures != due:
        return _figures(*due), _figures(*figures)
    entries = [(each.minor, each.references.servicer) for page in pages for each in page.entries]
    booked = [(each.minor, booking_reference(each)) for each in bookings]
    if len(entries) != len(booked):
        return f"{len(booked)} entries", f"{len(entries)} entries"
    for number, (expected, found) in enumerate(zip(booked, entries, strict=True), 1):
        if expected != found:
            return _entry(number, *expected), _entry(number, *found)
    return None


def _figures(number: int | None, opening: int | None, closing: int | None) -> str:
    return f"number {number} from {opening} to {closing}"


def _entry(number: int, minor: int, reference: str) -> str:
    return f"entry {number} of {minor} with {reference}"
