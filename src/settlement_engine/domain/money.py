"""Money: an integer of minor units and a currency, and the decimal text that stands for it on the wire.

Promises: conversion is exact in both directions; a digit too many is an error. Amounts in the database always
keep the exponent (the number of decimals) under which the currency was first booked, even if ISO 4217 changes;
only new instructions follow today's ISO 4217 (JPY 0, KWD 3, CLF 4). Must never: round, or use a float.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

import msgspec
from iso4217 import Currency as IsoCurrency
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

AMOUNT_DIGITS_MAX: Final = 18
"""ISO 20022 carries 18 digits, and 18 digits of minor units fit a signed 64-bit integer."""

EXPONENT_MAX: Final = 4
"""The most decimals that a currency has (CLF)."""

AMOUNT_TEXT_MAX: Final = 24
"""The longest amount text, in characters; a longer one is refused unread."""

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


_BOOKED: Final[dict[str, int]] = {}
"""The exponents of the currencies booked in this process's database. The reader of the database sets them;
they never change.
"""


def book_exponents(exponents: Mapping[str, int]) -> None:
    """Remember the exponents that the database has booked. Raises MoneyError if one was different before."""
    for code, digits in exponents.items():
        known = _BOOKED.setdefault(code, digits)
        if known != digits:
            message = f"{code} was booked with {known} decimals before, and now with {digits}"
            raise MoneyError(message)


def are_booked(codes: Iterable[str]) -> bool:
    """Say whether the booked exponents of all these currencies are known."""
    return all(code in _BOOKED for code in codes)


def currencies() -> dict[str, int]:
    """List every currency of today's ISO 4217, with the number of its decimal digits."""
    return dict(_exponents())


def exponent(currency: str) -> int:
    """Return the number of decimals of a currency: as booked, else by today's ISO 4217.

    Raises MoneyError for a currency in neither.
    """
    found = _BOOKED.get(currency)
    if found is None:
        found = _exponents().get(currency)
    if found is None:
        raise MoneyError(_unknown(currency))
    return found


def _unknown(currency: str) -> str:
    if _CODE.fullmatch(currency) is None:
        return "must be a currency code of three capital letters (ISO 4217), for example EUR"
    return "is not an active currency of ISO 4217"


def fault_of_currency_today(currency: str) -> str:
    """Say why new instructions in the currency are refused; empty when they are accepted."""
    if currency not in _exponents():
        return _unknown(currency)
    if _BOOKED and currency not in _BOOKED:
        return "is not in this database yet; run `settlement-engine migrate`"
    return ""


def fault_of_amount_today(amount: Money) -> str:
    """Say what is wrong with a text as an amount of a current currency; empty when it is valid."""
    digits, booked = _exponents().get(amount.currency), exponent(amount.currency)
    if digits is None or digits >= booked or amount.minor % 10 ** (booked - digits) == 0:
        return ""
    return f"has more decimals than {amount.currency} has today, which are {digits}"


def takes_every_amount_today(currency: str) -> bool:
    """Say whether the currency is current and its booked exponent equals the one of ISO 4217."""
    return not fault_of_currency_today(currency) and _exponents()[currency] >= exponent(currency)


def check_amount_text(text: str, currency: str) -> None:
    """Check an amount without the booked exponents, which may include withdrawn currencies.

    Raises MoneyError.
    """
    if currency not in _exponents() and _CODE.fullmatch(currency) is not None:
        _minor(text, currency, EXPONENT_MAX)
        return
    parse_amount(text, currency)


def parse_amount(text: str, currency: str) -> Money:
    """Read a decimal text such as ``12.50``: plain digits, at most one point, greater than zero.

    Raises MoneyError for signs, exponents, spaces, leading zeros, digits of other scripts, and for more
    decimals than the currency has.
    """
    return Money(_minor(text, currency, exponent(currency)), currency)


def _minor(text: str, currency: str, digits: int) -> int:
    if len(text) > AMOUNT_TEXT_MAX:
        message = f"has more than {AMOUNT_TEXT_MAX} characters"
        raise MoneyError(message)
    match = _AMOUNT.fullmatch(text)
    if match is None:
        message = "must be a decimal number such as 12.50: digits and at most one point"
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
    return minor


def format_amount(minor: int, currency: str, digits: int | None = None) -> str:
    """Write minor units as a decimal text with all of the currency's decimals.

    ``digits`` is the exponent where it is recorded beside the amount, as in evidence.
    """
    digits = exponent(currency) if digits is None else digits
    if digits == 0:
        return str(minor)
    sign = "-" if minor < 0 else ""
    text = str(abs(minor)).rjust(digits + 1, "0")
    return f"{sign}{text[:-digits]}.{text[-digits:]}"
