"""pacs.008 (ISO 20022): a customer credit transfer between institutions."""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 -- a struct's fields

import msgspec

from settlement_engine.domain.money import Money  # noqa: TC001 -- a struct's field
from settlement_engine.messages.forms import MONEY, Form, inside, many, one, opt, skip
from settlement_engine.messages.leaves import DATE, DATE_TIME, MAX4, MAX140, RATE, choice
from settlement_engine.messages.parties import ACCOUNT, AGENT, PARTY, Agent, Party, PartyAccount
from settlement_engine.messages.references import (
    CHARGE,
    CHARGE_BEARER,
    PURPOSE,
    AgentCharge,
    AgentInstruction,
)
from settlement_engine.messages.remittance import REMITTANCE, StructuredRemittance
from settlement_engine.messages.transfers import (
    IDENTIFIED,
    INSTRUCTING,
    INTERMEDIARIES,
    PREVIOUS,
    TRANSFER_HEADER,
    Identified,
    TransferHeader,
)


class CustomerTransfer(Identified, frozen=True, kw_only=True):
    """One customer's transfer."""

    accepted_at: datetime | None = None
    pooling_date: date | None = None
    instructed_amount: Money | None = None
    exchange_rate: str | None = None
    charge_bearer: str
    charges: tuple[AgentCharge, ...] = ()
    ultimate_debtor: Party | None = None
    initiating_party: Party | None = None
    debtor: Party
    debtor_account: PartyAccount | None = None
    debtor_agent: Agent
    debtor_agent_account: PartyAccount | None = None
    creditor_agent: Agent
    creditor_agent_account: PartyAccount | None = None
    creditor: Party
    creditor_account: PartyAccount | None = None
    ultimate_creditor: Party | None = None
    for_creditor_agent: tuple[AgentInstruction, ...] = ()
    for_next_agent: tuple[AgentInstruction, ...] = ()
    purpose: str | None = None
    purpose_own: str | None = None
    remittance_texts: tuple[str, ...] = ()
    structured_remittance: tuple[StructuredRemittance, ...] = ()


class CustomerTransfers(msgspec.Struct, frozen=True, kw_only=True):
    """The message."""

    header: TransferHeader
    transfers: tuple[CustomerTransfer, ...]


FOR_CREDITOR_AGENT = Form(
    AgentInstruction,
    (
        opt("Cd", "code", choice("CHQB", "HOLD", "PHOB", "TELB"), until=2019),
        opt("Cd", "code", MAX4, since=2020),
        opt("InstrInf", "text", MAX140),
    ),
)
FOR_NEXT_AGENT = Form(
    AgentInstruction,
    (opt("Cd", "code", choice("PHOA", "TELA")), opt("InstrInf", "text", MAX140)),
)

CUSTOMER_TRANSFER = Form(
    CustomerTransfer,
    (
        *IDENTIFIED,
        opt("AccptncDtTm", "accepted_at", DATE_TIME),
        opt("PoolgAdjstmntDt", "pooling_date", DATE),
        opt("InstdAmt", "instructed_amount", MONEY),
        opt("XchgRate", "exchange_rate", RATE),
        one("ChrgBr", "charge_bearer", CHARGE_BEARER),
        many("ChrgsInf", "charges", CHARGE),
        *skip("MndtRltdInf", most=1, since=2021),
        *PREVIOUS,
        *INSTRUCTING,
        *INTERMEDIARIES,
        opt("UltmtDbtr", "ultimate_debtor", PARTY),
        opt("InitgPty", "initiating_party", PARTY),
        one("Dbtr", "debtor", PARTY),
        opt("DbtrAcct", "debtor_account", ACCOUNT),
        one("DbtrAgt", "debtor_agent", AGENT),
        opt("DbtrAgtAcct", "debtor_agent_account", ACCOUNT),
        one("CdtrAgt", "creditor_agent", AGENT),
        opt("CdtrAgtAcct", "creditor_agent_account", ACCOUNT),
        one("Cdtr", "creditor", PARTY),
        opt("CdtrAcct", "creditor_account", ACCOUNT),
        opt("UltmtCdtr", "ultimate_creditor", PARTY),
        many("InstrForCdtrAgt", "for_creditor_agent", FOR_CREDITOR_AGENT),
        many("InstrForNxtAgt", "for_next_agent", FOR_NEXT_AGENT),
        PURPOSE,
        *skip("RgltryRptg", most=10),
        *skip("Tax", most=1, since=2013),
        *skip("RltdRmtInf", most=10),
        inside("RmtInf", *REMITTANCE),
        *skip("SplmtryData", since=2013),
    ),
)
CUSTOMER_TRANSFERS = Form(
    CustomerTransfers,
    (
        one("GrpHdr", "header", TRANSFER_HEADER),
        many("CdtTrfTxInf", "transfers", CUSTOMER_TRANSFER, least=1),
        *skip("SplmtryData", since=2013),
    ),
)
