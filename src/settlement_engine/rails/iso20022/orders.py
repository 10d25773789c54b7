"""The documents that ask a bank to pay: pacs.009 between institutions, pacs.008 for customers. Pure.

Promises: a document is a function of the settlement, its references and the configuration; what it asks for can be
read back from its bytes. Must never: contain a text that the scheme's character set has no rule for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from settlement_engine.domain.identifiers import References, as_uuid
from settlement_engine.domain.intent import PaymentTerms
from settlement_engine.domain.money import format_amount
from settlement_engine.messages.charsets import character_sets, fit
from settlement_engine.messages.envelope import built, opened
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.pacs008 import CustomerTransfer, CustomerTransfers
from settlement_engine.messages.pacs009 import InstitutionTransfer, InstitutionTransfers
from settlement_engine.messages.references import NamedCode, PaymentType, SettlementInformation
from settlement_engine.messages.transfers import TransferHeader
from settlement_engine.rails.iso20022.parties import account, agent, agent_code

if TYPE_CHECKING:
    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.rails.iso20022.parties import Institution, OurAccounts
    from settlement_engine.rails.iso20022.profile import IsoProfile

    Transfer: TypeAlias = CustomerTransfer | InstitutionTransfer


class Order(NamedTuple):
    """A document of ours that was read: one payment, and the name of its message."""

    definition: str
    header: TransferHeader
    transfer: Transfer

    @property
    def bank(self) -> str:
        """The bank that the order goes to."""
        return agent_code(self.header.instructed_agent)


class OrderWriter:
    """Writes orders in the name of one institution, by one profile."""

    def __init__(self, us: Institution, profile: IsoProfile, accounts: OurAccounts) -> None:
        self._us = us
        self._profile = profile
        self._accounts = accounts
        self._characters = character_sets().get(profile.characters)

    def document(self, settlement: Settlement, references: References) -> bytes:
        """Build the document that asks FROM to pay."""
        profile = self._profile
        content: CustomerTransfers | InstitutionTransfers
        if profile.institution:
            definition = profile.institution
            content = self._between_institutions(settlement, references)
        else:
            definition = profile.customer
            content = self._to_ourselves(settlement, references)
        if self._characters is not None:
            content, _ = fit(content, self._characters)
        return built(definition, content)

    # --- pacs.009 -----------------------------------------------------------------------------------

    def _between_institutions(
        self, settlement: Settlement, references: References
    ) -> InstitutionTransfers:
        instruction = settlement.instruction
        one = InstitutionTransfer(
            **self._identified(settlement, references),
            debtor=self._us.agent(),
            debtor_account=account(self._accounts.debited),
            debtor_agent=agent(instruction.from_bank),
            creditor=agent(instruction.to_bank),
        )
        return InstitutionTransfers(header=self._header(settlement, references), transfers=(one,))

    # --- pacs.008 -----------------------------------------------------------------------------------

    def _to_ourselves(self, settlement: Settlement, references: References) -> CustomerTransfers:
        """Move our own money: we are debtor and creditor, and no other bank is named."""
        from_bank, accounts = settlement.instruction.from_bank, self._accounts
        one = CustomerTransfer(
            **self._identified(settlement, references),
            payment_type=self._payment_type(),
            accepted_at=settlement.created_at if self._profile.local_instrument else None,
            charge_bearer=self._profile.charge_bearer,
            debtor=self._us.party(),
            debtor_account=account(accounts.debited),
            debtor_agent=agent(from_bank),
            creditor_agent=agent(accounts.settlement_agent or from_bank),
            creditor=self._us.party(),
            creditor_account=account(accounts.settlement_account),
        )
        return CustomerTransfers(header=self._header(settlement, references), transfers=(one,))

    def _payment_type(self) -> PaymentType | None:
        profile = self._profile
        if not profile.service_level and not profile.local_instrument:
            return None
        levels = (NamedCode(code=profile.service_level),) if profile.service_level else ()
        return PaymentType(service_levels=levels, local_instrument=profile.local_instrument or None)

    # --- both ---------------------------------------------------------------------------------------

    def _identified(self, settlement: Settlement, references: References) -> dict[str, Any]:
        return {
            "instruction_id": settlement.id.hex,
            "end_to_end_id": references.end_to_end_id,
            "transaction_id": references.message_id if self._profile.names_transaction else None,
            "uetr": str(references.uetr),
            "amount": settlement.instruction.amount,
            "settlement_date": settlement.value_date,
        }

    def _header(self, settlement: Settlement, references: References) -> TransferHeader:
        return TransferHeader(
            message_id=references.message_id,
            created_at=settlement.created_at,
            transactions=1,
            settlement=SettlementInformation(
                method=self._profile.settlement_method,
                clearing_system=self._profile.clearing_system or None,
            ),
            instructing_agent=self._us.agent(),
            instructed_agent=agent(settlement.instruction.from_bank),
        )


def read_order(document: bytes) -> Order:
    """Read a document of ours. Raises MessageError for any other."""
    message = opened(document)
    content = message.content
    is_order = isinstance(content, (CustomerTransfers, InstitutionTransfers))
    if not is_order or len(content.transfers) != 1:
        raise MessageError("Document", "is no order of one payment")
    return Order(message.definition, content.header, content.transfers[0])


def read_terms(document: bytes) -> PaymentTerms | None:
    """Parse what a document asks the bank to do; None when it cannot be read."""
    try:
        order = read_order(document)
    except MessageError:
        return None
    one = order.transfer
    uetr = as_uuid(one.uetr or "")
    if uetr is None:
        return None
    return PaymentTerms(
        from_bank=order.bank,
        to_bank=_receiver(one),
        amount=format_amount(one.amount.minor, one.amount.currency),
        currency=one.amount.currency,
        references=References(
            uetr=uetr,
            end_to_end_id=one.end_to_end_id,
            message_id=order.header.message_id,
        ),
    )


def _receiver(one: Transfer) -> str:
    """Return the bank that is paid; empty where we pay ourselves."""
    if one.creditor == one.debtor:
        return ""
    if isinstance(one, CustomerTransfer):
        return agent_code(one.creditor_agent)
    return agent_code(one.creditor)
