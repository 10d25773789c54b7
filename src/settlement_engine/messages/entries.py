"""Entries of an account, as in camt.054 (camt.052 and camt.053 have the same)."""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 -- a struct's fields

import msgspec

from settlement_engine.domain.money import Money  # noqa: TC001 -- a struct's field
from settlement_engine.messages.forms import (
    MONEY,
    Element,
    Form,
    code_or_own,
    either,
    inside,
    many,
    one,
    opt,
    skip,
)
from settlement_engine.messages.leaves import (
    BOOLEAN,
    COUNT,
    DATE,
    DATE_TIME,
    DIRECTION,
    MAX4,
    MAX35,
    MAX105,
    MAX500,
    UETR,
    open_choice,
)
from settlement_engine.messages.parties import (
    ACCOUNT,
    AGENT,
    PARTY,
    Agent,
    Party,
    PartyAccount,
    party_or_agent,
)
from settlement_engine.messages.references import Reason
from settlement_engine.messages.remittance import REMITTANCE, StructuredRemittance


class BankCode(msgspec.Struct, frozen=True, kw_only=True):
    """The bank transaction code: the kind of booking."""

    domain: str | None = None
    family: str | None = None
    sub_family: str | None = None
    own: str | None = None
    own_issuer: str | None = None


class EntryTransaction(msgspec.Struct, frozen=True, kw_only=True):
    """One payment of an entry."""

    message_id: str | None = None
    account_servicer_reference: str | None = None
    payment_information_id: str | None = None
    instruction_id: str | None = None
    end_to_end_id: str | None = None
    uetr: str | None = None
    transaction_id: str | None = None
    mandate_id: str | None = None
    cheque_number: str | None = None
    clearing_system_reference: str | None = None
    amount: Money | None = None
    direction: str | None = None
    instructed_amount: Money | None = None
    transaction_amount: Money | None = None
    code: BankCode | None = None
    debtor: Party | None = None
    debtor_institution: Agent | None = None
    debtor_account: PartyAccount | None = None
    creditor: Party | None = None
    creditor_institution: Agent | None = None
    creditor_account: PartyAccount | None = None
    debtor_agent: Agent | None = None
    creditor_agent: Agent | None = None
    purpose: str | None = None
    purpose_own: str | None = None
    remittance_texts: tuple[str, ...] = ()
    structured_remittance: tuple[StructuredRemittance, ...] = ()
    return_reason: Reason | None = None
    text: str | None = None


class EntryDetails(msgspec.Struct, frozen=True, kw_only=True):
    """The payments of an entry, which may be a batch."""

    batch_message_id: str | None = None
    batch_payment_information_id: str | None = None
    batch_transactions: int | None = None
    batch_amount: Money | None = None
    batch_direction: str | None = None
    transactions: tuple[EntryTransaction, ...] = ()


class CamtEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One booking, or an entry that is pending or for information only."""

    reference: str | None = None
    amount: Money
    direction: str
    is_reversal: bool | None = None
    status: str | None = None
    status_own: str | None = None
    booked_on: date | None = None
    booked_at: datetime | None = None
    value_date: date | None = None
    value_at: datetime | None = None
    account_servicer_reference: str | None = None
    code: BankCode
    instructed_amount: Money | None = None
    transaction_amount: Money | None = None
    details: tuple[EntryDetails, ...] = ()
    text: str | None = None


_CODE = Form(
    BankCode,
    (
        inside(
            "Domn",
            one("Cd", "domain", MAX4),
            inside(
                "Fmly", one("Cd", "family", MAX4), one("SubFmlyCd", "sub_family", MAX4), least=1
            ),
        ),
        inside("Prtry", one("Cd", "own", MAX35), opt("Issr", "own_issuer", MAX35)),
    ),
)
_AMOUNTS = inside(
    "AmtDtls",
    inside("InstdAmt", one("Amt", "instructed_amount", MONEY), *skip("CcyXchg", most=1)),
    inside("TxAmt", one("Amt", "transaction_amount", MONEY), *skip("CcyXchg", most=1)),
    *skip("CntrValAmt", "AnncdPstngAmt", most=1),
    *skip("PrtryAmt"),
)
_REFERENCES = inside(
    "Refs",
    opt("MsgId", "message_id", MAX35),
    opt("AcctSvcrRef", "account_servicer_reference", MAX35),
    opt("PmtInfId", "payment_information_id", MAX35),
    opt("InstrId", "instruction_id", MAX35),
    opt("EndToEndId", "end_to_end_id", MAX35),
    opt("UETR", "uetr", UETR, since=2013),
    opt("TxId", "transaction_id", MAX35),
    opt("MndtId", "mandate_id", MAX35),
    opt("ChqNb", "cheque_number", MAX35),
    opt("ClrSysRef", "clearing_system_reference", MAX35),
    *skip("AcctOwnrTxId", "AcctSvcrTxId", "MktInfrstrctrTxId", "PrcgId", most=1, since=2013),
    *skip("Prtry", most=1, until=2009),
    *skip("Prtry", since=2013),
)
_PARTIES = inside(
    "RltdPties",
    *skip("InitgPty", most=1),
    opt("Dbtr", "debtor", PARTY, until=2018),
    party_or_agent("Dbtr", "debtor", since=2019),
    opt("DbtrAcct", "debtor_account", ACCOUNT),
    *skip("UltmtDbtr", most=1),
    opt("Cdtr", "creditor", PARTY, until=2018),
    party_or_agent("Cdtr", "creditor", since=2019),
    opt("CdtrAcct", "creditor_account", ACCOUNT),
    *skip("UltmtCdtr", "TradgPty", most=1),
    *skip("Prtry"),
)
_AGENTS = inside(
    "RltdAgts",
    *skip("InstgAgt", "InstdAgt", most=1, since=2019),
    opt("DbtrAgt", "debtor_agent", AGENT),
    opt("CdtrAgt", "creditor_agent", AGENT),
    *skip("IntrmyAgt1", "IntrmyAgt2", "IntrmyAgt3", "RcvgAgt", "DlvrgAgt", most=1),
    *skip("IssgAgt", "SttlmPlc", most=1),
    *skip("Prtry"),
)
_RETURN_REASON = Form(
    Reason,
    (
        *skip("OrgnlBkTxCd", most=1),
        opt("Orgtr", "originator", PARTY),
        code_or_own("Rsn", "code", MAX4, MAX35),
        many("AddtlInf", "texts", MAX105),
    ),
)
_TRANSACTION = Form(
    EntryTransaction,
    (
        _REFERENCES,
        one("Amt", "amount", MONEY, since=2013, until=2013),
        opt("Amt", "amount", MONEY, since=2014),
        one("CdtDbtInd", "direction", DIRECTION, since=2013, until=2013),
        opt("CdtDbtInd", "direction", DIRECTION, since=2014),
        _AMOUNTS,
        *skip("Avlbty"),
        opt("BkTxCd", "code", _CODE),
        *skip("Chrgs", "Intrst", until=2009),
        *skip("Chrgs", "Intrst", most=1, since=2013),
        _PARTIES,
        _AGENTS,
        *skip("LclInstrm", most=1, since=2019),
        code_or_own("Purp", "purpose", MAX4, MAX35),
        *skip("RltdRmtInf", most=10),
        inside("RmtInf", *REMITTANCE),
        *skip("RltdDts", "RltdPric", most=1),
        *skip("RltdQties"),
        *skip("FinInstrmId", "Tax", most=1),
        opt("RtrInf", "return_reason", _RETURN_REASON),
        *skip("CorpActn", "SfkpgAcct", most=1),
        *skip("CshDpst", since=2013),
        *skip("CardTx", most=1, since=2013),
        opt("AddtlTxInf", "text", MAX500),
        *skip("SplmtryData", since=2013),
    ),
)
_DETAILS = Form(
    EntryDetails,
    (
        inside(
            "Btch",
            opt("MsgId", "batch_message_id", MAX35),
            opt("PmtInfId", "batch_payment_information_id", MAX35),
            opt("NbOfTxs", "batch_transactions", COUNT),
            opt("TtlAmt", "batch_amount", MONEY),
            opt("CdtDbtInd", "batch_direction", DIRECTION),
        ),
        many("TxDtls", "transactions", _TRANSACTION),
    ),
)


def _moment(tag: str, on: str, at: str) -> Element:
    return either(tag, opt("Dt", on, DATE), opt("DtTm", at, DATE_TIME))


ENTRY = Form(
    CamtEntry,
    (
        opt("NtryRef", "reference", MAX35),
        one("Amt", "amount", MONEY),
        one("CdtDbtInd", "direction", DIRECTION),
        opt("RvslInd", "is_reversal", BOOLEAN),
        one("Sts", "status", open_choice("BOOK", "PDNG", "INFO"), until=2018),
        either(
            "Sts",
            opt("Cd", "status", MAX4),
            opt("Prtry", "status_own", MAX35),
            least=1,
            since=2019,
        ),
        _moment("BookgDt", "booked_on", "booked_at"),
        _moment("ValDt", "value_date", "value_at"),
        opt("AcctSvcrRef", "account_servicer_reference", MAX35),
        *skip("Avlbty"),
        one("BkTxCd", "code", _CODE),
        *skip("ComssnWvrInd", "AddtlInfInd", most=1),
        _AMOUNTS,
        *skip("Chrgs", until=2009),
        *skip("Chrgs", most=1, since=2013),
        *skip("TechInptChanl", most=1),
        *skip("Intrst", until=2009),
        *skip("Intrst", most=1, since=2013),
        *skip("CardTx", most=1, since=2013),
        many("NtryDtls", "details", _DETAILS),
        opt("AddtlNtryInf", "text", MAX500),
    ),
)
