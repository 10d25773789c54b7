"""The documents that ask a bank to pay: pacs.009 between institutions, pacs.008 for customers. Pure.

Promises: a document is a function of the settlement, its references and the configuration; what it asks for can be
read back from its bytes. Must never: contain a text that the scheme's character set has no rule for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import msgspec

from settlement_engine.domain.bank_codes import is_same_bank
from settlement_engine.domain.check_digits import fault_of_iban
from settlement_engine.domain.identifiers import References, as_uuid
from settlement_engine.domain.intent import PaymentTerms
from settlement_engine.domain.money import format_amount
from settlement_engine.domain.payment import Delivery, PaymentDetails
from settlement_engine.messages.charsets import character_sets, fit
from settlement_engine.messages.envelope import built, opened
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.pacs008 import CustomerTransfer, CustomerTransfers
from settlement_engine.messages.pacs009 import InstitutionTransfer, InstitutionTransfers
from settlement_engine.messages.references import NamedCode, PaymentType, SettlementInformation
from settlement_engine.messages.transfers import TransferHeader
from settlement_engine.rails.iso20022.details import (
    account_of,
    fault_of,
    party_of,
    remittance_of,
)
from settlement_engine.rails.iso20022.parties import account, agent, agent_code, bank_as_party

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from settlement_engine.domain.bank_directory import CorrespondentRoute
    from settlement_engine.domain.settlement import Instruction, Settlement
    from settlement_engine.rails.iso20022.parties import Institution, OurAccounts
    from settlement_engine.rails.iso20022.profile import IsoProfile

    Transfer: TypeAlias = CustomerTransfer | InstitutionTransfer


COVERED: Final = "COVE"
"""The settlement method of a customer's payment that is covered by a transfer between banks."""

NOTHING_SAID: Final = PaymentDetails()

ON_THE_WAY: Final = ("intermediary_agent", "intermediary_agent_2")
"""The institutions between FROM and the creditor's bank, in the order in which the payment passes them."""


class Order(NamedTuple):
    """A document of ours that was read: one payment, and the name of its message."""

    definition: str
    header: TransferHeader
    transfer: Transfer

    @property
    def bank(self) -> str:
        """The bank that the order goes to."""
        return agent_code(self.header.instructed_agent)

    @property
    def is_cover(self) -> bool:
        """Say whether it covers a customer's payment."""
        return isinstance(self.transfer, InstitutionTransfer) and self.transfer.covers is not None

    @property
    def is_covered(self) -> bool:
        """Say whether it is a customer's payment that is covered by another transfer."""
        return self.header.settlement.method == COVERED


class OrderWriter:
    """Writes orders in the name of one institution, by one profile."""

    def __init__(self, us: Institution, profile: IsoProfile, accounts: OurAccounts) -> None:
        self._us = us
        self._profile = profile
        self._accounts = accounts
        self._our_account: Callable[[str, str], str] = _none_known
        self._route: Callable[[str, str], CorrespondentRoute | None] = _no_route
        self._characters = character_sets().get(profile.characters)

    def know_accounts(self, our_account: Callable[[str, str], str]) -> None:
        """Set the look-up of our account at FROM by bank and currency, for where the configuration leaves it out."""
        self._our_account = our_account

    def know_correspondents(self, route: Callable[[str, str], CorrespondentRoute | None]) -> None:
        """Set the look-up of the correspondent through which TO is paid, by bank and currency."""
        self._route = route

    def _route_to(self, instruction: Instruction) -> CorrespondentRoute | None:
        """Return the correspondent through which FROM pays TO; None where the scheme or the directory names none."""
        if not self._profile.names_correspondents or instruction.delivery is Delivery.BOOK:
            return None
        return self._route(instruction.to_bank, instruction.amount.currency)

    def _debited(self, instruction: Instruction) -> str:
        """Return our account at FROM: the configured one, else that of the bank directory; empty if neither has one.

        An account that the scheme cannot name is none.
        """
        if self._accounts.debited:
            return self._accounts.debited
        found = self._our_account(instruction.from_bank, instruction.amount.currency)
        return "" if self._profile.account_is_iban and fault_of_iban(found) else found

    def document(self, settlement: Settlement, references: References) -> bytes:
        """Build the document that asks FROM to pay."""
        profile = self._profile
        content: CustomerTransfers | InstitutionTransfers
        if self._is_between_institutions(settlement.instruction):
            definition = profile.institution
            content = self._between_institutions(settlement, references)
        else:
            definition = profile.customer
            content = self._customers(settlement, references)
        return self._built(definition, content)

    def _built(self, definition: str, content: CustomerTransfers | InstitutionTransfers) -> bytes:
        """Build a document in the characters of the scheme."""
        if self._characters is not None:
            content, _ = fit(content, self._characters)
        return built(definition, content)

    def fault_of(self, instruction: Instruction) -> str:
        """Say what the scheme cannot carry of a payment, with its field; empty when it can carry everything."""
        said = instruction.payment
        is_own = instruction.delivery is Delivery.BOOK
        if is_own and not self._profile.institution and not self._debited(instruction):
            return (
                f"our_account: {self._profile.scheme} names the account that pays, and neither the configuration"
                " nor the bank directory has one"
            )
        if said is None:
            return ""
        if not self._profile.customer and instruction.delivery is Delivery.PAY_OUT:
            return f"payment: {self._profile.scheme} carries no payments of customers"
        return fault_of(said, self._profile, self._characters)

    def _is_between_institutions(self, instruction: Instruction) -> bool:
        """Say whether it is a pacs.009: our own money, or a payment of which nobody says more than the banks."""
        is_own = instruction.delivery is Delivery.BOOK or instruction.payment is None
        return bool(self._profile.institution) and is_own

    # --- pacs.009 -----------------------------------------------------------------------------------

    def _between_institutions(
        self, settlement: Settlement, references: References
    ) -> InstitutionTransfers:
        instruction, accounts = settlement.instruction, self._accounts
        is_ours = instruction.delivery is Delivery.BOOK
        beside = accounts.settlement_agent if is_ours else ""
        sides: dict[str, Any] = {
            "creditor_agent": agent(beside) if beside else None,
            "creditor": self._us.agent() if is_ours else agent(instruction.to_bank),
            "creditor_account": account(accounts.settlement_account) if is_ours else None,
        }
        if (route := self._route_to(instruction)) is not None:
            sides |= _between_banks_through(route, instruction)
        one = InstitutionTransfer(
            **self._identified(settlement, references),
            debtor=self._us.agent(),
            debtor_account=account(self._debited(instruction)),
            debtor_agent=agent(instruction.from_bank),
            **sides,
        )
        return InstitutionTransfers(header=self._header(settlement, references), transfers=(one,))

    # --- pacs.008 -----------------------------------------------------------------------------------

    def _customers(self, settlement: Settlement, references: References) -> CustomerTransfers:
        """Pay a customer, or the bank TO where nobody else is named; or move our own money to ourselves."""
        instruction = settlement.instruction
        said = instruction.payment or NOTHING_SAID
        sides = self._ourselves(instruction)
        if instruction.delivery is Delivery.PAY_OUT:
            sides = sides | self._debtor(said, instruction) | _creditor(said, instruction)
            if (route := self._route_to(instruction)) is not None:
                sides = _through(route, instruction, sides)
        one = self._customer_transfer(settlement, references, sides)
        return CustomerTransfers(header=self._header(settlement, references), transfers=(one,))

    def _customer_transfer(
        self, settlement: Settlement, references: References, sides: Mapping[str, Any]
    ) -> CustomerTransfer:
        """Make the transfer of a customer's payment between these sides."""
        said = settlement.instruction.payment or NOTHING_SAID
        return CustomerTransfer(
            **self._identified(settlement, references),
            **sides,
            **remittance_of(said),
            payment_type=self._payment_type(),
            accepted_at=settlement.created_at if self._profile.local_instrument else None,
            charge_bearer=said.charge_bearer or self._profile.charge_bearers[0],
            purpose=said.purpose or None,
        )

    def covered(
        self, settlement: Settlement, references: References, route: CorrespondentRoute
    ) -> bytes:
        """Build the pacs.008 for TO; the reimbursement agents say through which banks its cover comes."""
        instruction = settlement.instruction
        said = instruction.payment or NOTHING_SAID
        sides = self._ourselves(instruction) | {
            "debtor_account": None,
            "debtor_agent": self._us.agent(),
        }
        sides |= self._debtor(said, instruction) | _creditor(said, instruction)
        sides.pop("intermediary_agent", None)  # TO, which gets the order itself
        if said.debtor is not None and not said.debtor.agent_bic:
            sides["debtor_agent"] = self._us.agent()
        one = self._customer_transfer(settlement, references, sides)
        plain = self._header(settlement, references)
        header = msgspec.structs.replace(
            plain,
            instructed_agent=agent(instruction.to_bank),
            settlement=SettlementInformation(
                method=COVERED,
                instructing_reimbursement_agent=agent(instruction.from_bank),
                instructing_reimbursement_account=account(self._debited(instruction)),
                instructed_reimbursement_agent=agent(route.correspondent),
                instructed_reimbursement_account=account_of(route.account),
            ),
        )
        return self._built(
            self._profile.customer, CustomerTransfers(header=header, transfers=(one,))
        )

    def _ourselves(self, instruction: Instruction) -> dict[str, Any]:
        """Name us as debtor and creditor, with our accounts at FROM and at the settlement agent."""
        accounts = self._accounts
        return {
            "debtor": self._us.party(),
            "debtor_account": account(self._debited(instruction)),
            "debtor_agent": agent(instruction.from_bank),
            "creditor_agent": agent(accounts.settlement_agent or instruction.from_bank),
            "creditor": self._us.party(),
            "creditor_account": account(accounts.settlement_account),
        }

    def _debtor(self, said: PaymentDetails, instruction: Instruction) -> dict[str, Any]:
        """Name who pays: the debtor of the payment, else we, from our account at FROM."""
        debtor = said.debtor
        if debtor is None:
            return {}
        return {
            "debtor": party_of(debtor),
            "debtor_account": account_of(debtor.account),
            "debtor_agent": agent(debtor.agent_bic or instruction.from_bank),
        }

    def _payment_type(self) -> PaymentType | None:
        profile = self._profile
        if not profile.service_level and not profile.local_instrument:
            return None
        levels = (NamedCode(code=profile.service_level),) if profile.service_level else ()
        return PaymentType(service_levels=levels, local_instrument=profile.local_instrument or None)

    # --- both ---------------------------------------------------------------------------------------

    def _identified(self, settlement: Settlement, references: References) -> dict[str, Any]:
        """Name the payment: the caller's end-to-end id goes through to the creditor, ours is then beside it."""
        said = settlement.instruction.payment
        is_customers = not self._is_between_institutions(settlement.instruction)
        return {
            "instruction_id": settlement.id.hex,
            "end_to_end_id": (said.end_to_end_id if said else "") or references.end_to_end_id,
            "transaction_id": references.end_to_end_id if is_customers else None,
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
                account=account(self._debited(settlement.instruction))
                if self._profile.settlement_method == "INDA"
                else None,
                clearing_system=self._profile.clearing_system or None,
            ),
            instructing_agent=self._us.agent(),
            instructed_agent=agent(settlement.instruction.from_bank),
        )


def _none_known(_bank: str, _currency: str) -> str:
    return ""


def _no_route(_bank: str, _currency: str) -> CorrespondentRoute | None:
    return None


def _is_beside(route: CorrespondentRoute, instruction: Instruction) -> bool:
    """Say whether the correspondent is a bank between FROM and TO, and not FROM itself."""
    return not is_same_bank(route.correspondent, instruction.from_bank)


def _between_banks_through(route: CorrespondentRoute, instruction: Instruction) -> dict[str, Any]:
    """Say where TO is paid: on its account with the correspondent."""
    sides: dict[str, Any] = {"creditor_account": account_of(route.account)}
    if _is_beside(route, instruction):
        sides["creditor_agent"] = agent(route.correspondent)
    return sides


def _through(
    route: CorrespondentRoute, instruction: Instruction, sides: dict[str, Any]
) -> dict[str, Any]:
    """Put the correspondent before TO. TO's account with it marks TO among the institutions on the way."""
    on_the_way = [each] if (each := sides.pop("intermediary_agent", None)) is not None else []
    accounts = [account_of(route.account)] if on_the_way else []
    if not on_the_way:
        sides["creditor_agent_account"] = account_of(route.account)
    if _is_beside(route, instruction):
        on_the_way, accounts = [agent(route.correspondent), *on_the_way], [None, *accounts]
    sides |= dict(zip(ON_THE_WAY, on_the_way, strict=False))
    return sides | {
        f"{name}_account": number for name, number in zip(ON_THE_WAY, accounts, strict=False)
    }


def _creditor(said: PaymentDetails, instruction: Instruction) -> dict[str, Any]:
    """Name who is paid. Where its bank is another than TO, TO passes the payment on."""
    to_bank, creditor = instruction.to_bank, said.creditor
    if creditor is None:
        return {
            "creditor_agent": agent(to_bank),
            "creditor": bank_as_party(to_bank),
            "creditor_account": None,
        }
    sides: dict[str, Any] = {
        "creditor_agent": agent(creditor.agent_bic or to_bank),
        "creditor": party_of(creditor),
        "creditor_account": account_of(creditor.account),
    }
    if creditor.agent_bic and not is_same_bank(creditor.agent_bic, to_bank):
        sides["intermediary_agent"] = agent(to_bank)
    return sides


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
    from_bank, to_bank = order.bank, _receiver(one)
    if order.is_covered:  # it goes to TO, and says where our account is debited
        reimbursed = order.header.settlement.instructing_reimbursement_agent
        from_bank, to_bank = agent_code(reimbursed), order.bank
    return PaymentTerms(
        from_bank=from_bank,
        to_bank=to_bank,
        amount=format_amount(one.amount.minor, one.amount.currency),
        currency=one.amount.currency,
        references=References(
            uetr=uetr,
            end_to_end_id=one.transaction_id or one.end_to_end_id,
            message_id=order.header.message_id,
        ),
    )


def _receiver(one: Transfer) -> str:
    """Return the bank that is paid; empty where we pay ourselves."""
    if one.creditor == one.debtor:
        return ""
    if not isinstance(one, CustomerTransfer):
        return agent_code(one.creditor)
    if one.creditor_agent_account is not None:
        return agent_code(one.creditor_agent)
    for name in ON_THE_WAY:
        if getattr(one, f"{name}_account") is not None:
            return agent_code(getattr(one, name))
    return agent_code(one.intermediary_agent or one.creditor_agent)
