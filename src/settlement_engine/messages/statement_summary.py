"""A file of statements in sentences for people. No decision may be based on them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from settlement_engine.domain.money import Money
from settlement_engine.domain.statements import (
    END_OF_DAY,
    Statement,
    StatementBalance,
    StatementFile,
)
from settlement_engine.messages.amounts import write_amount

if TYPE_CHECKING:
    from collections.abc import Iterator


def said_by_file(file: StatementFile) -> Iterator[str]:
    """Describe each statement: its account, its balances, and whether its entries explain their difference."""
    for statement in file.statements:
        yield _sentence(statement)


def _sentence(statement: Statement) -> str:
    account = statement.account
    number = "" if statement.sequence is None else f", number {statement.sequence}"
    page = "" if statement.page is None else f", page {statement.page}"
    statuses = Counter(entry.status.value.lower() for entry in statement.entries)
    entries = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
    opening, closing = statement.opening(), statement.closing()
    differing = sum(entry.details_differ for entry in statement.entries)
    name = f"{statement.source.value} {statement.id or 'without an id'}{number}{page}"
    parts = [
        f"{name} of {account.identifier} ({account.currency})",
        f"entries {entries or 'none'}",
        f"opening {_written(opening)}, closing {_written(closing)}",
        _fit(statement, opening, closing),
        f"details differ in {differing}" if differing else "",
    ]
    return "; ".join(part for part in parts if part)


def _fit(
    statement: Statement, opening: StatementBalance | None, closing: StatementBalance | None
) -> str:
    if statement.source not in END_OF_DAY or opening is None or closing is None:
        return ""
    balanced = opening.minor + statement.booked_minor() == closing.minor
    return "balanced" if balanced else "NOT balanced"


def _written(balance: StatementBalance | None) -> str:
    if balance is None:
        return "none"
    sign = "-" if balance.minor < 0 else ""
    return f"{sign}{write_amount(Money(abs(balance.minor), balance.currency))} on {balance.date}"
