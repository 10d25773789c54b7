"""Identifiers with check digits: IBAN, BIC, LEI, creditor reference, routing number; and country codes.

Promises: each check returns a sentence about the fault, or an empty text. A BIC that is in no directory is a
warning, not a fault: no freely available directory is complete.
"""

from __future__ import annotations

import re
import warnings
from functools import lru_cache
from typing import Final

from schwifty import BIC, IBAN, exceptions
from stdnum import iso11649, lei
from stdnum.us import rtn

CHECKED_KEPT_MAX: Final = 10_000
"""How many checked identifiers are cached: the same accounts recur."""

_BIC: Final = re.compile(r"[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}(?:[A-Z0-9]{3})?", re.ASCII)
_IBAN: Final = re.compile(r"[A-Z]{2}[0-9]{2}[a-zA-Z0-9]{1,30}", re.ASCII)
_LEI: Final = re.compile(r"[A-Z0-9]{18}[0-9]{2}", re.ASCII)
_CREDITOR_REFERENCE: Final = re.compile(r"RF[0-9]{2}[A-Za-z0-9]{1,21}", re.ASCII)
_WRONG: Final = {
    exceptions.InvalidLength: "its length is",
    exceptions.InvalidChecksumDigits: "its check digits are",
    exceptions.InvalidBBANChecksum: "its national check digits are",
    exceptions.InvalidCountryCode: "its country is",
}
_COUNTRY: Final = re.compile(r"[A-Z]{2}", re.ASCII)
_USED_BY_BANKS: Final = frozenset({"XK"})
"""Codes that banks use and ISO 3166 has not assigned: Kosovo."""

_HEAD_OFFICE: Final = "XXX"
_BIC8_CHARACTERS: Final = 8


@lru_cache(maxsize=CHECKED_KEPT_MAX)
def fault_of_iban(text: str) -> str:
    """Check an IBAN (ISO 13616): length, check digits and, where its country has them, the national ones."""
    if _IBAN.fullmatch(text) is None:
        return "is not an IBAN: it is capital letters and digits, without spaces"
    try:
        with warnings.catch_warnings():
            # For some countries no algorithm is known: their national digits are not checked.
            warnings.simplefilter("ignore", exceptions.NationalChecksumNotVerified)
            IBAN(text, validate_bban=True)
    except exceptions.SchwiftyException as error:
        return f"is not an IBAN: {_what_is_wrong(error)}"
    return ""


@lru_cache(maxsize=CHECKED_KEPT_MAX)
def fault_of_bic(text: str) -> str:
    """Check a BIC (ISO 9362): its structure and its country."""
    if _BIC.fullmatch(text) is None:
        return "is not a BIC: it is 8 or 11 capital letters and digits"
    if text[4:6] in _USED_BY_BANKS:
        return ""
    try:
        BIC(text)
    except exceptions.SchwiftyException as error:
        return f"is not a BIC: {_what_is_wrong(error)}"
    return ""


@lru_cache(maxsize=CHECKED_KEPT_MAX)
def fault_of_country(text: str) -> str:
    """Check a country code (ISO 3166, two letters)."""
    if _COUNTRY.fullmatch(text) is None:
        return "must be a country code of two capital letters (ISO 3166)"
    # A BIC has the country in its middle, and the library knows them all.
    is_known = (
        text in _USED_BY_BANKS or BIC(f"AAAA{text}AA", allow_invalid=True).country is not None
    )
    return "" if is_known else "is no country code of ISO 3166"


def _what_is_wrong(error: exceptions.SchwiftyException) -> str:
    """Describe the fault without repeating the identifier, because the text may be logged."""
    for kind, what in _WRONG.items():
        if isinstance(error, kind):
            return f"{what} wrong"
    return "its structure is wrong"


@lru_cache(maxsize=CHECKED_KEPT_MAX)
def warning_of_bic(text: str) -> str:
    """Return a warning when the BIC is in no directory; it may still exist."""
    bic = BIC(text, allow_invalid=True)
    whole = text + _HEAD_OFFICE if len(text) == _BIC8_CHARACTERS else text
    if bic.exists or BIC(whole, allow_invalid=True).exists:
        return ""
    return "is in none of the directories here, which are not complete"


def fault_of_lei(text: str) -> str:
    """Check an LEI's check digits (ISO 17442)."""
    is_right = _LEI.fullmatch(text) is not None and lei.is_valid(text)
    return "" if is_right else "is not an LEI: check digits"


def fault_of_creditor_reference(text: str) -> str:
    """Check a creditor reference's check digits (ISO 11649)."""
    is_right = _CREDITOR_REFERENCE.fullmatch(text) is not None and iso11649.is_valid(text)
    return "" if is_right else "is not a creditor reference: check digits"


def fault_of_routing_number(text: str) -> str:
    """Check the check digit of a US routing number (ABA)."""
    return "" if rtn.is_valid(text) else "is not a routing number: check digit"
