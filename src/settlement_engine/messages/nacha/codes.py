"""The codes of transactions, returns and notifications of change, with the day on which they were so.

A code that is not in these tables changes nothing about what its record is: a return stays a return.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

AS_OF: Final = "2026-11-28"
SOURCE: Final = (
    "Nacha Operating Rules, Appendix Four (return reason codes) and Appendix Five (change codes); "
    "titles compared with moov-io/ach, addenda99.go and addenda98.go"
)


class Direction(Enum):
    """Whether an entry puts money on the account that it names, or takes it."""

    CREDIT = "credit"
    DEBIT = "debit"


class ReturnStage(Enum):
    """How far the exchange about an entry that came back has gone."""

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
"""What returns and notifications of change carry; money of theirs goes back to where it came from."""

CREDIT_CODES: Final[dict[str, str]] = {
    "checking": "22",
    "savings": "32",
    "ledger": "42",
    "loan": "52",
}
"""What a credit with money in it says of the receiver's account."""

RETURN_CODES: Final[dict[str, str]] = {
    "R01": "Insufficient funds",
    "R02": "Account closed",
    "R03": "No account, or unable to locate it",
    "R04": "Invalid account number structure",
    "R05": "Unauthorized debit to a consumer account under a corporate entry class",
    "R06": "Returned at the request of the originating institution",
    "R07": "Authorization revoked by the customer",
    "R08": "Payment stopped",
    "R09": "Uncollected funds",
    "R10": "Originator not known to the receiver, or not authorized by it",
    "R11": "Entry not in accordance with the terms of the authorization",
    "R12": "Account sold to another institution",
    "R13": "Invalid routing number, or institution not qualified to participate",
    "R14": "Representative payee deceased or unable to continue in that capacity",
    "R15": "Beneficiary or account holder deceased",
    "R16": "Account frozen, or entry returned per sanctions instruction",
    "R17": "File record edit criteria, or initiated under questionable circumstances",
    "R18": "Improper effective entry date",
    "R19": "Amount field error",
    "R20": "Non-transaction account",
    "R21": "Invalid company identification",
    "R22": "Invalid individual identification number",
    "R23": "Credit entry refused by the receiver",
    "R24": "Duplicate entry",
    "R25": "Addenda error",
    "R26": "Mandatory field error",
    "R27": "Trace number error",
    "R28": "Routing number check digit error",
    "R29": "Corporate customer advises not authorized",
    "R30": "Institution does not participate in check truncation",
    "R31": "Permissible return entry (CCD and CTX)",
    "R32": "Institution cannot settle",
    "R33": "Return of an XCK entry",
    "R34": "Institution of limited participation",
    "R35": "Return of an improper debit entry",
    "R36": "Return of an improper credit entry",
    "R37": "Source document presented for payment",
    "R38": "Stop payment on the source document",
    "R39": "Improper source document, or source document presented for payment",
    "R40": "Return of an ENR entry by a federal agency",
    "R41": "Invalid transaction code (ENR)",
    "R42": "Routing number or check digit error (ENR)",
    "R43": "Invalid account number (ENR)",
    "R44": "Invalid individual identification number (ENR)",
    "R45": "Invalid individual or company name (ENR)",
    "R46": "Invalid representative payee indicator (ENR)",
    "R47": "Duplicate enrollment (ENR)",
    "R50": "State law affects the acceptance of RCK entries",
    "R51": "Item is ineligible, or RCK entry is improper",
    "R52": "Stop payment on the item of an RCK entry",
    "R53": "Item and RCK entry both presented for payment",
    "R61": "Misrouted return",
    "R62": "Return of an erroneous or reversing debit",
    "R67": "Duplicate return",
    "R68": "Untimely return",
    "R69": "Field errors in the return",
    "R70": "Permissible return not accepted, or return not requested",
    "R71": "Misrouted dishonoured return",
    "R72": "Untimely dishonoured return",
    "R73": "Timely original return",
    "R74": "Corrected return",
    "R75": "Return was not a duplicate",
    "R76": "No errors found in the return",
    "R77": "Dishonoured return under R62 is not accepted",
    "R80": "IAT entry coding error",
    "R81": "Gateway does not take part in IAT",
    "R82": "Invalid identification of the foreign receiving institution",
    "R83": "Foreign receiving institution cannot settle",
    "R84": "Entry not processed by the gateway",
    "R85": "Outbound international payment coded as a domestic one",
}

CHANGE_CODES: Final[dict[str, str]] = {
    "C01": "Incorrect account number",
    "C02": "Incorrect routing number",
    "C03": "Incorrect routing number and account number",
    "C04": "Incorrect name of the receiver",
    "C05": "Incorrect transaction code",
    "C06": "Incorrect account number and transaction code",
    "C07": "Incorrect routing number, account number and transaction code",
    "C08": "Incorrect identification of the foreign receiving institution (IAT)",
    "C09": "Incorrect individual identification number",
    "C10": "Incorrect company name",
    "C11": "Incorrect company identification",
    "C12": "Incorrect company name and company identification",
    "C13": "Addenda format error",
    "C14": "Incorrect entry class for an outbound international payment",
    "C61": "Misrouted notification of change",
    "C62": "Incorrect trace number",
    "C63": "Incorrect company identification number",
    "C64": "Incorrect individual identification number",
    "C65": "Incorrectly formatted corrected data",
    "C66": "Incorrect discretionary data",
    "C67": "Routing number is not that of the original entry",
    "C68": "Account number is not that of the original entry",
    "C69": "Incorrect transaction code",
}

_DISHONORED: Final = re.compile(r"R6[1-9]|R70", re.ASCII)
_CONTESTED: Final = re.compile(r"R7[1-7]", re.ASCII)
_REFUSED: Final = re.compile(r"C6[1-9]", re.ASCII)


def return_stage(code: str) -> ReturnStage:
    """Tell what a record of type 99 is; whatever is neither of the two later stages is a return.

    R70 is the originating institution's: it dishonours a return that it neither permitted nor asked for.
    """
    if _DISHONORED.fullmatch(code):
        return ReturnStage.DISHONORED
    if _CONTESTED.fullmatch(code):
        return ReturnStage.CONTESTED
    return ReturnStage.RETURN


def refuses_a_change(code: str) -> bool:
    """Tell whether a record of type 98 refuses a notification instead of being one."""
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
"""Where in the 29 characters of corrected data each corrected field of an entry stands."""
