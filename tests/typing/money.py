"""Programs about money that must not type-check, beside those that must.

Each line that must be refused says so with the code of the refusal. A line that mypy lets through is an
unused ignore and fails ``make check``; ``test_programs.py`` takes the ignores away and expects every one.
"""

from __future__ import annotations

from decimal import Decimal

from settlement_engine.domain.ledger import Leg, Transfer
from settlement_engine.domain.money import Money, format_amount, parse_amount
from settlement_engine.ports import AccountSpec, Funding

euros = parse_amount("12.50", "EUR")
dollars = Money(1250, "USD")
text: str = format_amount(euros.minor, euros.currency)
is_same: bool = euros == dollars

euros + dollars  # type: ignore[operator]
euros - dollars  # type: ignore[operator]
euros * 2  # type: ignore[operator]
euros / 3  # type: ignore[operator]
-euros  # type: ignore[operator]
euros < dollars  # type: ignore[operator]
sum([euros, dollars])  # type: ignore[list-item]
int(euros)  # type: ignore[call-overload]
float(euros)  # type: ignore[arg-type]
Money(12.50, "EUR")  # type: ignore[arg-type]
Money(Decimal("12.50"), "EUR")  # type: ignore[arg-type]
Money("12.50", "EUR")  # type: ignore[arg-type]
parse_amount(12.50, "EUR")  # type: ignore[arg-type]
parse_amount("12.50")  # type: ignore[call-arg]
format_amount(euros)  # type: ignore[call-arg, arg-type]
euros.minor = 1  # type: ignore[misc]


def transfer(amount: Money) -> Transfer:
    return Transfer(
        group_id=GROUP,
        leg=Leg.CASH,
        debit_id=1,
        credit_id=2,
        amount_minor=amount,  # type: ignore[arg-type]
        currency=amount.currency,
    )


def funding(amount: Money, minor: int) -> Funding:
    return Funding(
        bank="DEUTDEFF",
        amount=minor if minor else amount,  # type: ignore[arg-type]
        reference="",
        account_number="",
        caller="",
        idempotency_key="",
    )
