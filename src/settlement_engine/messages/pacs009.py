"""pacs.009 (ISO 20022): a transfer between institutions, their own (core) or the cover of a customer's (COV)."""

from __future__ import annotations

import msgspec

from settlement_engine.domain.money import Money  # noqa: TC001 -- a struct's field
from settlement_engine.messages.forms import MONEY, Form, inside, many, one, opt, skip
from settlement_engine.messages.leaves import MAX140, choice
from settlement_engine.messages.pacs008 import FOR_CREDITOR_AGENT, FOR_NEXT_AGENT
from settlement_engine.messages.parties import ACCOUNT, AGENT, PARTY, Agent, Party, PartyAccount
from settlement_engine.messages.references import PURPOSE, AgentInstruction
from settlement_engine.messages.remittance import REMITTANCE, StructuredRemittance
from settlement_engine.messages.transfers import (
    IDENTIFIED,
    INSTRUCTING,
    INTERMEDIARIES,
    PREVIOUS,
    TRANSFER_HEADER,
    Identified,
    OnTheWay,
    TransferHeader,
)


class CoveredTransfer(OnTheWay, frozen=True, kw_only=True):
    """The customer's transfer that this one covers."""

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
    remittance_texts: tuple[str, ...] = ()
    structured_remittance: tuple[StructuredRemittance, ...] = ()
    instructed_amount: Money | None = None


class InstitutionTransfer(Identified, frozen=True, kw_only=True):
    """One transfer between institutions."""

    ultimate_debtor: Agent | None = None
    debtor: Agent
    debtor_account: PartyAccount | None = None
    debtor_agent: Agent | None = None
    debtor_agent_account: PartyAccount | None = None
    creditor_agent: Agent | None = None
    creditor_agent_account: PartyAccount | None = None
    creditor: Agent
    creditor_account: PartyAccount | None = None
    ultimate_creditor: Agent | None = None
    for_creditor_agent: tuple[AgentInstruction, ...] = ()
    for_next_agent: tuple[AgentInstruction, ...] = ()
    purpose: str | None = None
    purpose_own: str | None = None
    remittance_texts: tuple[str, ...] = ()
    covers: CoveredTransfer | None = None


class InstitutionTransfers(msgspec.Struct, frozen=True, kw_only=True):
    """The message."""

    header: TransferHeader
    transfers: tuple[InstitutionTransfer, ...]

    @property
    def is_cover(self) -> bool:
        """Return whether the message is a cover (COV)."""
        return any(transfer.covers is not None for transfer in self.transfers)


COVERED_TRANSFER = Form(
    CoveredTransfer,
    (
        opt("UltmtDbtr", "ultimate_debtor", PARTY),
        opt("InitgPty", "initiating_party", PARTY),
        one("Dbtr", "debtor", PARTY),
        opt("DbtrAcct", "debtor_account", ACCOUNT),
        one("DbtrAgt", "debtor_agent", AGENT),
        opt("DbtrAgtAcct", "debtor_agent_account", ACCOUNT),
        *PREVIOUS,
        *INTERMEDIARIES,
        one("CdtrAgt", "creditor_agent", AGENT),
        opt("CdtrAgtAcct", "creditor_agent_account", ACCOUNT),
        one("Cdtr", "creditor", PARTY),
        opt("CdtrAcct", "creditor_account", ACCOUNT),
        opt("UltmtCdtr", "ultimate_creditor", PARTY),
        many("InstrForCdtrAgt", "for_creditor_agent", FOR_CREDITOR_AGENT),
        many("InstrForNxtAgt", "for_next_agent", FOR_NEXT_AGENT),
        *skip("Tax", most=1),
        inside("RmtInf", *REMITTANCE),
        opt("InstdAmt", "instructed_amount", MONEY),
    ),
)
_FOR_CREDITOR_AGENT = Form(
    AgentInstruction,
    (opt("Cd", "code", choice("PHOB", "TELB")), opt("InstrInf", "text", MAX140)),
)
INSTITUTION_TRANSFER = Form(
    InstitutionTransfer,
    (
        *IDENTIFIED,
        *PREVIOUS,
        *INSTRUCTING,
        *INTERMEDIARIES,
        opt("UltmtDbtr", "ultimate_debtor", AGENT),
        one("Dbtr", "debtor", AGENT),
        opt("DbtrAcct", "debtor_account", ACCOUNT),
        opt("DbtrAgt", "debtor_agent", AGENT),
        opt("DbtrAgtAcct", "debtor_agent_account", ACCOUNT),
        opt("CdtrAgt", "creditor_agent", AGENT),
        opt("CdtrAgtAcct", "creditor_agent_account", ACCOUNT),
        one("Cdtr", "creditor", AGENT),
        opt("CdtrAcct", "creditor_account", ACCOUNT),
        opt("UltmtCdtr", "ultimate_creditor", AGENT),
        many("InstrForCdtrAgt", "for_creditor_agent", _FOR_CREDITOR_AGENT),
        many("InstrForNxtAgt", "for_next_agent", FOR_NEXT_AGENT),
        PURPOSE,
        inside("RmtInf", many("Ustrd", "remittance_texts", MAX140)),
        opt("UndrlygCstmrCdtTrf", "covers", COVERED_TRANSFER),
        *skip("SplmtryData"),
    ),
)
INSTITUTION_TRANSFERS = Form(
    InstitutionTransfers,
    (
        one("GrpHdr", "header", TRANSFER_HEADER),
        many("CdtTrfTxInf", "transfers", INSTITUTION_TRANSFER, least=1),
        *skip("SplmtryData"),
    ),
)
