"""Amounts in ISO 20022: at most 18 digits, at most five decimals, with a currency.

Promises: reading gives the exact number of minor units; a digit beyond the currency's decimals is an error, and
never rounded. Zero is an amount (a charge may be zero); a sign is in a separate element, never in the amount.
"""

from __future__ import annotations

import re
from typing import Final

from settlement_engine.domain.money import (
    AMOUNT_DIGITS_MAX,
    Money,
    MoneyError,
    exponent,
    format_amount,
)

DECIMALS_MAX: Final = 5
AMOUNT_CHARACTERS_MAX: Final = 64
"""Longer texts are not parsed; the schemas allow leading zeros."""

_DECIMAL: Final = re.compile(r"\+?([0-9]*)(?:\.([0-9]*))?", re.ASCII)

_WITH_TWO: Final = (
    *("ANG", "ATS", "BGN", "CUC", "CYP", "DEM", "EEK", "FIM", "FRF", "GRD", "HRK", "IEP", "LTL"),
    *("LVL", "MRO", "MTL", "NLG", "SIT", "SKK", "SLL", "STD", "VEF", "ZMK", "ZWL"),
)
_WITH_NONE: Final = ("BEF", "BYR", "ESP", "ITL", "LUF", "PTE")
WITHDRAWN: Final = dict.fromkeys(_WITH_TWO, 2) | dict.fromkeys(_WITH_NONE, 0)
"""Decimals of withdrawn currencies (ISO 4217, list three), which old statements contain."""


def decimals_of(currency: str) -> int:
    """Return how many decimals the currency has, or had. Raises MoneyError for an unknown currency."""
    try:
        return exponent(currency)
    except MoneyError:
        if currency in WITHDRAWN:
            return WITHDRAWN[currency]
        raise


def read_amount(text: str, currency: str) -> Money:
    """Read the text of an amount element. Raises MoneyError."""
    match = _DECIMAL.fullmatch(text.strip()) if len(text) <= AMOUNT_CHARACTERS_MAX else None
    if match is None or not (match[1] or match[2]):
        message = "must be a decimal number such as 12.50"
        raise MoneyError(message)
    whole, fraction = match[1].lstrip("0"), (match[2] or "").rstrip("0")
    digits = decimals_of(currency)
    if len(fraction) > DECIMALS_MAX or len(fraction) > digits:
        message = f"has {len(fraction)} decimals, but {currency} has {digits}"
        raise MoneyError(message)
    minor = int((whole + fraction.ljust(digits, "0")) or "0")
    if len(whole) + len(fraction) > AMOUNT_DIGITS_MAX or minor >= 10**AMOUNT_DIGITS_MAX:
        message = f"has more than {AMOUNT_DIGITS_MAX} digits"
        raise MoneyError(message)
    return Money(minor, currency)


def write_amount(amount: Money) -> str:
    """Write an amount with all decimals of its currency. Raises MoneyError."""
    if not 0 <= amount.minor < 10**AMOUNT_DIGITS_MAX:
        message = f"must be zero or more and have at most {AMOUNT_DIGITS_MAX} digits"
        raise MoneyError(message)
    return format_amount(amount.minor, amount.currency, decimals_of(amount.currency))
