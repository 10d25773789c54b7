"""The bank's statements: one for each day of an account, issued on demand and never changed.

Promises: days follow one another without a gap, each opening with the closing balance of the one before; a statement
that was issued is given out again with the same entries; what is booked after it is in a later one. All calls must
come from the ledger's thread, in a transaction of the ledger.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from settlement_engine.domain.money import format_amount
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
from settlement_engine.messages.camt053_building import CAMT053, build_camt053
from settlement_engine.messages.mt_building import build_mt
from settlement_engine.simulator.account_books import BOOKINGS_MAX, BookingKind
from settlement_engine.simulator.answers import instant
from settlement_engine.simulator.differences import PlantedDifference, Planting

if TYPE_CHECKING:
    from settlement_engine.simulator.account_books import AccountBooks, BankAccount, Booking
    from settlement_engine.simulator.ledger import Ledger
    from settlement_engine.simulator.scenarios import ScenarioScript

DAYS_MAX: Final = 400
"""So many days are issued at a time."""

PLANTED_ROWS: Final = 500
_BIC: Final = re.compile(r"[A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?", re.ASCII)
_IBAN: Final = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}", re.ASCII)
_CODES: Final = {
    "swift": "PMNT/ICDT/XBCT",
    "sepa_sct": "PMNT/ICDT/ESCT",
    "sepa_inst": "PMNT/IRCT/ESCT",
    "realtime": "PMNT/IRCT/DMCT",
    "ach": "PMNT/ICDT/DMCT",
}
_CREDIT_CODE: Final = "PMNT/RCDT/DMCT"
_RETURN_CODE: Final = "PMNT/ICDT/RRTN"
_MANUAL_CODE: Final = "PMNT/MCOP/OTHR"
_PREFIXES: Final = {
    BookingKind.CREDIT: "CRED",
    BookingKind.RETURN: "RTN",
    BookingKind.TAKEN_BACK: "TKN",
    BookingKind.MANUAL: "MAN",
}


class StatementFormat(StrEnum):
    """How a statement is written."""

    CAMT053 = "camt053"
    MT940 = "mt940"


class StatementWanted(NamedTuple):
    """Which statement: ``number`` is the account's, as the statement will name it; empty: as the bank calls it.

    A number to which an order has credited money names that account, and any other the account that pays orders.
    """

    bank: str
    number: str
    currency: str | None
    day: date


class NoStatement(Exception):
    """There is no such statement, and why."""


class DueStatement(NamedTuple):
    """A statement that is due in the folder, with the name of its file."""

    account_id: int
    day: str
    name: str
    content: bytes


class PlantedLine(msgspec.Struct, frozen=True, kw_only=True):
    """A difference as it is listed, with the account and the day of its statement."""

    bank: str
    account: str
    date: str
    kind: str
    references: tuple[str, ...]
    amount: str
    currency: str


class _Begun(NamedTuple):
    """The day of a statement, its number, and what it opens with."""

    day: date
    sequence: int
    opening_minor: int


class StatementIssuer:
    """Issues statements, and tells what is wrong in them."""

    def __init__(self, ledger: Ledger, books: AccountBooks) -> None:
        self._ledger = ledger
        self._books = books
        self._last_delivered: date | None = None

    def statement(self, wanted: StatementWanted, script: ScenarioScript, now_ms: int) -> Statement:
        """Return the statement of a day, issued now if it was not before. Raises NoStatement."""
        found = self._books.find(wanted.bank, wanted.number, wanted.currency)
        if not found:
            raise NoStatement("the bank keeps no such account")
        if len(found) > 1:
            currencies = ", ".join(each.currency for each in found)
            raise NoStatement(f"the bank keeps accounts in {currencies}: name the currency")
        account = found[0]
        statement = self._of_account(account, wanted.day, script, now_ms)
        number = wanted.number or account.number or f"{account.bank}-{account.currency}"
        scheme = scheme_of(number)
        named = msgspec.structs.replace(statement.account, identifier=number, scheme=scheme)
        return msgspec.structs.replace(statement, account=named)

    def _of_account(
        self, account: BankAccount, day: date, script: ScenarioScript, now_ms: int
    ) -> Statement:
        if day > instant(now_ms).date():
            raise NoStatement("the day has not begun")
        rows = self._ledger.run("issued_on", account_id=account.id, day=day.isoformat())
        if not rows:
            self._issue_until(account, day, script, now_ms)
            rows = self._ledger.run("issued_on", account_id=account.id, day=day.isoformat())
        if not rows:
            raise NoStatement("the account was not open on that day")
        return msgspec.json.decode(rows[0]["content"], type=Statement)

    def _issue_until(
        self, account: BankAccount, last: date, script: ScenarioScript, now_ms: int
    ) -> None:
        issued = self._ledger.run("last_issued", account_id=account.id)
        if issued:
            day = date.fromisoformat(issued[0]["day"]) + timedelta(days=1)
            sequence, opening = issued[0]["sequence"] + 1, issued[0]["closing_minor"]
        else:
            first = self._ledger.run("first_day", account_id=account.id)[0]["day"]
            day = last if first is None else date.fromisoformat(first)
            sequence, opening = 1, account.opening_minor
        if (last - day).days >= DAYS_MAX:
            raise NoStatement(f"{DAYS_MAX} days are issued at a time")
        while day <= last:
            opening = self._issue(account, _Begun(day, sequence, opening), script, now_ms)
            day, sequence = day + timedelta(days=1), sequence + 1

    def _issue(
        self, account: BankAccount, begun: _Begun, script: ScenarioScript, now_ms: int
    ) -> int:
        """Issue the statement of a day; returns its closing balance in minor units."""
        day = begun.day
        bookings = self._books.bookings(account.id, day.isoformat())
        if len(bookings) > BOOKINGS_MAX:
            raise NoStatement(f"the day has more than {BOOKINGS_MAX:,} bookings")
        rules = [each for each in script.differences if each.bank in ("", account.bank)]
        planting = Planting(rules, script.seed)
        entries = planting.planted([_entry(each, account.currency, day) for each in bookings])
        made = _statement(account, begun, entries, now_ms)
        closing_minor = made.balances[1].minor
        self._ledger.run(
            "issue",
            account_id=account.id,
            day=day.isoformat(),
            sequence=begun.sequence,
            closing_minor=closing_minor,
            content=msgspec.json.encode(made),
        )
        for each in planting.told:
            content = msgspec.json.encode(each).decode()
            self._ledger.run("plant", account_id=account.id, day=day.isoformat(), content=content)
        return closing_minor

    def for_folder(self, script: ScenarioScript, now_ms: int) -> list[DueStatement]:
        """Return yesterday's statements of the accounts that pay files, unless they were delivered."""
        yesterday = instant(now_ms).date() - timedelta(days=1)
        found: list[DueStatement] = []
        if self._last_delivered == yesterday:
            return found  # the folder is looked after several times a second
        for account in self._books.with_files():
            key = {"account_id": account.id, "day": yesterday.isoformat()}
            if self._ledger.run("is_delivered", **key):
                continue
            wanted = StatementWanted(account.bank, "", account.currency, yesterday)
            try:
                made = self.statement(wanted, script, now_ms)
            except NoStatement:
                continue  # the account was opened today
            name = f"statement-{account.id}-{yesterday}.xml"
            content = written(made, StatementFormat.CAMT053)
            found.append(DueStatement(account.id, yesterday.isoformat(), name, content))
        if not found:
            self._last_delivered = yesterday
        return found

    def delivered(self, due: DueStatement) -> None:
        """Record that a statement is in the folder."""
        self._ledger.run("mark_delivered", account_id=due.account_id, day=due.day)

    def planted(self, after_id: int) -> tuple[list[PlantedLine], int]:
        """Return a page of the differences in all statements, and the last id in it."""
        rows = self._ledger.run("planted_page", after_id=after_id, limit=PLANTED_ROWS)
        lines = []
        for row in rows:
            said = msgspec.json.decode(row["content"], type=PlantedDifference)
            line = PlantedLine(
                bank=row["bank"],
                account=row["number"],
                date=row["day"],
                kind=said.kind.value,
                references=said.references,
                amount=format_amount(said.amount_minor, row["currency"]),
                currency=row["currency"],
            )
            lines.append(line)
        return lines, rows[-1]["id"] if rows else after_id


def written(statement: Statement, form: StatementFormat) -> bytes:
    """Write a statement. Raises MessageError for what the format cannot say."""
    if form is StatementFormat.CAMT053:
        return build_camt053(statement)
    return build_mt(msgspec.structs.replace(statement, source=Source.MT940))


def _statement(account: BankAccount, begun: _Begun, entries: list[Entry], now_ms: int) -> Statement:
    day, opening_minor = begun.day, begun.opening_minor
    closing_minor = opening_minor + sum(each.minor for each in entries)
    return Statement(
        source=Source.CAMT053,
        account=StatementAccount("", "OTHER", account.currency, servicer_of(account.bank)),
        id=f"STM{day:%Y%m%d}",
        entries=tuple(entries),
        balances=(
            StatementBalance(BalanceType.OPENING, opening_minor, account.currency, day),
            StatementBalance(BalanceType.CLOSING, closing_minor, account.currency, day),
        ),
        sequence=begun.sequence,
        created=instant(now_ms).isoformat(timespec="seconds"),
        version=CAMT053,
        message_id=f"STM{account.id}-{begun.sequence}",
    )


def scheme_of(number: str) -> str:
    """Return by which scheme a number names an account."""
    return "IBAN" if _IBAN.fullmatch(number) else "OTHER"


def servicer_of(bank: str) -> str:
    """Return the bank as a statement names it: by its BIC, if it has one."""
    return bank if _BIC.fullmatch(bank) else ""


def _entry(booking: Booking, currency: str, day: date) -> Entry:
    ours = _references(booking)
    detail = EntryDetail(
        references=ours, minor=booking.amount_minor, charges_minor=booking.charges_minor
    )
    prefix = _PREFIXES.get(booking.kind)
    servicer = f"BANK{booking.payment_id}" if prefix is None else f"{prefix}{booking.id}"
    is_return = booking.kind in {BookingKind.RETURN, BookingKind.TAKEN_BACK}
    return Entry(
        number=booking.id,
        minor=booking.amount_minor,
        currency=currency,
        status=EntryStatus.BOOKED,
        booking_date=day,
        value_date=_value_date(booking, day),
        is_reversal=False,
        references=msgspec.structs.replace(ours, servicer=servicer),
        code=_code(booking),
        text=f"RETURN {booking.text}".rstrip() if is_return else booking.text,
        details=(detail,) if ours.ours() else (),
    )


def _references(booking: Booking) -> StatementReferences:
    """Name the payment: at the account that was credited, by what goes through to the creditor only."""
    through = StatementReferences(
        end_to_end=booking.end_to_end_id or "",
        uetr=booking.uetr or "",
        transaction=booking.trace or "",
    )
    if booking.kind not in {BookingKind.DEBIT, BookingKind.RETURN}:
        return through
    # The message id of an entry that came in a file is the file's hash, which no field has room for.
    message = "" if booking.trace else booking.message_id or ""
    return msgspec.structs.replace(
        through, instruction=booking.instruction_id or "", message=message
    )


def _value_date(booking: Booking, day: date) -> date:
    is_order = booking.kind in {BookingKind.DEBIT, BookingKind.CREDIT}
    return date.fromisoformat(booking.value_date) if is_order and booking.value_date else day


def _code(booking: Booking) -> str:
    match booking.kind:
        case BookingKind.DEBIT:
            return _CODES.get(booking.rail or "", "PMNT/ICDT/DMCT")
        case BookingKind.CREDIT:
            return _CREDIT_CODE
        case BookingKind.MANUAL:
            return _MANUAL_CODE
        case _:
            return _RETURN_CODE
