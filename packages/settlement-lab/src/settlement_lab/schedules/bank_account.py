"""Our account at the bank of a schedule, as the bank keeps it, and the statements that it writes of it.

Promises: a booking is in one statement, and each statement opens with the balance by which the one before it closed.
The bank books some things of which only a statement tells. What it writes follows from its own ledger alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from settlement_engine.domain.statements import (
    BalanceType,
    Entry,
    EntryDetail,
    EntryStatus,
    Source,
    Statement,
    StatementAccount,
    StatementBalance,
    StatementReferences,
)
from settlement_engine.messages.camt053_building import build_camt053
from settlement_lab.worlds.bank import Bank

if TYPE_CHECKING:
    from uuid import UUID

    from settlement_engine.domain.returns import StatedAmount
    from settlement_lab.worlds.bank import SimulatedPayment

FIRST_DAY: Final = date(2026, 3, 2)
"""The day of the schedule. Each statement is of another day, so that a schedule of minutes has several."""

_BEGINS: Final = b"<Stmt>"
_ENDS: Final = b"</BkToCstmrStmt>"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedBooking:
    """What the bank has booked on our account, signed, in minor units. ``settlement_id`` None: it is no payment."""

    minor: int
    reference: str
    settlement_id: UUID | None = None
    charges_minor: int = 0


class StatedAccount:
    """See the module."""

    def __init__(self, number: str, currency: str, first: StatedBooking) -> None:
        self.number = number
        self._currency = currency
        self.booked = [first]
        self.written: list[Statement] = []
        self._stated = 0
        self._closing_minor = 0

    @property
    def is_stated(self) -> bool:
        """Say whether every booking is in a statement."""
        return self._stated == len(self.booked)

    @property
    def balance_minor(self) -> int:
        """What the bank owes us."""
        return sum(each.minor for each in self.booked)

    def book(self, booking: StatedBooking) -> None:
        """Book something on the account."""
        self.booked.append(booking)

    def is_told(self, payment: SimulatedPayment) -> bool:
        """Say whether a statement has a booking of the payment."""
        told = self.booked[: self._stated]
        return any(each.reference == payment.reference for each in told)

    def write(self) -> Statement:
        """Write the statement of the next day, with everything that no statement has yet."""
        number = len(self.written) + 1
        day = FIRST_DAY + timedelta(days=number - 1)
        fresh = self.booked[self._stated :]
        opening, closing = self._closing_minor, self.balance_minor
        statement = Statement(
            source=Source.CAMT053,
            account=StatementAccount(self.number, "OTHER", self._currency),
            id=f"S{number}",
            entries=tuple(
                self._entry(each, place, day) for place, each in enumerate(fresh, start=1)
            ),
            balances=(
                StatementBalance(BalanceType.OPENING, opening, self._currency, day),
                StatementBalance(BalanceType.CLOSING, closing, self._currency, day),
            ),
            sequence=number,
            created=f"{day}T23:00:00Z",
            begins=day,
            ends=day,
        )
        self._stated, self._closing_minor = len(self.booked), closing
        self.written.append(statement)
        return statement

    def _entry(self, booking: StatedBooking, number: int, day: date) -> Entry:
        references = StatementReferences(end_to_end=booking.reference)
        return Entry(
            number=number,
            minor=booking.minor,
            currency=self._currency,
            status=EntryStatus.BOOKED,
            booking_date=day,
            value_date=FIRST_DAY,
            is_reversal=False,
            references=StatementReferences(),
            code="PMNT/ICDT/ESCT",
            text="",
            details=(EntryDetail(references, booking.minor, charges_minor=booking.charges_minor),),
        )


def file_of(statements: list[Statement]) -> bytes:
    """Write statements as one file."""
    first, *others = [build_camt053(each) for each in statements]
    found = b"".join(each[each.index(_BEGINS) : each.rindex(_ENDS)] for each in others)
    end = first.rindex(_ENDS)
    return first[:end] + found + first[end:]


class AccountBank(Bank):
    """A bank that also keeps our account, from which it pays."""

    account: StatedAccount | None = None

    @override
    def _pay(self, payment: SimulatedPayment) -> None:
        super()._pay(payment)
        self._book(payment, -self.amount_of(payment.settlement_id))

    @override
    def _give_back(self, payment: SimulatedPayment, part: int, stated: StatedAmount) -> None:
        super()._give_back(payment, part, stated)
        self._book(payment, part - stated.charges_minor, stated.charges_minor)

    def return_untold(self, payment: SimulatedPayment) -> None:
        """Send all the money back, of which only a statement tells."""
        whole = self.amount_of(payment.settlement_id)
        self.returned[payment.settlement_id] = whole
        self._book(payment, whole)

    def debit_again(self, payment: SimulatedPayment) -> None:
        """Book a payment a second time, of which only a statement tells."""
        self.contradicted.add(payment.settlement_id)
        self._book(payment, -self.amount_of(payment.settlement_id))

    def _book(self, payment: SimulatedPayment, minor: int, charges_minor: int = 0) -> None:
        if self.account is None:
            return
        self.account.book(
            StatedBooking(
                minor=minor,
                reference=payment.reference,
                settlement_id=payment.settlement_id,
                charges_minor=charges_minor,
            )
        )
