"""camt.053 (ISO 20022, version 08) from a statement: the same value that the reader returns.

Promises: the text is valid against the schema and reads back as the same statement; it is made in parts, so that
a long statement is never held twice. Must never: change an amount, a date or a reference to make it fit; what does
not fit is a MessageError that names its place.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

import msgspec

from settlement_engine.domain.money import Money, MoneyError
from settlement_engine.domain.statements import BalanceType, EntryStatus
from settlement_engine.messages.amounts import write_amount
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.leaves import (
    BIC,
    CURRENCY,
    DATE_TIME,
    IBAN,
    MAX34,
    MAX35,
    MAX140,
    MAX500,
    UETR,
    Leaf,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

    from settlement_engine.domain.statements import (
        Entry,
        EntryDetail,
        Statement,
        StatementAccount,
        StatementBalance,
        StatementReferences,
    )

CAMT053: Final = "camt.053.001.08"
ENTRIES_OF_A_PART: Final = 200
"""So many entries are written at a time."""

REMITTANCE_CHARACTERS_MAX: Final = 140

_BALANCES: Final = {
    BalanceType.OPENING: "OPBD",
    BalanceType.OPENING_INTERMEDIATE: "ITBD",
    BalanceType.CLOSING: "CLBD",
    BalanceType.CLOSING_INTERMEDIATE: "ITBD",
    BalanceType.INTERMEDIATE: "ITBD",
    BalanceType.AVAILABLE: "CLAV",
    BalanceType.FORWARD_AVAILABLE: "FWAV",
    BalanceType.EXPECTED: "XPCD",
}
_STATUSES: Final = {
    EntryStatus.BOOKED: "BOOK",
    EntryStatus.PENDING: "PDNG",
    EntryStatus.FUTURE: "FUTR",
    EntryStatus.INFORMATION: "INFO",
}
_MOMENT: Final = Leaf(DATE_TIME.read, lambda text: DATE_TIME.read(text) and text)
_CODE: Final = re.compile(r"([A-Z]{4})/([A-Z]{4})/([A-Z]{4})", re.ASCII)
_NOT_IN_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LINE_ENDS: Final = {"\r": "&#13;"}
"""A reader of XML would take it for the end of a line."""

_START: Final = (
    "<?xml version='1.0' encoding='UTF-8'?>\n"
    f'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:{CAMT053}"><BkToCstmrStmt>'
)
_END: Final = "</Stmt></BkToCstmrStmt></Document>"


class StatementHolder(msgspec.Struct, frozen=True):
    """The owner of the account, where the statement names it."""

    name: str = ""
    bic: str = ""


def build_camt053(statement: Statement, holder: StatementHolder | None = None) -> bytes:
    """Build the message of one statement. Raises MessageError."""
    return b"".join(camt053_parts(statement, statement.entries, holder))


def camt053_parts(
    statement: Statement, entries: Iterable[Entry], holder: StatementHolder | None = None
) -> Iterator[bytes]:
    """Build the message in parts; ``entries`` take the place of the statement's own. Raises MessageError."""
    yield (_START + _beginning(statement, holder or StatementHolder())).encode()
    written: list[str] = []
    for entry in entries:
        written.append(_entry(entry))
        if len(written) == ENTRIES_OF_A_PART:
            yield "".join(written).encode()
            written = []
    information = _element("AddtlStmtInf", statement.text, "Stmt", MAX500)
    yield ("".join(written) + information + _END).encode()


def _beginning(statement: Statement, holder: StatementHolder) -> str:
    created = _required("CreDtTm", statement.created, "GrpHdr", _MOMENT)
    header = _element("MsgId", statement.message_id or statement.id, "GrpHdr/MsgId", MAX35)
    parts = [
        f"<GrpHdr>{header}{created}</GrpHdr><Stmt>",
        _required("Id", statement.id, "Stmt/Id", MAX35),
    ]
    if statement.page is not None and statement.is_last_page is not None:
        last = "true" if statement.is_last_page else "false"
        parts.append(
            f"<StmtPgntn><PgNb>{statement.page}</PgNb><LastPgInd>{last}</LastPgInd></StmtPgntn>"
        )
    if statement.sequence is not None:
        parts.append(f"<ElctrncSeqNb>{statement.sequence}</ElctrncSeqNb>")
    parts.append(created)
    if statement.begins is not None and statement.ends is not None:
        parts.append(
            f"<FrToDt><FrDtTm>{statement.begins}T00:00:00</FrDtTm>"
            f"<ToDtTm>{statement.ends}T23:59:59</ToDtTm></FrToDt>"
        )
    parts.append(_account(statement.account, holder))
    if not statement.balances:
        raise MessageError("Bal", "is missing: a statement has balances")
    parts.extend(map(_balance, statement.balances))
    return "".join(parts)


def _account(account: StatementAccount, holder: StatementHolder) -> str:
    place = "Acct/Id"
    if account.scheme == "IBAN":
        identifier = _required("IBAN", account.identifier, place, IBAN)
    else:
        identifier = f"<Othr>{_required('Id', account.identifier, place, MAX34)}</Othr>"
    currency = _required("Ccy", account.currency, "Acct/Ccy", CURRENCY)
    name = _element("Nm", holder.name, "Acct/Ownr", MAX140)
    bic = _element("AnyBIC", holder.bic, "Acct/Ownr", BIC)
    organisation = f"<Id><OrgId>{bic}</OrgId></Id>" if bic else ""
    owner = f"<Ownr>{name}{organisation}</Ownr>" if name or bic else ""
    servicer = _element("BICFI", account.servicer, "Acct/Svcr", BIC)
    institution = f"<Svcr><FinInstnId>{servicer}</FinInstnId></Svcr>" if servicer else ""
    return f"<Acct><Id>{identifier}</Id>{currency}{owner}{institution}</Acct>"


def _balance(balance: StatementBalance) -> str:
    code = _BALANCES.get(balance.type)
    if code is None:
        raise MessageError("Bal/Tp", f"a balance of type {balance.type} is not written")
    return (
        f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp>"
        f"{_amount(balance.minor, balance.currency, 'Bal/Amt')}<Dt><Dt>{balance.date}</Dt></Dt></Bal>"
    )


def _entry(entry: Entry) -> str:
    place = f"Ntry[{entry.number}]"
    references = entry.references
    reversal = "<RvslInd>true</RvslInd>" if entry.is_reversal else ""
    return "".join(
        (
            "<Ntry>",
            _element("NtryRef", references.entry, place, MAX35),
            _amount(entry.minor, entry.currency, place, reversal),
            f"<Sts><Cd>{_STATUSES[entry.status]}</Cd></Sts>",
            _date("BookgDt", entry.booking_date),
            _date("ValDt", entry.value_date),
            _element("AcctSvcrRef", references.servicer, place, MAX35),
            _code(entry.code, place),
            _details(entry, place),
            _element("AddtlNtryInf", _own_text(entry), place, MAX500),
            "</Ntry>",
        )
    )


def _own_text(entry: Entry) -> str:
    """Return the entry's text without that of its only payment, which the reader appends to it."""
    if len(entry.details) != 1 or not entry.details[0].text:
        return entry.text
    return entry.text.removesuffix(entry.details[0].text).removesuffix("\n")


def _code(code: str, place: str) -> str:
    match = _CODE.fullmatch(code)
    if match is None:
        own = _element("Cd", code, f"{place}/BkTxCd", MAX35)
        return f"<BkTxCd><Prtry>{own}</Prtry></BkTxCd>" if own else "<BkTxCd/>"
    return (
        f"<BkTxCd><Domn><Cd>{match[1]}</Cd><Fmly><Cd>{match[2]}</Cd>"
        f"<SubFmlyCd>{match[3]}</SubFmlyCd></Fmly></Domn></BkTxCd>"
    )


def _details(entry: Entry, place: str) -> str:
    if not entry.details:
        # An entry's own references have no element: they are those of its only payment.
        references = _references(entry.references, place, is_entrys=True)
        return f"<NtryDtls><TxDtls>{references}</TxDtls></NtryDtls>" if references else ""
    batch = ""
    if len(entry.details) > 1:
        total = _amount(entry.minor, entry.currency, place, name="TtlAmt")
        batch = f"<Btch><NbOfTxs>{len(entry.details)}</NbOfTxs>{total}</Btch>"
    written = "".join(_detail(each, entry.currency, place) for each in entry.details)
    return f"<NtryDtls>{batch}{written}</NtryDtls>"


def _detail(detail: EntryDetail, currency: str, place: str) -> str:
    amount = "" if detail.minor is None else _amount(detail.minor, currency, f"{place}/TxDtls")
    charges = ""
    if detail.charges_minor:
        charged = _amount(-detail.charges_minor, currency, f"{place}/TxDtls/Chrgs")
        charges = f"<Chrgs><Rcrd>{charged}</Rcrd></Chrgs>"
    lines = "".join(
        _element("Ustrd", line[start : start + REMITTANCE_CHARACTERS_MAX], place, MAX140)
        for line in detail.text.split("\n")
        for start in range(0, len(line), REMITTANCE_CHARACTERS_MAX)
    )
    remittance = f"<RmtInf>{lines}</RmtInf>" if lines else ""
    references = _references(detail.references, place)
    return f"<TxDtls>{references}{amount}{charges}{remittance}</TxDtls>"


def _references(references: StatementReferences, place: str, *, is_entrys: bool = False) -> str:
    said = "".join(
        (
            _element("MsgId", references.message, place, MAX35),
            "" if is_entrys else _element("AcctSvcrRef", references.servicer, place, MAX35),
            _element("PmtInfId", references.payment_information, place, MAX35),
            _element("InstrId", references.instruction, place, MAX35),
            _element("EndToEndId", references.end_to_end, place, MAX35),
            _element("UETR", references.uetr, place, UETR),
            _element("TxId", references.transaction, place, MAX35),
            _element("ClrSysRef", references.clearing, place, MAX35),
        )
    )
    return f"<Refs>{said}</Refs>" if said else ""


def _amount(minor: int, currency: str, place: str, after: str = "", *, name: str = "Amt") -> str:
    try:
        text = write_amount(Money(abs(minor), currency))
    except MoneyError as error:
        raise MessageError(place, str(error)) from None
    sign = "DBIT" if minor < 0 else "CRDT"
    return f'<{name} Ccy="{currency}">{text}</{name}><CdtDbtInd>{sign}</CdtDbtInd>{after}'


def _date(name: str, day: date | None) -> str:
    return "" if day is None else f"<{name}><Dt>{day}</Dt></{name}>"


def _required(name: str, text: str, place: str, leaf: Leaf) -> str:
    if not text:
        raise MessageError(place, "is missing")
    return _element(name, text, place, leaf)


def _element(name: str, text: str, place: str, leaf: Leaf | None = None) -> str:
    if not text:
        return ""
    try:
        value = text if leaf is None else leaf.write(text)
    except ValueError as error:
        raise MessageError(f"{place}/{name}", str(error)) from None
    if _NOT_IN_XML.search(value) is not None:
        raise MessageError(f"{place}/{name}", "has a character that XML does not carry")
    return f"<{name}>{escape(value, _LINE_ENDS)}</{name}>"
