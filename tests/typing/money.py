"""Programs about money that must not type-check, beside those that must.

Each line that must be refused says so with the code of the refusal. A line that mypy lets through is an
unused ignore and fails ``make check``; ``test_programs.py`` takes the ignores away and expects each one.
"""

# ruff: noqa: B015, B018 - it is the type of the expression that matters

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from settlement_engine.domain.ledger import Leg, Transfer
from settlement_engine.domain.money import Money, format_amount, parse_amount
from settlement_engine.ports import Funding

if TYPE_CHECKING:
    from uuid import UUID


def what_is_offered(text: str) -> bool:
    euros = parse_amount(text, "EUR")
    dollars = Money(1250, "USD")
    written: str = format_amount(euros.minor, euros.currency)
    return euros == dollars or str(euros) == written


def two_currencies_cannot_meet(euros: Money, dollars: Money) -> None:
    euros + dollars  # type: ignore[operator]
    euros - dollars  # type: ignore[operator]
    euros < dollars  # type: ignore[operator]
    sum([euros, dollars])  # type: ignore[list-item]
    max(euros, dollars)  # type: ignore[call-overload]


def money_is_not_a_number(euros: Money) -> None:
    euros * 2  # type: ignore[operator]
    euros / 3  # type: ignore[operator]
    -euros  # type: ignore[operator]
    int(euros)  # type: ignore[call-overload]
    float(euros)  # type: ignore[arg-type]
    format_amount(euros, "EUR")  # type: ignore[arg-type]


def money_is_made_of_whole_minor_units() -> None:
    Money(12.50, "EUR")  # type: ignore[arg-type]
    Money(Decimal("12.50"), "EUR")  # type: ignore[arg-type]
    Money("12.50", "EUR")  # type: ignore[arg-type]
    parse_amount(12.50, "EUR")  # type: ignore[arg-type]


def an_amount_has_a_currency(amount: int) -> None:
    Money(amount)  # type: ignore[call-arg]
    parse_amount("12.50")  # type: ignore[call-arg]
    format_amount(amount)  # type: ignore[call-arg]


def money_does_not_change(euros: Money) -> None:
    euros.minor = 1  # type: ignore[misc]
    euros.currency = "USD"  # type: ignore[misc]


def a_transfer_takes_minor_units(group: UUID, amount: Money) -> Transfer:
    return Transfer(
        group_id=group,
        leg=Leg.CASH,
        debit_id=1,
        credit_id=2,
        amount_minor=amount,  # type: ignore[arg-type]
        currency=amount.currency,
    )


def a_funding_takes_money(minor: int) -> Funding:
    return Funding(
        bank="DEUTDEFF",
        amount=minor,  # type: ignore[arg-type]
        reference="",
        account_number="",
        caller="",
        idempotency_key="",
    )
