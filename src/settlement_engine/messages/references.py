"""Structures that several messages share: original message and payment, reasons, charges, settlement."""

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
    COUNT,
    DATE,
    DATE_TIME,
    DECIMAL,
    MAX4,
    MAX35,
    MAX105,
    Leaf,
    choice,
    text,
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
from settlement_engine.messages.remittance import REMITTANCE, StructuredRemittance


class OriginalGroup(msgspec.Struct, frozen=True, kw_only=True):
    """The message that another one refers to."""

    message_id: str
    message_name: str
    created_at: datetime | None = None
    transactions: int | None = None
    control_sum: str | None = None


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """A reason: a code of an external set or a proprietary one, its originator, and further text."""

    code: str | None = None
    code_own: str | None = None
    originator: Party | None = None
    texts: tuple[str, ...] = ()


class AgentCharge(msgspec.Struct, frozen=True, kw_only=True):
    """A charge that an institution took."""

    amount: Money
    agent: Agent


class AgentInstruction(msgspec.Struct, frozen=True, kw_only=True):
    """An instruction for an institution in the payment chain: a code, a text, or both."""

    code: str | None = None
    text: str | None = None


class SettlementInformation(msgspec.Struct, frozen=True, kw_only=True):
    """How the institutions settle: method, account, clearing system, reimbursement agents."""

    method: str
    account: PartyAccount | None = None
    clearing_system: str | None = None
    clearing_system_own: str | None = None
    instructing_reimbursement_agent: Agent | None = None
    instructing_reimbursement_account: PartyAccount | None = None
    instructed_reimbursement_agent: Agent | None = None
    instructed_reimbursement_account: PartyAccount | None = None
    third_reimbursement_agent: Agent | None = None
    third_reimbursement_account: PartyAccount | None = None


class NamedCode(msgspec.Struct, frozen=True, kw_only=True):
    """A code of an external set, or a proprietary one."""

    code: str | None = None
    code_own: str | None = None


class PaymentType(msgspec.Struct, frozen=True, kw_only=True):
    """What kind of payment it is."""

    priority: str | None = None
    clearing_channel: str | None = None
    service_levels: tuple[NamedCode, ...] = ()
    local_instrument: str | None = None
    local_instrument_own: str | None = None
    category_purpose: str | None = None
    category_purpose_own: str | None = None


class OriginalTransaction(msgspec.Struct, frozen=True, kw_only=True):
    """The original payment's data that another message repeats."""

    settlement_amount: Money | None = None
    instructed_amount: Money | None = None
    settlement_date: date | None = None
    remittance_texts: tuple[str, ...] = ()
    structured_remittance: tuple[StructuredRemittance, ...] = ()
    debtor: Party | None = None
    debtor_institution: Agent | None = None
    debtor_account: PartyAccount | None = None
    debtor_agent: Agent | None = None
    debtor_agent_account: PartyAccount | None = None
    creditor_agent: Agent | None = None
    creditor_agent_account: PartyAccount | None = None
    creditor: Party | None = None
    creditor_institution: Agent | None = None
    creditor_account: PartyAccount | None = None
    purpose: str | None = None
    purpose_own: str | None = None


ORIGINAL_GROUP = Form(
    OriginalGroup,
    (
        one("OrgnlMsgId", "message_id", MAX35),
        one("OrgnlMsgNmId", "message_name", MAX35),
        opt("OrgnlCreDtTm", "created_at", DATE_TIME),
    ),
)
COUNTED_GROUP = Form(
    OriginalGroup,
    (
        *ORIGINAL_GROUP.elements,
        opt("OrgnlNbOfTxs", "transactions", COUNT),
        opt("OrgnlCtrlSum", "control_sum", DECIMAL),
    ),
)


def reason(code: Leaf = MAX4) -> Form:
    """Describe a reason with its originator and texts."""
    return Form(
        Reason,
        (
            opt("Orgtr", "originator", PARTY),
            code_or_own("Rsn", "code", code, MAX35),
            many("AddtlInf", "texts", MAX105),
        ),
    )


REASON = reason()

CHARGE = Form(
    AgentCharge,
    (
        one("Amt", "amount", MONEY),
        one("Pty", "agent", AGENT, until=2009),
        one("Agt", "agent", AGENT, since=2013),
    ),
)
CHARGE_BEARER = choice("DEBT", "CRED", "SHAR", "SLEV")


def _reimbursement(tag: str, who: str) -> tuple[Element, Element]:
    return (
        opt(f"{tag}RmbrsmntAgt", f"{who}_reimbursement_agent", AGENT),
        opt(f"{tag}RmbrsmntAgtAcct", f"{who}_reimbursement_account", ACCOUNT),
    )


SETTLEMENT = Form(
    SettlementInformation,
    (
        one("SttlmMtd", "method", choice("INDA", "INGA", "COVE", "CLRG")),
        opt("SttlmAcct", "account", ACCOUNT),
        code_or_own("ClrSys", "clearing_system", text(3), MAX35),
        *_reimbursement("Instg", "instructing"),
        *_reimbursement("Instd", "instructed"),
        *_reimbursement("Thrd", "third"),
    ),
)
NAMED_CODE = Form(
    NamedCode, (opt("Cd", "code", MAX4), opt("Prtry", "code_own", MAX35)), is_choice=True
)
PAYMENT_TYPE = Form(
    PaymentType,
    (
        opt("InstrPrty", "priority", choice("HIGH", "NORM")),
        opt("ClrChanl", "clearing_channel", choice("RTGS", "RTNS", "MPNS", "BOOK")),
        many("SvcLvl", "service_levels", NAMED_CODE, most=1, until=2009),
        many("SvcLvl", "service_levels", NAMED_CODE, since=2013),
        code_or_own("LclInstrm", "local_instrument", MAX35, MAX35),
        code_or_own("CtgyPurp", "category_purpose", MAX4, MAX35),
    ),
)
PURPOSE = code_or_own("Purp", "purpose", MAX4, MAX35)

ORIGINAL_TRANSACTION = Form(
    OriginalTransaction,
    (
        opt("IntrBkSttlmAmt", "settlement_amount", MONEY),
        either("Amt", opt("InstdAmt", "instructed_amount", MONEY), *skip("EqvtAmt", most=1)),
        opt("IntrBkSttlmDt", "settlement_date", DATE),
        *skip("ReqdColltnDt", "ReqdExctnDt", "CdtrSchmeId", "SttlmInf", most=1),
        *skip("PmtTpInf", "PmtMtd", "MndtRltdInf", most=1),
        inside("RmtInf", *REMITTANCE),
        *skip("UltmtDbtr", most=1),
        opt("Dbtr", "debtor", PARTY, until=2009),
        party_or_agent("Dbtr", "debtor", since=2013),
        opt("DbtrAcct", "debtor_account", ACCOUNT),
        opt("DbtrAgt", "debtor_agent", AGENT),
        opt("DbtrAgtAcct", "debtor_agent_account", ACCOUNT),
        opt("CdtrAgt", "creditor_agent", AGENT),
        opt("CdtrAgtAcct", "creditor_agent_account", ACCOUNT),
        opt("Cdtr", "creditor", PARTY, until=2009),
        party_or_agent("Cdtr", "creditor", since=2013),
        opt("CdtrAcct", "creditor_account", ACCOUNT),
        *skip("UltmtCdtr", most=1),
        code_or_own("Purp", "purpose", MAX4, MAX35, since=2013),
        *skip("UndrlygCstmrCdtTrf", most=1, since=2020),
    ),
)
