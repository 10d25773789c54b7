"""camt.052, camt.053 and camt.054: account reports, statements and notifications of ISO 20022, in one pass.

Promises: each element is visited once; an unreadable statement does not affect the others of its file, and its
fault names the element; an entry's sign is its credit/debit indicator alone (a reversal's indicator already gives
the direction); only BOOK means booked. Must never: read a report as a statement, or return nothing for a message of
another kind.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.statements import (
    ENTRIES_MAX,
    FaultKind,
    Source,
    Statement,
    StatementAccount,
    StatementFault,
)
from settlement_engine.messages import xml
from settlement_engine.messages.camt_elements import (
    Children,
    Reader,
    read_balances,
    read_boolean,
    read_day,
    read_number,
)
from settlement_engine.messages.camt_entries import read_entry
from settlement_engine.messages.errors import MessageError, quoted

if TYPE_CHECKING:
    from datetime import date

    from lxml.etree import _Element

FILE_BYTES_MAX: Final = 64 * 1024 * 1024
FILE_MARKUP_MAX: Final = 4_000_000
"""A statement of 100,000 entries has half as many."""

VERSION_MAX: Final = 14
STATEMENTS_MAX: Final = 2_000
"""The most statements of a file."""

_NAMESPACE: Final = re.compile(
    r"urn:iso:std:iso:20022:tech:xsd:(camt\.05[234])\.001\.([0-9]{2})", re.ASCII
)
_CONTAINERS: Final = {
    "BkToCstmrAcctRpt": (Source.CAMT052, "Rpt"),
    "BkToCstmrStmt": (Source.CAMT053, "Stmt"),
    "BkToCstmrDbtCdtNtfctn": (Source.CAMT054, "Ntfctn"),
}
_EXPECTED: Final = frozenset(
    {"Id", "StmtPgntn", "RptPgntn", "NtfctnPgntn", "ElctrncSeqNb", "LglSeqNb", "RptgSeq", "CreDtTm"}
    | {"FrToDt", "CpyDplctInd", "RptgSrc", "Acct", "RltdAcct", "Intrst", "Bal", "TxsSummry", "Ntry"}
    | {"AddtlStmtInf", "AddtlRptInf", "AddtlNtfctnInf", "SplmtryData"}
)
"""The elements of a statement, in every version. An unknown one may be an entry whose name was damaged."""

_LISTS: Final = frozenset(
    {"Rpt", "Stmt", "Ntfctn", "Bal", "Ntry", "RltdAcct", "Intrst", "AddtlStmtInf"}
)


def read_camt(data: bytes) -> tuple[list[Statement], list[StatementFault]]:
    """Read every statement of a file. An unreadable one is a fault with its position."""
    try:
        root = xml.parse(data, bytes_max=FILE_BYTES_MAX, markup_max=FILE_MARKUP_MAX)
        return _read_document(root)
    except _WrongContainer as error:
        return [], [StatementFault(FaultKind.WRONG_CONTAINER, error.place, error.reason)]
    except MessageError as error:
        return [], [StatementFault(FaultKind.UNREADABLE, error.place, error.reason)]


class _WrongContainer(MessageError):
    """The message is well formed but no statement, or its namespace contradicts its content."""


def _read_document(root: _Element) -> tuple[list[Statement], list[StatementFault]]:
    document = _document_of(root)
    uri = xml.namespace(document)
    match = _NAMESPACE.fullmatch(uri)
    if match is None:
        raise _WrongContainer(xml.place_of(document), f"{quoted(uri)} is no statement's namespace")
    if not 1 <= int(match[2]) <= VERSION_MAX:
        reason = f"version {match[2]} of {match[1]} is not read"
        raise MessageError(xml.place_of(document), reason)
    reader = Reader(uri)
    message = next(iter(document), None)
    if message is None:
        raise MessageError(xml.place_of(document), "is empty")
    kind, name = _container(message)
    if kind.value != match[1] or xml.namespace(message) != uri:
        raise _WrongContainer(xml.place_of(message), f"is no {match[1]}, whose namespace it has")
    return _read_message(reader, message, f"{match[1]}.001.{match[2]}", kind, name)


def _document_of(root: _Element) -> _Element:
    """Return the document: the root, or the content of an envelope with a business header."""
    if xml.local(root) == "Document":
        return root
    found = [child for child in root if xml.local(child) == "Document"]
    if len(found) != 1:
        raise _WrongContainer(xml.place_of(root), "is no ISO 20022 document")
    return found[0]


def _container(message: _Element) -> tuple[Source, str]:
    # Version 1 has its number in the element's name: BkToCstmrStmtV01.
    found = _CONTAINERS.get(re.sub(r"V0[0-9]\Z", "", xml.local(message)))
    if found is None:
        raise _WrongContainer(xml.place_of(message), "is no report, statement or notice")
    return found


def _read_message(
    reader: Reader, message: _Element, version: str, kind: Source, name: str
) -> tuple[list[Statement], list[StatementFault]]:
    children = reader.children(message, _LISTS)
    header = children.required("GrpHdr")
    if not children.many(name):
        raise MessageError(xml.place_of(message, name), "is missing: there is no statement")
    if len(children.many(name)) > STATEMENTS_MAX:
        raise MessageError(xml.place_of(message), f"holds more than {STATEMENTS_MAX:,} statements")
    statements: list[Statement] = []
    faults: list[StatementFault] = []
    for number, element in enumerate(children.many(name), 1):
        try:
            statement = _read_statement(reader, header, element, kind, version)
            place = f"{name}[{number}] (line {element.sourceline})"
            statements.append(msgspec.structs.replace(statement, place=place))
        except MessageError as error:
            place = f"{name}[{number}]: {error.place}"
            faults.append(StatementFault(FaultKind.UNREADABLE, place, error.reason))
    return statements, faults


def _read_statement(
    reader: Reader, header: _Element, element: _Element, kind: Source, version: str
) -> Statement:
    for child in element:
        if xml.local(child) not in _EXPECTED:
            raise MessageError(xml.place_of(child), "is not expected here")
    children = reader.children(element, _LISTS)
    elements = children.many("Ntry")
    if len(elements) > ENTRIES_MAX:
        raise MessageError(xml.place_of(element), f"holds more than {ENTRIES_MAX:,} entries")
    balances = read_balances(reader, children.many("Bal"), element)
    entries = tuple(read_entry(reader, each, at) for at, each in enumerate(elements, 1))
    if kind is Source.CAMT053 and not balances and not entries:
        raise MessageError(xml.place_of(element, "Bal"), "is missing: a statement has balances")
    stated = children.one("Acct")
    if stated is None:
        raise MessageError(xml.place_of(element, "Acct"), "is missing")
    currencies = [each.currency for each in balances] or [each.currency for each in entries]
    account = _read_account(reader, stated, currencies)
    group = reader.children(header)
    sequence = children.text("ElctrncSeqNb") or children.text("LglSeqNb")
    page, last = _pages(reader, children, group)
    begins, ends = _period(reader, children)
    information = [each.text or "" for each in children.many("AddtlStmtInf")]
    return Statement(
        source=kind,
        account=account,
        id=children.required_text("Id"),
        entries=entries,
        balances=balances,
        sequence=None if not sequence else read_number(element, "ElctrncSeqNb", sequence),
        page=page,
        is_last_page=last,
        created=children.text("CreDtTm") or group.text("CreDtTm"),
        begins=begins,
        ends=ends,
        version=version,
        message_id=group.text("MsgId"),
        text="\n".join([*(each.strip() for each in information), children.text("AddtlRptInf")]),
    )


def _pages(reader: Reader, children: Children, group: Children) -> tuple[int | None, bool | None]:
    """Return the page number and whether it is the last page: the statement's own, else its message's."""
    pagination = children.one("StmtPgntn", "RptPgntn", "NtfctnPgntn")
    if pagination is None:
        pagination = group.one("MsgPgntn")
    if pagination is None:
        return None, None
    said = reader.children(pagination)
    number = read_number(pagination, "PgNb", said.required_text("PgNb"))
    return number, read_boolean(pagination, "LastPgInd", said.required_text("LastPgInd"))


def _period(reader: Reader, children: Children) -> tuple[date | None, date | None]:
    period = children.one("FrToDt")
    if period is None:
        return None, None
    said = reader.children(period)
    begins = said.text("FrDtTm") or said.text("FrDt")
    ends = said.text("ToDtTm") or said.text("ToDt")
    return (
        read_day(period, "FrDtTm", begins) if begins else None,
        read_day(period, "ToDtTm", ends) if ends else None,
    )


def _read_account(reader: Reader, element: _Element, currencies: list[str]) -> StatementAccount:
    children = reader.children(element)
    identification = reader.children(children.required("Id"))
    iban, other = identification.text("IBAN"), ""
    if not iban:
        stands_in = identification.one("Othr", "PrtryAcct")
        if stands_in is not None:
            other = reader.children(stands_in).text("Id")
        other = other or identification.text("BBAN") or identification.text("UPIC")
    if not iban and not other:
        raise MessageError(xml.place_of(element, "Id"), "has no identifier")
    currency = children.text("Ccy")
    if not currency:
        # An account without a currency has that of all its amounts, if there is only one.
        if len(set(currencies)) != 1:
            raise MessageError(xml.place_of(element, "Ccy"), "is missing, and nothing else says it")
        currency = currencies[0]
    return StatementAccount(
        identifier=iban.replace(" ", "").upper() if iban else other,
        scheme="IBAN" if iban else "OTHER",
        currency=currency,
        servicer=_servicer(reader, children),
    )


def _servicer(reader: Reader, account: Children) -> str:
    element = account.one("Svcr")
    if element is None:
        return ""
    institution = reader.children(element).one("FinInstnId")
    if institution is None:
        return ""
    children = reader.children(institution)
    combined = children.one("CmbndId")  # version 1 has it here
    inner = reader.children(combined) if combined is not None else children
    return inner.text("BICFI") or inner.text("BIC")
