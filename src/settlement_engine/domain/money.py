"""Money: an integer of minor units and a currency, and the decimal text that stands for it on the wire.

Promises: exact in both directions, and never rounded. A digit too many is an error. There is no float
here and no ``Decimal``. Exponents are those of ISO 4217 (JPY 0, KWD 3, CLF 4).
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

import msgspec
from iso4217 import Currency as IsoCurrency
from typing_extensions import override

AMOUNT_DIGITS_MAX: Final = 18
"""ISO 20022 carries 18 digits, and 18 digits of minor units fit a signed 64-bit integer."""

AMOUNT_TEXT_MAX: Final = 24
"""No text longer than this is looked at."""

_AMOUNT: Final = re.compile(r"(0|[1-9][0-9]*)(?:\.([0-9]+))?", re.ASCII)
_CODE: Final = re.compile(r"[A-Z]{3}", re.ASCII)


class MoneyError(ValueError):
    """The text is not an amount, or not a currency."""


class Money(msgspec.Struct, frozen=True):
    """An amount of one currency, in minor units."""

    minor: int
    currency: str

    @override
    def __str__(self) -> str:
        """Write the amount as callers do: ``12.50``."""
        return format_amount(self.minor, self.currency)


@cache
def _exponents() -> dict[str, int]:
    return {
        currency.code: currency.exponent
        for currency in IsoCurrency
        if currency.exponent is not None
    }


def currencies() -> dict[str, int]:
    """List every currency that can be settled, with the number of its decimal digits."""
    return dict(_exponents())


def exponent(currency: str) -> int:
    """Return how many decimal digits the currency has (ISO 4217).

    Raises MoneyError for what is not an active currency with minor units.
    """
    found = _exponents().get(currency)
    if found is None:
        if _CODE.fullmatch(currency) is None:
            message = "must be a currency code of three capital letters (ISO 4217), such as EUR"
        else:
            message = "is not an active currency of ISO 4217"
        raise MoneyError(message)
    return found


def parse_amount(text: str, currency: str) -> Money:
    """Read a decimal text such as ``12.50``: plain digits, at most one point, greater than zero.

    Signs, exponents, spaces, leading zeros and digits of other scripts are refused, and so is a
    digit more than the currency has. Raises MoneyError.
    """
    digits = exponent(currency)
    if len(text) > AMOUNT_TEXT_MAX:
        message = f"has more than {AMOUNT_TEXT_MAX} characters"
        raise MoneyError(message)
    match = _AMOUNT.fullmatch(text)
    if match is None:
        message = "must be a plain decimal number such as 12.50: digits and at most one point"
        raise MoneyError(message)
    whole, fraction = match[1], match[2] or ""
    if len(fraction) > digits:
        message = f"has {len(fraction)} decimals, but {currency} has {digits}"
        raise MoneyError(message)
    minor = int(whole + fraction.ljust(digits, "0"))
    if minor == 0:
        message = "must be greater than zero"
        raise MoneyError(message)
    if minor >= 10**AMOUNT_DIGITS_MAX:
        message = f"has more than {AMOUNT_DIGITS_MAX} digits"
        raise MoneyError(message)
    return Money(minor, currency)


def format_amount(minor: int, currency: str) -> str:
    """Write minor units as a decimal text with all of the currency's decimals."""
    digits = exponent(currency)
    if digits == 0:
        return str(minor)
    sign = "-" if minor < 0 else ""
    text = str(abs(minor)).rjust(digits + 1, "0")
    return f"{sign}{text[:-digits]}.{text[-digits:]}"
