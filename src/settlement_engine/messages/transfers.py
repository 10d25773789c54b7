"""What pacs.008 and pacs.009 have in common: group header, identifiers, intermediary institutions."""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 -- a struct's fields

import msgspec

from settlement_engine.domain.money import Money  # noqa: TC001 -- a struct's field
from settlement_engine.messages.forms import (
    EDITION_FIRST,
    EDITION_LAST,
    MONEY,
    Element,
    Form,
    inside,
    one,
    opt,
)
from settlement_engine.messages.leaves import (
    BOOLEAN,
    COUNT,
    DATE,
    DATE_TIME,
    DECIMAL,
    MAX35,
    TIME,
    UETR,
    choice,
)
from settlement_engine.messages.parties import ACCOUNT, AGENT, Agent, PartyAccount
from settlement_engine.messages.references import (
    PAYMENT_TYPE,
    SETTLEMENT,
    PaymentType,
    SettlementInformation,
)


class TransferHeader(msgspec.Struct, frozen=True, kw_only=True):
    """The data that all transfers of a message share."""

    message_id: str
    created_at: datetime
    is_batch_booked: bool | None = None
    transactions: int
    control_sum: str | None = None
    total_amount: Money | None = None
    settlement_date: date | None = None
    settlement: SettlementInformation
    payment_type: PaymentType | None = None
    instructing_agent: Agent | None = None
    instructed_agent: Agent | None = None


class OnTheWay(msgspec.Struct, frozen=True, kw_only=True):
    """The institutions between the debtor's and the creditor's, with their accounts."""

    previous_agent: Agent | None = None
    previous_agent_account: PartyAccount | None = None
    previous_agent_2: Agent | None = None
    previous_agent_2_account: PartyAccount | None = None
    previous_agent_3: Agent | None = None
    previous_agent_3_account: PartyAccount | None = None
    intermediary_agent: Agent | None = None
    intermediary_agent_account: PartyAccount | None = None
    intermediary_agent_2: Agent | None = None
    intermediary_agent_2_account: PartyAccount | None = None
    intermediary_agent_3: Agent | None = None
    intermediary_agent_3_account: PartyAccount | None = None


class Identified(OnTheWay, frozen=True, kw_only=True):
    """A transfer's identifiers, amount and times."""

    instruction_id: str | None = None
    end_to_end_id: str
    transaction_id: str | None = None
    uetr: str | None = None
    clearing_system_reference: str | None = None
    payment_type: PaymentType | None = None
    amount: Money
    settlement_date: date | None = None
    settlement_priority: str | None = None
    debited_at: datetime | None = None
    credited_at: datetime | None = None
    cls_time: str | None = None
    till_time: str | None = None
    from_time: str | None = None
    reject_time: str | None = None
    instructing_agent: Agent | None = None
    instructed_agent: Agent | None = None


TRANSFER_HEADER = Form(
    TransferHeader,
    (
        one("MsgId", "message_id", MAX35),
        one("CreDtTm", "created_at", DATE_TIME),
        opt("BtchBookg", "is_batch_booked", BOOLEAN),
        one("NbOfTxs", "transactions", COUNT),
        opt("CtrlSum", "control_sum", DECIMAL),
        opt("TtlIntrBkSttlmAmt", "total_amount", MONEY),
        opt("IntrBkSttlmDt", "settlement_date", DATE),
        one("SttlmInf", "settlement", SETTLEMENT),
        opt("PmtTpInf", "payment_type", PAYMENT_TYPE),
        opt("InstgAgt", "instructing_agent", AGENT),
        opt("InstdAgt", "instructed_agent", AGENT),
    ),
)

IDENTIFIED = (
    inside(
        "PmtId",
        opt("InstrId", "instruction_id", MAX35),
        one("EndToEndId", "end_to_end_id", MAX35),
        one("TxId", "transaction_id", MAX35, until=2009),
        opt("TxId", "transaction_id", MAX35, since=2013),
        opt("UETR", "uetr", UETR, since=2019),
        opt("ClrSysRef", "clearing_system_reference", MAX35),
        least=1,
    ),
    opt("PmtTpInf", "payment_type", PAYMENT_TYPE),
    one("IntrBkSttlmAmt", "amount", MONEY),
    opt("IntrBkSttlmDt", "settlement_date", DATE),
    opt("SttlmPrty", "settlement_priority", choice("URGT", "HIGH", "NORM")),
    inside(
        "SttlmTmIndctn",
        opt("DbtDtTm", "debited_at", DATE_TIME),
        opt("CdtDtTm", "credited_at", DATE_TIME),
    ),
    inside(
        "SttlmTmReq",
        opt("CLSTm", "cls_time", TIME),
        opt("TillTm", "till_time", TIME),
        opt("FrTm", "from_time", TIME),
        opt("RjctTm", "reject_time", TIME),
    ),
)


def _with_account(
    tag: str, field: str, since: int = EDITION_FIRST, until: int = EDITION_LAST
) -> tuple[Element, Element]:
    return (
        opt(tag, field, AGENT, since=since, until=until),
        opt(f"{tag}Acct", f"{field}_account", ACCOUNT, since=since, until=until),
    )


PREVIOUS = (
    *_with_account("PrvsInstgAgt", "previous_agent", until=2009),
    *_with_account("PrvsInstgAgt1", "previous_agent", since=2013),
    *_with_account("PrvsInstgAgt2", "previous_agent_2", since=2013),
    *_with_account("PrvsInstgAgt3", "previous_agent_3", since=2013),
)
INSTRUCTING = (
    opt("InstgAgt", "instructing_agent", AGENT),
    opt("InstdAgt", "instructed_agent", AGENT),
)
INTERMEDIARIES = (
    *_with_account("IntrmyAgt1", "intermediary_agent"),
    *_with_account("IntrmyAgt2", "intermediary_agent_2"),
    *_with_account("IntrmyAgt3", "intermediary_agent_3"),
)
