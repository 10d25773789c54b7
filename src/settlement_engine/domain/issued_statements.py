"""Statements that we issue: what a bank with an account here (vostro) gets for a booking date, and under which number.

Promises: an account's statements are numbered without a gap, each begins with the balance and at the instant at which
the one before ended, and the entries lead from its opening to its closing balance. An entry is the holder's view: a
credit posting of ours is a credit of the holder. Must never: issue a date that is not over, or change what was issued.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from settlement_engine.domain.check_digits import fault_of_iban
from settlement_engine.domain.ledger import Account, AccountKind, Leg
from settlement_engine.domain.past_balances import BookingDay
from settlement_engine.domain.statements import (
    BalanceType,
    Entry,
    EntryStatus,
    Source,
    Statement,
    StatementAccount,
    StatementBalance,
    StatementReferences,
)
from settlement_engine.errors import CorruptRecord, WrongState

if TYPE_CHECKING:
    from uuid import UUID

ENTRIES_ISSUED_MAX: Final = 50_000
"""The most entries of a statement that is issued: it is in memory as a whole."""

VALUE_DAYS_MAX: Final = 180
"""How far a value date may be from the booking date: an MT field has no year. Beyond it the booking date is stated."""

_REFERENCE_CHARACTERS: Final = 16
_TEXT_CHARACTERS_MAX: Final = 400
_RETURNED: Final = frozenset({Leg.CASH_RETURNED, Leg.OBLIGATION_RESTORED, Leg.PAID_OUT_RETURNED})


class IssuedFormat(StrEnum):
    """In which form a statement is issued."""

    CAMT053 = "camt.053"
    MT950 = "MT950"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementOrder:
    """Which statement somebody wants issued. ``day`` ends at an instant, in the institution's time zone."""

    account_id: int
    booking_date: date
    day: BookingDay
    format: IssuedFormat
    who: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountBooking:
    """One transfer on the account, with the references of its settlement."""

    group_id: UUID
    posting: int
    leg: Leg
    is_credit: bool
    amount_minor: int
    value_date: date | None = None
    from_bank: str = ""
    to_bank: str = ""
    obligation_id: str = ""
    end_to_end_id: str = ""
    uetr: str = ""
    reference: str = ""

    @property
    def minor(self) -> int:
        """The amount as the holder sees it: positive for a credit."""
        return self.amount_minor if self.is_credit else -self.amount_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedFile:
    """The bytes of an issued statement in one format."""

    format: IssuedFormat
    sha256: bytes
    file_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedStatement:
    """A statement that was issued: its number, its period and its figures, as the holder sees them.

    ``previous_date`` is the date of the statement before. ``is_replay``: it had been issued before this call.
    """

    id: int
    account: Account
    number: int
    booking_date: date
    begins: datetime
    ends: datetime
    opening_minor: int
    closing_minor: int
    credits_minor: int
    debits_minor: int
    entries: int
    previous_date: date | None
    issued_by: str
    issued_at: datetime
    files: tuple[IssuedFile, ...] = ()
    is_replay: bool = False

    def file(self, wanted: IssuedFormat) -> IssuedFile | None:
        """Return the file in a format, if it was made."""
        return next((each for each in self.files if each.format is wanted), None)


StatementBuilder: TypeAlias = Callable[[IssuedStatement, Sequence[AccountBooking]], bytes]
"""Makes the bytes of a statement; it is pure, and runs inside a transaction."""


def require_issuable(order: StatementOrder, kind: AccountKind, complete: datetime) -> None:
    """Refuse an account that is no holder's, and a date that is not over. Raises WrongState."""
    if kind is not AccountKind.VOSTRO:
        what = (
            f"account {order.account_id} is {kind}: a statement is issued for a vostro account only"
        )
        raise WrongState(
            what, todo="List them with: settlement-engine accounts list --kind vostro."
        )
    if order.day.ends > complete:
        what = f"the booking date {order.booking_date} is not over, so nothing is issued for it"
        why = f"it ends at {order.day.ends.isoformat()}, and bookings are complete until {complete.isoformat()}"
        raise WrongState(what, why=why, todo="Issue the statement after that.")


def next_period(
    order: StatementOrder, last: IssuedStatement | None, first_between: datetime | None
) -> BookingDay:
    """Return the period of the next statement: from the end of the last one to the end of the date.

    ``first_between`` is the first booking between the last statement and the date. Raises WrongState.
    """
    if last is None:
        return order.day
    if order.booking_date <= last.booking_date or order.day.ends <= last.ends:
        what = f"the statements of account {order.account_id} continue after {last.booking_date}"
        why = f"number {last.number} is of that date, and {order.booking_date} was not issued before it"
        raise WrongState(what, why=why, todo=f"Issue a date after {last.booking_date}.")
    if first_between is not None:
        what = f"an earlier booking date of account {order.account_id} is not issued yet"
        why = f"it has a booking at {first_between.isoformat()}, after statement {last.number} of {last.booking_date}"
        raise WrongState(what, why=why, todo="Issue that date first.")
    return BookingDay(last.ends, order.day.ends)


def require_entries(bookings: Sequence[AccountBooking], order: StatementOrder) -> None:
    """Refuse a statement with too many entries. Raises WrongState."""
    if len(bookings) > ENTRIES_ISSUED_MAX:
        what = f"account {order.account_id} has more than {ENTRIES_ISSUED_MAX:,} bookings on {order.booking_date}"
        raise WrongState(what, why="a statement is made as a whole")


def require_closing(order: StatementOrder, closing_minor: int, balance_minor: int) -> None:
    """Compare the closing balance with the account's balance at that instant. Raises CorruptRecord."""
    if closing_minor != balance_minor:
        what = f"the statement of account {order.account_id} for {order.booking_date} does not lead to its balance"
        why = f"it closes with {closing_minor}, and the transfers add up to {balance_minor}"
        raise CorruptRecord(what, why=why, todo="Run `settlement-engine prove`.")


def statement_of(
    issued: IssuedStatement, bookings: Sequence[AccountBooking], wanted: IssuedFormat, servicer: str
) -> Statement:
    """Make the statement as a value. The same arguments give the same value."""
    account = issued.account
    opened = issued.previous_date or issued.booking_date
    number = account.account_number
    scheme = "OTHER" if fault_of_iban(number) else "IBAN"
    return Statement(
        source=Source.CAMT053 if wanted is IssuedFormat.CAMT053 else Source.MT950,
        account=StatementAccount(number, scheme, account.currency, servicer),
        id=f"{account.id}-{issued.number}",
        sequence=issued.number,
        created=issued.issued_at.isoformat(timespec="seconds"),
        begins=issued.booking_date,
        ends=issued.booking_date,
        balances=(
            StatementBalance(BalanceType.OPENING, issued.opening_minor, account.currency, opened),
            StatementBalance(
                BalanceType.CLOSING, issued.closing_minor, account.currency, issued.booking_date
            ),
        ),
        entries=tuple(
            _entry(place, each, issued, wanted) for place, each in enumerate(bookings, 1)
        ),
    )


def booking_reference(booking: AccountBooking) -> str:
    """Return our reference of a booking: 16 characters, as MT950 has room for, and always the same ones."""
    said = f"{booking.group_id}/{booking.posting}/{int(booking.leg)}"
    return hashlib.sha256(said.encode()).hexdigest()[:_REFERENCE_CHARACTERS].upper()


def _entry(
    number: int, booking: AccountBooking, issued: IssuedStatement, wanted: IssuedFormat
) -> Entry:
    return Entry(
        number=number,
        minor=booking.minor,
        currency=issued.account.currency,
        status=EntryStatus.BOOKED,
        booking_date=issued.booking_date,
        value_date=_value_date(booking, issued.booking_date),
        is_reversal=booking.leg in _RETURNED,
        references=StatementReferences(
            end_to_end=booking.end_to_end_id,
            transaction=booking.group_id.hex,
            uetr=booking.uetr,
            servicer=booking_reference(booking),
        ),
        code=_code(booking, wanted),
        text=_text(booking),
    )


def _value_date(booking: AccountBooking, day: date) -> date:
    said = booking.value_date
    is_near = said is not None and abs(said - day) <= timedelta(days=VALUE_DAYS_MAX)
    return said if said is not None and is_near and booking.leg not in _RETURNED else day


def _code(booking: AccountBooking, wanted: IssuedFormat) -> str:
    is_return = booking.leg in _RETURNED
    if wanted is IssuedFormat.MT950:
        return "NRTI" if is_return else "NTRF"
    family = "RCDT" if booking.is_credit else "ICDT"
    return f"PMNT/{family}/{'RRTN' if is_return else 'OTHR'}"


def _text(booking: AccountBooking) -> str:
    parts = [f"settlement {booking.group_id}"]
    if booking.obligation_id:
        parts.append(f"obligation {booking.obligation_id}")
    if booking.from_bank and booking.to_bank:
        parts.append(f"{booking.from_bank} to {booking.to_bank}")
    if booking.reference:
        parts.append(booking.reference)
    return ", ".join(parts)[:_TEXT_CHARACTERS_MAX]
