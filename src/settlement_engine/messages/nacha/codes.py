"""Transaction codes, and what a return or change code says about its record.

The titles of return and change codes are dated data (``code_sets``). A code without a title does not change the
kind of its record: a return stays a return.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final


class Direction(Enum):
    """Whether an entry credits or debits the account that it names."""

    CREDIT = "credit"
    DEBIT = "debit"


class ReturnStage(Enum):
    """The stage of the exchange about a returned entry."""

    RETURN = "return"
    DISHONORED = "dishonoured return"
    CONTESTED = "contested dishonoured return"


_ACCOUNTS: Final = "234"  # demand, savings and general ledger; loans (5) know fewer kinds of debits
TRANSACTION_CODES: Final[dict[str, Direction]] = {
    **{f"{account}{last}": Direction.CREDIT for account in _ACCOUNTS + "5" for last in "1234"},
    **{f"{account}{last}": Direction.DEBIT for account in _ACCOUNTS for last in "6789"},
    **dict.fromkeys(("55", "56"), Direction.DEBIT),
    **{f"8{last}": Direction.CREDIT for last in "1357"},  # the operator's advices
    **{f"8{last}": Direction.DEBIT for last in "2468"},
}

RETURN_TRANSACTIONS: Final = frozenset(f"{account}{last}" for account in "2345" for last in "16")
"""The codes of returns and notifications of change; a return's money goes back to its origin."""

CREDIT_CODES: Final[dict[str, str]] = {
    "checking": "22",
    "savings": "32",
    "ledger": "42",
    "loan": "52",
}
"""The transaction codes of credits with money, by the kind of the receiver's account."""

_DISHONORED: Final = re.compile(r"R6[1-9]|R70", re.ASCII)
_CONTESTED: Final = re.compile(r"R7[1-7]", re.ASCII)
_REFUSED: Final = re.compile(r"C6[1-9]", re.ASCII)


def return_stage(code: str) -> ReturnStage:
    """Return the stage of a record of type 99; any code of neither later stage is a return.

    R70 is the originating institution's: it dishonours a return that it neither permitted nor requested.
    """
    if _DISHONORED.fullmatch(code):
        return ReturnStage.DISHONORED
    if _CONTESTED.fullmatch(code):
        return ReturnStage.CONTESTED
    return ReturnStage.RETURN


def refuses_a_change(code: str) -> bool:
    """Return whether a record of type 98 refuses a notification of change."""
    return bool(_REFUSED.fullmatch(code))


CORRECTED_FIELDS: Final[dict[str, tuple[tuple[str, int, int], ...]]] = {
    "C01": (("account", 1, 17),),
    "C02": (("receiver", 1, 9),),
    "C03": (("receiver", 1, 9), ("account", 13, 29)),
    "C04": (("name", 1, 22),),
    "C05": (("transaction_code", 1, 2),),
    "C06": (("account", 1, 17), ("transaction_code", 21, 22)),
    "C07": (("receiver", 1, 9), ("account", 10, 26), ("transaction_code", 27, 28)),
    "C09": (("identification", 1, 22),),
}
"""The position of each corrected field within the 29 characters of corrected data."""
