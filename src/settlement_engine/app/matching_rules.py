"""Converts the tolerances and tariffs of the configuration to the rules of matching."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING

from settlement_engine.domain.closed_differences import (
    CHARGES_ACCOUNT,
    ROUNDING_ACCOUNT,
    versioned,
)
from settlement_engine.domain.matching.values import (
    TOLERANCE_MINOR_MAX,
    Charge,
    Rules,
    Tolerance,
)
from settlement_engine.domain.money import MoneyError, currencies, exponent, parse_amount
from settlement_engine.errors import Misconfigured

if TYPE_CHECKING:
    from settlement_engine.config import Config


def matching_rules(config: Config) -> Rules:
    """Convert the section ``reconciliation``. Raises Misconfigured for an amount that no rule may have."""
    section = config.reconciliation
    plain = {code: str(section.tolerance_amount) for code in currencies()}
    amounts = plain | dict(section.tolerance_amounts)
    tolerances = [_tolerance("", code, text) for code, text in sorted(amounts.items())]
    tolerances += [
        _tolerance(each.bank, each.currency, str(each.amount)) for each in section.tolerances
    ]
    charges = tuple(
        Charge(
            currency=each.currency,
            minor=_exact_minor(f"{each.charge:f}", each.currency),
            account=CHARGES_ACCOUNT,
            counterparty=each.bank,
            valid_from=each.valid_from,
            valid_until=each.valid_until,
        )
        for each in section.tariffs
    )
    return versioned(Rules(version="", charges=charges, tolerances=tuple(tolerances)))


def _tolerance(bank: str, currency: str, text: str) -> Tolerance:
    _check_currency(currency)
    scaled = Decimal(text).scaleb(exponent(currency))
    minor = int(scaled.to_integral_value(rounding=ROUND_FLOOR))
    if minor > TOLERANCE_MINOR_MAX:
        what = f"reconciliation: the tolerance of {text} {currency} is too large"
        raise Misconfigured(
            what,
            why=f"at most {TOLERANCE_MINOR_MAX} minor units are posted without a person",
            todo="Lower it; larger differences are closed by two people.",
        )
    return Tolerance(currency=currency, minor=minor, account=ROUNDING_ACCOUNT, counterparty=bank)


def _exact_minor(text: str, currency: str) -> int:
    _check_currency(currency)
    try:
        return parse_amount(text, currency).minor
    except MoneyError as error:
        what = f"reconciliation.tariffs: {text} is no amount in {currency}"
        raise Misconfigured(what, todo="Write it in the currency's minor units.") from error


def _check_currency(currency: str) -> None:
    if currency not in currencies():
        what = f"reconciliation: {currency} is no currency"
        raise Misconfigured(what, todo="Write its ISO 4217 code.")
