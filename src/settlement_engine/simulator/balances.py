"""The bank's balances, as it states them now: over camt.060 as a camt.052 without entries, and as JSON.

Promises: a balance is what the account began with and everything booked on it, unless the script says that the bank
states a wrong one. All calls must come from the ledger's thread, in a transaction of the ledger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from settlement_engine.domain.money import format_amount
from settlement_engine.domain.statements import (
    BalanceType,
    Source,
    Statement,
    StatementAccount,
    StatementBalance,
)
from settlement_engine.messages.camt052_building import CAMT052
from settlement_engine.simulator.answers import instant
from settlement_engine.simulator.statement_issuing import NoStatement, scheme_of, servicer_of

if TYPE_CHECKING:
    from settlement_engine.simulator.account_books import AccountBooks
    from settlement_engine.simulator.ledger import Ledger
    from settlement_engine.simulator.scenarios import ScenarioScript
    from settlement_engine.simulator.statement_issuing import StatementWanted


class BalanceLine(msgspec.Struct, frozen=True, kw_only=True):
    """A balance as it is shown."""

    bank: str
    account: str
    currency: str
    balance: str
    as_of: str


class BalanceTeller:
    """States balances."""

    def __init__(self, ledger: Ledger, books: AccountBooks) -> None:
        self._ledger = ledger
        self._books = books

    def report(self, wanted: StatementWanted, script: ScenarioScript, now_ms: int) -> Statement:
        """Return an intraday report of the balance alone. Raises NoStatement."""
        found = self._books.find(wanted.bank, wanted.number, wanted.currency)
        if len(found) != 1:
            raise NoStatement("the bank keeps no such account, or several: name the currency")
        account = found[0]
        (row,) = self._ledger.run("booked_minor", account_id=account.id)
        off = script.balances_off_minor.get(account.bank, 0)
        minor = account.opening_minor + row["minor"] + off
        number = wanted.number or account.number or f"{account.bank}-{account.currency}"
        now = instant(now_ms)
        return Statement(
            source=Source.CAMT052,
            account=StatementAccount(
                number, scheme_of(number), account.currency, servicer_of(account.bank)
            ),
            id=f"BAL{now_ms}",
            entries=(),
            balances=(
                StatementBalance(BalanceType.INTERMEDIATE, minor, account.currency, now.date()),
            ),
            created=now.isoformat(timespec="milliseconds"),
            version=CAMT052,
            message_id=f"BAL{account.id}-{now_ms}",
        )


def line_of(report: Statement, bank: str) -> BalanceLine:
    """Return a report as it is shown."""
    balance = report.balances[0]
    return BalanceLine(
        bank=bank,
        account=report.account.identifier,
        currency=balance.currency,
        balance=format_amount(balance.minor, balance.currency),
        as_of=report.created,
    )
