"""Entries of the camt messages: amount, sign, status, dates, references, and the payments inside.

Promises: an entry's amount is its own, never a sum of its details; the amount of a detail in another currency, or
without one, is ignored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.domain.statements import (
    DETAILS_MAX,
    Entry,
    EntryDetail,
    EntryStatus,
    StatementReferences,
    details_differ,
)
from settlement_engine.messages.camt_elements import (
    Children,
    Reader,
    read_boolean,
    read_date_choice,
    read_money,
    read_number,
    read_sign,
)
from settlement_engine.messages.errors import MessageError, quoted
from settlement_engine.messages.xml import place_of

if TYPE_CHECKING:
    from lxml.etree import _Element

    from settlement_engine.domain.money import Money

TEXT_CHARACTERS_MAX: Final = 20_000
"""The greatest length of an entry's text."""

_STATUSES: Final = {
    "BOOK": EntryStatus.BOOKED,
    "PDNG": EntryStatus.PENDING,
    "FUTR": EntryStatus.FUTURE,
    "INFO": EntryStatus.INFORMATION,
}
_ENTRY_LISTS: Final = frozenset({"NtryDtls", "TxDtls", "Chrgs", "Intrst", "Avlbty"})
_DETAIL_LISTS: Final = frozenset({"TxDtls", "Btch"})
_TRANSACTION_LISTS: Final = frozenset(
    {"Chrgs", "Intrst", "Avlbty", "RltdRmtInf", "AddtlTxInf", "FinInstrmId", "RltdDts"}
)
_REMITTANCE_LISTS: Final = frozenset({"Ustrd", "Strd"})
_NO_REFERENCE: Final = frozenset({"NOTPROVIDED", "NONREF"})


def read_entry(reader: Reader, element: _Element, number: int) -> Entry:
    """Read an entry. Raises MessageError."""
    children = reader.children(element, _ENTRY_LISTS)
    money = read_money(children.required("Amt"))
    sign = read_sign(element, children.text("CdtDbtInd"))
    minor = sign * money.minor
    details, batches_differ = _read_details(reader, children, minor, money.currency)
    reversal = children.text("RvslInd")
    texts = [children.text("AddtlNtryInf")]
    only = details[0] if len(details) == 1 else None
    if only is not None:
        texts.append(only.text)
    own = StatementReferences(servicer=children.text("AcctSvcrRef"), entry=children.text("NtryRef"))
    return Entry(
        number=number,
        minor=minor,
        currency=money.currency,
        status=_status(reader, element, children),
        booking_date=read_date_choice(reader, children.one("BookgDt")),
        value_date=read_date_choice(reader, children.one("ValDt")),
        is_reversal=bool(reversal) and read_boolean(element, "RvslInd", reversal),
        references=_with_only(own, only),
        code=_code(reader, children.one("BkTxCd")),
        text="\n".join(text for text in texts if text)[:TEXT_CHARACTERS_MAX],
        details=details,
        details_differ=batches_differ or details_differ(minor, details),
    )


def _with_only(own: StatementReferences, only: EntryDetail | None) -> StatementReferences:
    """Add the only payment's references to those of the entry itself."""
    if only is None:
        return own
    inner = only.references
    return StatementReferences(
        end_to_end=inner.end_to_end,
        instruction=inner.instruction,
        transaction=inner.transaction,
        uetr=inner.uetr,
        message=inner.message,
        payment_information=inner.payment_information,
        servicer=own.servicer or inner.servicer,
        clearing=inner.clearing,
        entry=own.entry,
    )


def _status(reader: Reader, element: _Element, children: Children) -> EntryStatus:
    status = children.required("Sts")
    text = (status.text or "").strip() or reader.children(status).text("Cd")
    if text not in _STATUSES:
        raise MessageError(place_of(element, "Sts"), f"{quoted(text)} is no status of an entry")
    return _STATUSES[text]


def _code(reader: Reader, element: _Element | None) -> str:
    if element is None:
        return ""
    children = reader.children(element)
    domain = children.one("Domn")
    if domain is not None:
        said = reader.children(domain)
        family = said.one("Fmly")
        inner = reader.children(family) if family is not None else said
        parts = (said.text("Cd"), inner.text("Cd"), inner.text("SubFmlyCd"))
        return "/".join(part for part in parts if part)
    proprietary = children.one("Prtry")
    return reader.children(proprietary).text("Cd") if proprietary is not None else ""


def _read_details(
    reader: Reader, entry: Children, minor: int, currency: str
) -> tuple[tuple[EntryDetail, ...], bool]:
    """Read the payments inside an entry, and return whether a batch's totals contradict its content."""
    details: list[EntryDetail] = []
    differ = False
    batches = entry.many("NtryDtls")
    for element in batches:
        children = reader.children(element, _DETAIL_LISTS)
        held = children.many("TxDtls")
        if len(details) + len(held) > DETAILS_MAX:
            raise MessageError(place_of(element), f"holds more than {DETAILS_MAX:,} payments")
        details += [_read_detail(reader, each, minor, currency) for each in held]
        for batch in children.many("Btch"):
            differ |= _batch_differs(reader, batch, len(held), minor, only=len(batches) == 1)
    for each in entry.many("TxDtls"):  # version 1 has them here
        details.append(_read_detail(reader, each, minor, currency))
    return tuple(details), differ


def _batch_differs(reader: Reader, batch: _Element, held: int, minor: int, *, only: bool) -> bool:
    children = reader.children(batch)
    count, total = children.text("NbOfTxs"), children.one("TtlAmt")
    if held and count and read_number(batch, "NbOfTxs", count) != held:
        return True
    return only and total is not None and read_money(total).minor != abs(minor)


def _read_detail(reader: Reader, element: _Element, minor: int, currency: str) -> EntryDetail:
    children = reader.children(element, _TRANSACTION_LISTS)
    sign = 1 if minor >= 0 else -1
    indicator = children.text("CdtDbtInd")
    if indicator:
        sign = read_sign(element, indicator)
    money = _detail_money(reader, children)
    return EntryDetail(
        references=_references(reader, children),
        minor=sign * money.minor if money is not None and money.currency == currency else None,
        text=_text(reader, children),
        charges_minor=_charges(reader, children, currency),
    )


def _detail_money(reader: Reader, children: Children) -> Money | None:
    amount = children.one("Amt")
    if amount is None:
        parts = children.one("AmtDtls")
        if parts is None:
            return None
        said = reader.children(parts)
        inner = said.one("TxAmt", "InstdAmt")
        if inner is None:
            return None
        amount = reader.children(inner).required("Amt")
    return read_money(amount)


def _charges(reader: Reader, children: Children, currency: str) -> int:
    """Return the sum of a payment's charges in minor units: those paid less those refunded."""
    total = 0
    for element in children.many("Chrgs"):
        inner = reader.children(element, frozenset({"Rcrd"}))
        records = [reader.children(each) for each in inner.many("Rcrd")] or [inner]
        for record in records:
            amount = record.one("Amt")
            if amount is None:
                continue
            money = read_money(amount)
            if money.currency == currency:
                credit = record.text("CdtDbtInd") == "CRDT"
                total += -money.minor if credit else money.minor
    return total


def _references(reader: Reader, children: Children) -> StatementReferences:
    element = children.one("Refs")
    if element is None:
        return StatementReferences()
    said = reader.children(element, frozenset({"Prtry"}))

    def text(name: str) -> str:
        found = said.text(name)
        return "" if found.upper() in _NO_REFERENCE else found

    return StatementReferences(
        end_to_end=text("EndToEndId"),
        instruction=text("InstrId"),
        transaction=text("TxId"),
        uetr=text("UETR"),
        message=text("MsgId"),
        payment_information=text("PmtInfId"),
        servicer=text("AcctSvcrRef"),
        clearing=text("ClrSysRef"),
    )


def _text(reader: Reader, children: Children) -> str:
    """Return the remittance text of a payment."""
    parts: list[str] = []
    remittance = children.one("RmtInf")
    if remittance is not None:
        said = reader.children(remittance, _REMITTANCE_LISTS)
        parts += [(each.text or "").strip() for each in said.many("Ustrd")]
        for each in said.many("Strd"):
            reference = reader.children(each, frozenset({"RfrdDocInf", "AddtlRmtInf"})).one(
                "CdtrRefInf"
            )
            if reference is not None:
                inner = reader.children(reference)
                parts.append(inner.text("Ref") or inner.text("CdtrRef"))
    parts += [(each.text or "").strip() for each in children.many("AddtlTxInf")]
    return "\n".join(part for part in parts if part)[:TEXT_CHARACTERS_MAX]
