"""camt statements in which a bank has booked payments of ours, for tests that import them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from settlement_engine.domain.statement_import import ReceivedFile
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
from settlement_engine.engine.statement_import import StatementImport
from settlement_engine.messages.camt053_building import build_camt053

if TYPE_CHECKING:
    from settlement_engine.domain.ledger import Account
    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.ports import StatementStore

FIRST_DAY = date(2026, 3, 2)


def named(settlement: Settlement, **more: str) -> StatementReferences:
    """Return the references of a payment as its bank gives them back."""
    assert settlement.attempt is not None, "what a bank has booked was sent"
    given = {"end_to_end": settlement.attempt.references.end_to_end_id, **more}
    return StatementReferences(**given)


def booking(settlement: Settlement, minor: int | None = None, **changes: Any) -> Entry:
    """Return the entry of a payment: its debit, unless another amount is given."""
    amount = settlement.instruction.amount
    given: dict[str, Any] = {
        "number": 1,
        "minor": -amount.minor if minor is None else minor,
        "currency": amount.currency,
        "status": EntryStatus.BOOKED,
        "booking_date": FIRST_DAY,
        "value_date": FIRST_DAY,
        "is_reversal": False,
        "references": StatementReferences(servicer="BANK-1"),
        "code": "PMNT/ICDT/XBCT",
        "text": "",
    }
    names = changes.pop("names", named(settlement))
    charges = changes.pop("charges_minor", 0)
    entry = {**given, **changes}
    detail = EntryDetail(references=names, minor=entry["minor"], charges_minor=charges)
    return Entry(**{"details": (detail,), **entry})


@dataclass(slots=True)
class BankAccount:
    """An account of ours at a bank, with the statements that the bank has written of it."""

    account: Account
    balance: int = 1_000_000
    number: int = 0

    def statement(self, *entries: Entry, days: int = 1) -> bytes:
        """Write the next end-of-day statement, so many days after the last one."""
        self.number += days
        day = FIRST_DAY + timedelta(days=self.number)
        booked = tuple(
            replace_entry(each, place, day, f"BANK-{self.number}-{place}")
            for place, each in enumerate(entries, start=1)
        )
        moved = sum(each.minor for each in booked if each.status is EntryStatus.BOOKED)
        opening, self.balance = self.balance, self.balance + moved
        currency = self.account.currency
        said = Statement(
            source=Source.CAMT053,
            account=StatementAccount(self.account.account_number, "OTHER", currency),
            id=f"STMT-{self.number}",
            entries=booked,
            balances=(
                StatementBalance(BalanceType.OPENING, opening, currency, day),
                StatementBalance(BalanceType.CLOSING, self.balance, currency, day),
            ),
            created=f"{day.isoformat()}T20:00:00",
            begins=day,
            ends=day,
        )
        return build_camt053(said)


def replace_entry(entry: Entry, number: int, day: date, servicer: str) -> Entry:
    """Return an entry with its place in a statement, and the bank's own reference."""
    fields = {name: getattr(entry, name) for name in entry.__struct_fields__}
    references = StatementReferences(servicer=servicer)
    fields |= {"number": number, "booking_date": day, "value_date": day, "references": references}
    return Entry(**fields)


async def take(statements: StatementStore, content: bytes) -> str:
    """Import a statement; return its outcome."""
    file = ReceivedFile(name="statement.xml", content=content, who="ada")
    [found] = await StatementImport(statements).import_file(file)
    return found.outcome
