"""camt.052 (ISO 20022, version 08) of a balance alone: an intraday report without entries.

Promises: it is valid against the schema, and reads back as the same balance. Must never: have entries: a report of
entries that is cut short would look like a whole one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.messages.camt053_building import build_camt053
from settlement_engine.messages.errors import MessageError

if TYPE_CHECKING:
    from settlement_engine.domain.statements import Statement

CAMT052: Final = "camt.052.001.08"
_RENAMED: Final = (
    (b"camt.053.001.08", CAMT052.encode()),
    (b"BkToCstmrStmt>", b"BkToCstmrAcctRpt>"),
    (b"<Stmt>", b"<Rpt>"),
    (b"</Stmt>", b"</Rpt>"),
)


def build_camt052(report: Statement) -> bytes:
    """Build the message: with the same elements as a camt.053, under other names. Raises MessageError."""
    if report.entries:
        raise MessageError("Ntry", "is not written: a report of a balance has none")
    content = build_camt053(report)
    for name, renamed in _RENAMED:
        content = content.replace(name, renamed)
    return content
