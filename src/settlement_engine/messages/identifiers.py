"""Identifiers with check digits: IBAN, BIC, LEI, creditor reference, routing number.

Promises: what is wrong is said in a sentence; empty when nothing is. A BIC that stands in no directory is a
warning and no fault: no directory that can be had freely is complete.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import Final

from schwifty import BIC, IBAN, exceptions
from stdnum import iso11649, lei
from stdnum.us import rtn

from settlement_engine.messages import leaves

CHECKED_KEPT_MAX: Final = 10_000
"""So many identifiers are checked once and then known: the same accounts come again."""

_WRONG: Final = {
    exceptions.InvalidLength: "its length is",
    exceptions.InvalidChecksumDigits: "its check digits are",
    exceptions.InvalidBBANChecksum: "its national check digits are",
    exceptions.InvalidCountryCode: "its country is",
}
_HEAD_OFFICE: Final = "XXX"
_BIC8_CHARACTERS: Final = 8


@lru_cache(maxsize=CHECKED_KEPT_MAX)
def fault_of_iban(text: str) -> str:
    """Check length, check digits and, where its country has them, the national ones."""
    if not _is_written_as(leaves.IBAN, text):
        return "is not an IBAN: it is capital letters and digits, without spaces"
    try:
        with warnings.catch_warnings():
            # For some countries there is no algorithm: their digits are taken as they are.
            warnings.simplefilter("ignore", exceptions.NationalChecksumNotVerified)
            IBAN(text, validate_bban=True)
    except exceptions.SchwiftyException as error:
        return f"is not an IBAN: {_what_is_wrong(error)}"
    return ""


@lru_cache(maxsize=CHECKED_KEPT_MAX)
def fault_of_bic(text: str) -> str:
    """Check the structure and the country."""
    if not _is_written_as(leaves.BIC, text):
        return "is not a BIC: it is 8 or 11 capital letters and digits"
    try:
        BIC(text)
    except exceptions.SchwiftyException as error:
        return f"is not a BIC: {_what_is_wrong(error)}"
    return ""


def _is_written_as(leaf: leaves.Leaf, text: str) -> bool:
    try:
        leaf.read(text)
    except ValueError:
        return False
    return True


def _what_is_wrong(error: exceptions.SchwiftyException) -> str:
    """Say what is wrong without the identifier, which may stand in a log later."""
    for kind, what in _WRONG.items():
        if isinstance(error, kind):
            return f"{what} wrong"
    return "its structure is wrong"


@lru_cache(maxsize=CHECKED_KEPT_MAX)
def warning_of_bic(text: str) -> str:
    """Say when the BIC is in no directory here; it may well exist."""
    bic = BIC(text, allow_invalid=True)
    whole = text + _HEAD_OFFICE if len(text) == _BIC8_CHARACTERS else text
    if bic.exists or BIC(whole, allow_invalid=True).exists:
        return ""
    return "is in none of the directories here, which are not complete"


def fault_of_lei(text: str) -> str:
    """Check the check digits (ISO 17442)."""
    return "" if lei.is_valid(text) and text == text.upper() else "is not an LEI: check digits"


def fault_of_creditor_reference(text: str) -> str:
    """Check the check digits (ISO 11649)."""
    return "" if iso11649.is_valid(text) else "is not a creditor reference: check digits"


def fault_of_routing_number(text: str) -> str:
    """Check the check digit of a US routing number."""
    return "" if rtn.is_valid(text) else "is not a routing number: check digit"
