"""Statements of every format: recognises the kind of file, and reads it.

Promises: for any bytes the result has statements, or faults with their positions, or both, but is never empty. It
must never raise because of a file's content.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.statements import FaultKind, StatementFault, StatementFile
from settlement_engine.messages.camt_statements import FILE_BYTES_MAX, read_camt
from settlement_engine.messages.csv_statements import read_csv
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.mt_statements import read_blocks

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from settlement_engine.messages.csv_mapping import Mapping

    Check: TypeAlias = Callable[[bytes], None]
    """Validates a message. Raises MessageError."""

_XML: Final = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*<")
_MT: Final = re.compile(rb"(?:^|[\r\n]):(?:20|25|60[FM]|61|62[FM]):|\A(?:\xef\xbb\xbf):20:")
_CAMT: Final = re.compile(rb"[\"']urn:iso:std:iso:20022:tech:xsd:camt\.05[23]\.001\.")
_CAMT_054: Final = re.compile(rb"[\"']urn:iso:std:iso:20022:tech:xsd:camt\.054\.001\.")

NAMESPACE_BYTES_MAX: Final = 262_144
"""How far into a file a statement's namespace is searched for: an application header with all its fields and many
related headers may stand before it."""


def read_statements(
    data: bytes, mapping: Mapping | None = None, check: Check | None = None
) -> StatementFile:
    """Read a file of statements: camt as XML, MT by its fields, and CSV when a mapping is given.

    ``check`` validates a file of XML first: of an invalid one nothing is read.
    """
    if len(data) > FILE_BYTES_MAX:
        return _fault(f"has {len(data):,} bytes, and {FILE_BYTES_MAX:,} is the most")
    if mapping is not None:
        statements, faults = read_csv(data, mapping)
    elif _XML.match(data):
        invalid = "" if check is None else _fault_of(data, check)
        if invalid:
            return _fault(invalid)
        statements, faults = read_camt(data)
    elif _MT.search(data):
        statements, faults = read_blocks(data)
    else:
        return _fault("is neither camt nor MT; a CSV needs a mapping")
    if not statements and not faults:
        return _fault("holds no statement")
    return StatementFile(tuple(statements), tuple(faults))


def _fault_of(data: bytes, check: Check) -> str:
    """Say what is invalid, and where; empty when nothing is."""
    try:
        check(data)
    except MessageError as error:
        return f"is invalid against its schema: {error.place}: {error.reason}"
    return ""


def is_statement_file(data: bytes) -> bool:
    """Return whether the bytes begin like statements: MT fields, or a camt.052 or camt.053.

    A rail also reports a booking as a camt.054; a caller that expects statements need not ask.
    """
    if _XML.match(data):
        return _CAMT.search(data, 0, NAMESPACE_BYTES_MAX) is not None
    return _MT.search(data) is not None


def may_be_large(beginning: bytes) -> bool:
    """Return whether a file that begins like this may have as many bytes as the import of statements takes.

    That is also a camt.054, which the import takes as it takes statements.
    """
    begins = beginning[:NAMESPACE_BYTES_MAX]
    is_xml = _XML.match(begins) is not None
    return is_statement_file(begins) or (is_xml and _CAMT_054.search(begins) is not None)


def _fault(reason: str) -> StatementFile:
    return StatementFile((), (StatementFault(FaultKind.UNREADABLE, "file", reason),))
