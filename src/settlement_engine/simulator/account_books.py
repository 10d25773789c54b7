"""The bank's accounts and their bookings: what every statement is made of.

Promises: a booking is in the transaction of what it books, and never changes; its day is the bank's day, or the day
after the last statement if that day's statement is issued already. All calls must come from the ledger's thread.
"""

from __future__ import annotations

from enum import StrEnum, auto
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.messages.amounts import read_amount

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from settlement_engine.simulator.ledger import Ledger, Payment

BOOKINGS_MAX: Final = 200_000
"""The most bookings of an account on one day that a statement is made of."""


class BookingKind(StrEnum):
    """What a booking is."""

    DEBIT = auto()  # an order was paid
    CREDIT = auto()  # its amount was credited to the account that the order names
    RETURN = auto()  # the amount came back
    TAKEN_BACK = auto()  # and was debited where it had been credited
    MANUAL = auto()  # a test has booked it


class BankAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account; the number is empty for the one that pays orders."""

    id: int
    bank: str
    number: str
    currency: str
    opening_minor: int


class Booking(msgspec.Struct, frozen=True, kw_only=True):
    """A booking, with the references of its payment if it has one."""

    id: int
    kind: BookingKind
    amount_minor: int
    charges_minor: int
    text: str
    payment_id: int | None
    uetr: str | None
    end_to_end_id: str | None
    message_id: str | None
    instruction_id: str | None
    trace: str | None
    rail: str | None
    value_date: str | None


class AccountGiven(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An account as a test opens it; without a number it is the one that pays orders."""

    bank: str
    currency: str
    account: str = ""
    opening: str = "0"


class BookingGiven(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An amount as a test books it: negative for a debit. ``once``: not again with the same text and amount."""

    bank: str
    currency: str
    amount: str
    account: str = ""
    text: str = ""
    once: bool = False


def parse_signed(text: str, currency: str) -> int:
    """Read an amount that may be negative or zero; returns minor units. Raises ValueError."""
    digits = text.removeprefix("-")
    minor = read_amount(digits, currency).minor
    return -minor if digits != text else minor


class AccountBooks:
    """Books amounts on accounts. Its methods run in the caller's transaction."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.codes: Mapping[str, str] = {}
        """Other codes of banks, such as a routing number, with the code under which their accounts are kept."""

    def account(self, bank: str, number: str, currency: str) -> int:
        """Return an account's id; the first mention opens it."""
        code = self.codes.get(bank, bank)
        (row,) = self._ledger.run("ensure_account", bank=code, number=number, currency=currency)
        found: int = row["id"]
        return found

    def find(self, bank: str, number: str, currency: str | None) -> list[BankAccount]:
        """Return the accounts of this number, else those that pay orders."""
        code = self.codes.get(bank, bank)
        rows = self._ledger.run("find_accounts", bank=code, number=number, currency=currency)
        found = [BankAccount(**dict(row)) for row in rows]
        return [each for each in found if each.number] or found

    def set_opening(self, account_id: int, opening_minor: int) -> None:
        """Set what an account begins with. Raises ValueError once it has a statement."""
        if not self._ledger.run("set_opening", id=account_id, opening_minor=opening_minor):
            message = "the account has a statement, which no longer changes"
            raise ValueError(message)

    def with_files(self) -> list[BankAccount]:
        """Return the accounts from which entries of files are paid."""
        return [BankAccount(**dict(row)) for row in self._ledger.run("accounts_with_files")]

    def paid(self, payment: Payment, amount_minor: int, now_ms: int) -> None:
        """Book a debit, and the credit where the order names an account for it."""
        self._book(payment, BookingKind.DEBIT, now_ms, amount_minor=-amount_minor)
        if payment.credited_account:
            self._book(payment, BookingKind.CREDIT, now_ms, amount_minor=amount_minor)

    def came_back(
        self, payment: Payment, amount_minor: int, charges_minor: int, code: str, now_ms: int
    ) -> None:
        """Book a return after its charges, and the debit where its amount had been credited."""
        self._book(
            payment,
            BookingKind.RETURN,
            now_ms,
            amount_minor=amount_minor,
            charges_minor=charges_minor,
            text=code,
        )
        if payment.credited_account:
            total_minor = amount_minor + charges_minor
            self._book(
                payment, BookingKind.TAKEN_BACK, now_ms, amount_minor=-total_minor, text=code
            )

    def is_booked_by_hand(self, account_id: int, amount_minor: int, text: str) -> bool:
        """Say whether such an amount was booked that no order has caused."""
        key = {"account_id": account_id, "amount_minor": amount_minor, "text": text}
        return bool(self._ledger.run("booked_by_hand", kind=BookingKind.MANUAL, **key))

    def by_hand(self, account_id: int, amount_minor: int, text: str, now_ms: int) -> None:
        """Book an amount that no order has caused."""
        self._ledger.run(
            "book",
            account_id=account_id,
            payment_id=None,
            kind=BookingKind.MANUAL,
            amount_minor=amount_minor,
            charges_minor=0,
            text=text,
            now_ms=now_ms,
        )

    def bookings(self, account_id: int, day: str) -> list[Booking]:
        """Return a day's bookings, at most one more than ``BOOKINGS_MAX``."""
        rows = self._ledger.run(
            "bookings_of", account_id=account_id, day=day, limit=BOOKINGS_MAX + 1
        )
        return [_booking(row) for row in rows]

    def _book(
        self,
        payment: Payment,
        kind: BookingKind,
        now_ms: int,
        *,
        amount_minor: int,
        charges_minor: int = 0,
        text: str = "",
    ) -> None:
        is_ours = kind in {BookingKind.DEBIT, BookingKind.RETURN}
        bank = payment.from_bank if is_ours else payment.to_bank
        number = "" if is_ours else payment.credited_account
        self._ledger.run(
            "book",
            account_id=self.account(bank, number, payment.currency),
            payment_id=payment.id,
            kind=kind,
            amount_minor=amount_minor,
            charges_minor=charges_minor,
            text=text,
            now_ms=now_ms,
        )


def _booking(row: sqlite3.Row) -> Booking:
    values = dict(row)
    return Booking(**{**values, "kind": BookingKind(values["kind"])})
