"""pacs.004 (ISO 20022): the return of a payment, in full, in parts or less charges."""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 -- a struct's fields

import msgspec

from settlement_engine.domain.money import Money  # noqa: TC001 -- a struct's field
from settlement_engine.messages.forms import MONEY, Form, inside, many, one, opt, skip
from settlement_engine.messages.leaves import (
    BOOLEAN,
    COUNT,
    DATE,
    DATE_TIME,
    DECIMAL,
    MAX35,
    RATE,
    UETR,
    choice,
)
from settlement_engine.messages.parties import AGENT, Agent, Party, party_or_agent
from settlement_engine.messages.references import (
    CHARGE,
    CHARGE_BEARER,
    ORIGINAL_GROUP,
    ORIGINAL_TRANSACTION,
    REASON,
    SETTLEMENT,
    AgentCharge,
    OriginalGroup,
    OriginalTransaction,
    Reason,
    SettlementInformation,
)


class ReturnHeader(msgspec.Struct, frozen=True, kw_only=True):
    """The data that all returns of a message share."""

    message_id: str
    created_at: datetime
    is_batch_booked: bool | None = None
    transactions: int
    control_sum: str | None = None
    is_group_returned: bool | None = None
    total_amount: Money | None = None
    settlement_date: date | None = None
    settlement: SettlementInformation
    instructing_agent: Agent | None = None
    instructed_agent: Agent | None = None


class ReturnedGroup(OriginalGroup, frozen=True, kw_only=True):
    """The message whose payments are returned, and why."""

    reasons: tuple[Reason, ...] = ()


class ReturnChain(msgspec.Struct, frozen=True, kw_only=True):
    """The parties of a return: its debtor was the creditor of the original payment."""

    debtor: Party | None = None
    debtor_institution: Agent | None = None
    debtor_agent: Agent | None = None
    creditor_agent: Agent | None = None
    creditor: Party | None = None
    creditor_institution: Agent | None = None


class ReturnedTransaction(msgspec.Struct, frozen=True, kw_only=True):
    """One returned payment."""

    return_id: str | None = None
    group: OriginalGroup | None = None
    instruction_id: str | None = None
    end_to_end_id: str | None = None
    transaction_id: str | None = None
    uetr: str | None = None
    original_clearing_system_reference: str | None = None
    original_amount: Money | None = None
    original_settlement_date: date | None = None
    amount: Money
    settlement_date: date | None = None
    settlement_priority: str | None = None
    debited_at: datetime | None = None
    credited_at: datetime | None = None
    instructed_amount: Money | None = None
    exchange_rate: str | None = None
    compensation: Money | None = None
    charge_bearer: str | None = None
    charges: tuple[AgentCharge, ...] = ()
    clearing_system_reference: str | None = None
    instructing_agent: Agent | None = None
    instructed_agent: Agent | None = None
    chain: ReturnChain | None = None
    reasons: tuple[Reason, ...] = ()
    original: OriginalTransaction | None = None


class PaymentReturn(msgspec.Struct, frozen=True, kw_only=True):
    """The message."""

    header: ReturnHeader
    group: ReturnedGroup | None = None
    returns: tuple[ReturnedTransaction, ...] = ()


_HEADER = Form(
    ReturnHeader,
    (
        one("MsgId", "message_id", MAX35),
        one("CreDtTm", "created_at", DATE_TIME),
        *skip("Authstn", most=2),
        opt("BtchBookg", "is_batch_booked", BOOLEAN),
        one("NbOfTxs", "transactions", COUNT),
        opt("CtrlSum", "control_sum", DECIMAL),
        opt("GrpRtr", "is_group_returned", BOOLEAN),
        opt("TtlRtrdIntrBkSttlmAmt", "total_amount", MONEY),
        opt("IntrBkSttlmDt", "settlement_date", DATE),
        one("SttlmInf", "settlement", SETTLEMENT),
        opt("InstgAgt", "instructing_agent", AGENT),
        opt("InstdAgt", "instructed_agent", AGENT),
    ),
)
_CHAIN = Form(
    ReturnChain,
    (
        *skip("UltmtDbtr", most=1),
        party_or_agent("Dbtr", "debtor", least=1),
        *skip("DbtrAcct", "InitgPty", most=1),
        opt("DbtrAgt", "debtor_agent", AGENT),
        *skip("DbtrAgtAcct", "PrvsInstgAgt1", "PrvsInstgAgt1Acct", most=1),
        *skip("PrvsInstgAgt2", "PrvsInstgAgt2Acct", "PrvsInstgAgt3", "PrvsInstgAgt3Acct", most=1),
        *skip("IntrmyAgt1", "IntrmyAgt1Acct", "IntrmyAgt2", "IntrmyAgt2Acct", most=1),
        *skip("IntrmyAgt3", "IntrmyAgt3Acct", most=1),
        opt("CdtrAgt", "creditor_agent", AGENT),
        *skip("CdtrAgtAcct", most=1),
        party_or_agent("Cdtr", "creditor", least=1),
        *skip("CdtrAcct", "UltmtCdtr", most=1),
    ),
)
_RETURN = Form(
    ReturnedTransaction,
    (
        opt("RtrId", "return_id", MAX35),
        opt("OrgnlGrpInf", "group", ORIGINAL_GROUP),
        opt("OrgnlInstrId", "instruction_id", MAX35),
        opt("OrgnlEndToEndId", "end_to_end_id", MAX35),
        opt("OrgnlTxId", "transaction_id", MAX35),
        opt("OrgnlUETR", "uetr", UETR),
        opt("OrgnlClrSysRef", "original_clearing_system_reference", MAX35),
        opt("OrgnlIntrBkSttlmAmt", "original_amount", MONEY),
        opt("OrgnlIntrBkSttlmDt", "original_settlement_date", DATE),
        one("RtrdIntrBkSttlmAmt", "amount", MONEY),
        opt("IntrBkSttlmDt", "settlement_date", DATE),
        opt("SttlmPrty", "settlement_priority", choice("URGT", "HIGH", "NORM")),
        inside(
            "SttlmTmIndctn",
            opt("DbtDtTm", "debited_at", DATE_TIME),
            opt("CdtDtTm", "credited_at", DATE_TIME),
        ),
        opt("RtrdInstdAmt", "instructed_amount", MONEY),
        opt("XchgRate", "exchange_rate", RATE),
        opt("CompstnAmt", "compensation", MONEY),
        opt("ChrgBr", "charge_bearer", CHARGE_BEARER),
        many("ChrgsInf", "charges", CHARGE),
        opt("ClrSysRef", "clearing_system_reference", MAX35),
        opt("InstgAgt", "instructing_agent", AGENT),
        opt("InstdAgt", "instructed_agent", AGENT),
        opt("RtrChain", "chain", _CHAIN),
        many("RtrRsnInf", "reasons", REASON),
        opt("OrgnlTxRef", "original", ORIGINAL_TRANSACTION),
        *skip("SplmtryData"),
    ),
)
PAYMENT_RETURN = Form(
    PaymentReturn,
    (
        one("GrpHdr", "header", _HEADER),
        opt(
            "OrgnlGrpInf",
            "group",
            Form(
                ReturnedGroup,
                (*ORIGINAL_GROUP.elements, many("RtrRsnInf", "reasons", REASON)),
            ),
        ),
        many("TxInf", "returns", _RETURN),
        *skip("SplmtryData"),
    ),
)
