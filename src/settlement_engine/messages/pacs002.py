"""pacs.002 (ISO 20022): a payment status report. The message's status and each payment's are kept apart."""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 -- a struct's fields

import msgspec

from settlement_engine.messages.forms import Form, either, many, one, opt, skip
from settlement_engine.messages.leaves import (
    COUNT,
    DATE,
    DATE_TIME,
    DECIMAL,
    MAX4,
    MAX35,
    UETR,
    open_choice,
)
from settlement_engine.messages.parties import AGENT, Agent
from settlement_engine.messages.references import (
    CHARGE,
    COUNTED_GROUP,
    ORIGINAL_GROUP,
    ORIGINAL_TRANSACTION,
    REASON,
    AgentCharge,
    OriginalGroup,
    OriginalTransaction,
    Reason,
)


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """The header of a message about other messages."""

    message_id: str
    created_at: datetime
    instructing_agent: Agent | None = None
    instructed_agent: Agent | None = None


class CountPerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How many payments of a message have a status."""

    transactions: int
    status: str
    control_sum: str | None = None


class GroupStatus(OriginalGroup, frozen=True, kw_only=True):
    """The status of a message as a whole; PART means that each payment has its own."""

    status: str | None = None
    reasons: tuple[Reason, ...] = ()
    per_status: tuple[CountPerStatus, ...] = ()


class TransactionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The status of one payment."""

    status_id: str | None = None
    group: OriginalGroup | None = None
    instruction_id: str | None = None
    end_to_end_id: str | None = None
    transaction_id: str | None = None
    uetr: str | None = None
    status: str | None = None
    reasons: tuple[Reason, ...] = ()
    charges: tuple[AgentCharge, ...] = ()
    accepted_at: datetime | None = None
    effective_date: date | None = None
    effective_at: datetime | None = None
    account_servicer_reference: str | None = None
    clearing_system_reference: str | None = None
    instructing_agent: Agent | None = None
    instructed_agent: Agent | None = None
    original: OriginalTransaction | None = None


class StatusReportMessage(msgspec.Struct, frozen=True, kw_only=True):
    """The message."""

    header: Notice
    groups: tuple[GroupStatus, ...] = ()
    transactions: tuple[TransactionStatus, ...] = ()


NOTICE = Form(
    Notice,
    (
        one("MsgId", "message_id", MAX35),
        one("CreDtTm", "created_at", DATE_TIME),
        opt("InstgAgt", "instructing_agent", AGENT),
        opt("InstdAgt", "instructed_agent", AGENT),
        *skip("OrgnlBizQry", most=1, since=2021),
    ),
)
_CODES_2009 = ("ACTC", "RJCT", "PDNG", "ACCP", "ACSP", "ACSC", "ACWC")
_STATUS_2009 = open_choice(*_CODES_2009)
_GROUP_STATUS_2009 = open_choice("RCVD", "PART", *_CODES_2009)
_PER_STATUS = Form(
    CountPerStatus,
    (
        one("DtldNbOfTxs", "transactions", COUNT),
        one("DtldSts", "status", _STATUS_2009, until=2009),
        one("DtldSts", "status", MAX4, since=2013),
        opt("DtldCtrlSum", "control_sum", DECIMAL),
    ),
)
_GROUP_STATUS = Form(
    GroupStatus,
    (
        *COUNTED_GROUP.elements,
        opt("GrpSts", "status", _GROUP_STATUS_2009, until=2009),
        opt("GrpSts", "status", MAX4, since=2013),
        many("StsRsnInf", "reasons", REASON),
        many("NbOfTxsPerSts", "per_status", _PER_STATUS),
    ),
)
_TRANSACTION_STATUS = Form(
    TransactionStatus,
    (
        opt("StsId", "status_id", MAX35),
        opt("OrgnlGrpInf", "group", ORIGINAL_GROUP, since=2013),
        opt("OrgnlInstrId", "instruction_id", MAX35),
        opt("OrgnlEndToEndId", "end_to_end_id", MAX35),
        opt("OrgnlTxId", "transaction_id", MAX35),
        opt("OrgnlUETR", "uetr", UETR, since=2019),
        opt("TxSts", "status", _STATUS_2009, until=2009),
        opt("TxSts", "status", MAX4, since=2013),
        many("StsRsnInf", "reasons", REASON),
        many("ChrgsInf", "charges", CHARGE),
        opt("AccptncDtTm", "accepted_at", DATE_TIME),
        either(
            "FctvIntrBkSttlmDt",
            opt("Dt", "effective_date", DATE),
            opt("DtTm", "effective_at", DATE_TIME),
            since=2019,
        ),
        opt("AcctSvcrRef", "account_servicer_reference", MAX35),
        opt("ClrSysRef", "clearing_system_reference", MAX35),
        opt("InstgAgt", "instructing_agent", AGENT),
        opt("InstdAgt", "instructed_agent", AGENT),
        opt("OrgnlTxRef", "original", ORIGINAL_TRANSACTION),
        *skip("SplmtryData", since=2013),
    ),
)
STATUS_REPORT = Form(
    StatusReportMessage,
    (
        one("GrpHdr", "header", NOTICE),
        many("OrgnlGrpInfAndSts", "groups", _GROUP_STATUS, since=2013),
        many("OrgnlGrpInfAndSts", "groups", _GROUP_STATUS, least=1, most=1, until=2009),
        many("TxInfAndSts", "transactions", _TRANSACTION_STATUS),
        *skip("SplmtryData", since=2013),
    ),
)
