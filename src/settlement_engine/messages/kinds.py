"""The kinds and versions of ISO 20022 messages that are read, and their forms.

Each version of a kind belongs to an edition of the standard's types; ``forms.py`` explains what that decides. An
unlisted kind or version is an error, and never read as a similar one.
"""

from __future__ import annotations

from typing import Final

import msgspec

from settlement_engine.messages.admi002 import MESSAGE_REJECT
from settlement_engine.messages.camt029 import RESOLUTION
from settlement_engine.messages.camt054 import BOOKING_NOTICE
from settlement_engine.messages.camt056 import CANCELLATION_REQUEST
from settlement_engine.messages.camt060 import REPORT_REQUEST
from settlement_engine.messages.forms import Compiled, Form, compiled
from settlement_engine.messages.pacs002 import STATUS_REPORT
from settlement_engine.messages.pacs004 import PAYMENT_RETURN
from settlement_engine.messages.pacs008 import CUSTOMER_TRANSFERS
from settlement_engine.messages.pacs009 import INSTITUTION_TRANSFERS
from settlement_engine.messages.pacs028 import STATUS_REQUEST

NAMESPACE: Final = "urn:iso:std:iso:20022:tech:xsd:"


class Kind(msgspec.Struct, frozen=True):
    """A kind of message: the element under ``Document``, its form, and the edition of each version."""

    root: str
    form: Form
    editions: dict[str, int]

    def compiled(self, name: str, version: str) -> Compiled:
        """Return the form of a version."""
        return compiled(self.form, NAMESPACE + name + version, self.editions[version])


KINDS: Final[dict[str, Kind]] = {
    "pacs.008.001.": Kind(
        "FIToFICstmrCdtTrf", CUSTOMER_TRANSFERS, {"02": 2009, "08": 2019, "10": 2021}
    ),
    "pacs.009.001.": Kind("FICdtTrf", INSTITUTION_TRANSFERS, {"08": 2019}),
    "pacs.002.001.": Kind("FIToFIPmtStsRpt", STATUS_REPORT, {"03": 2009, "10": 2019, "12": 2021}),
    "pacs.004.001.": Kind("PmtRtr", PAYMENT_RETURN, {"09": 2019, "10": 2020}),
    "pacs.028.001.": Kind("FIToFIPmtStsReq", STATUS_REQUEST, {"03": 2019}),
    "camt.056.001.": Kind("FIToFIPmtCxlReq", CANCELLATION_REQUEST, {"08": 2019}),
    "camt.029.001.": Kind("RsltnOfInvstgtn", RESOLUTION, {"09": 2019}),
    "camt.054.001.": Kind(
        "BkToCstmrDbtCdtNtfctn",
        BOOKING_NOTICE,
        {"02": 2009, "03": 2013, "04": 2013, "05": 2015, "06": 2016, "07": 2018, "08": 2019},
    ),
    "camt.060.001.": Kind("AcctRptgReq", REPORT_REQUEST, {"05": 2019}),
    "admi.002.001.": Kind("admi.002.001.01", MESSAGE_REJECT, {"01": 2013}),
}
"""By the name without the version, as in the namespace."""


def versions() -> list[str]:
    """List every message that is read, such as ``pacs.008.001.08``."""
    return sorted(name + version for name, kind in KINDS.items() for version in kind.editions)
