"""What goes to one bank: orders with their header, enquiries and recalls of one payment each. Pure.

The header is put around a document when it leaves, so that the mark of a possible duplicate changes no byte of the
document.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.messages import camt056, pacs002, pacs028
from settlement_engine.messages.envelope import built, enveloped
from settlement_engine.messages.head import Head
from settlement_engine.messages.parties import Agent
from settlement_engine.messages.references import OriginalGroup, Reason
from settlement_engine.rails.iso20022.orders import OrderWriter
from settlement_engine.rails.iso20022.statement_requests import balance_request_of, request_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from settlement_engine.domain.bank_directory import CorrespondentRoute
    from settlement_engine.domain.identifiers import References
    from settlement_engine.domain.settlement import Instruction, Settlement
    from settlement_engine.ports import BalanceQuestion, StatementQuestion
    from settlement_engine.rails.iso20022.orders import Order
    from settlement_engine.rails.iso20022.parties import Institution, OurAccounts
    from settlement_engine.rails.iso20022.profile import IsoProfile

RECALL_REASON: Final = "CUST"


class Dialect:
    """Writes to one bank, in the name of one institution, by one profile."""

    def __init__(self, us: Institution, profile: IsoProfile, accounts: OurAccounts) -> None:
        self._us = us.agent()
        self._profile = profile
        self._orders = OrderWriter(us, profile, accounts)

    def know_accounts(self, our_account: Callable[[str, str], str]) -> None:
        """Set the look-up of our account at FROM by bank and currency, for where the configuration leaves it out."""
        self._orders.know_accounts(our_account)

    def know_correspondents(self, route: Callable[[str, str], CorrespondentRoute | None]) -> None:
        """Set the look-up of the correspondent through which TO is paid, by bank and currency."""
        self._orders.know_correspondents(route)

    def order(self, settlement: Settlement, references: References) -> bytes:
        """Build the document that asks the bank to pay."""
        return self._orders.document(settlement, references)

    def payment(
        self, settlement: Settlement, references: References, route: CorrespondentRoute
    ) -> bytes:
        """Build the document that asks TO to pay a customer, covered through this bank."""
        return self._orders.covered(settlement, references, route)

    def fault_of(self, instruction: Instruction) -> str:
        """Say what the scheme cannot carry of a payment, with its field; empty when it can carry everything."""
        return self._orders.fault_of(instruction)

    def sent(self, document: bytes, order: Order, *, is_possible_duplicate: bool) -> bytes:
        """Put the header around a document."""
        head = Head(
            message_id=order.header.message_id,
            definition=order.definition,
            service=self._profile.cover_service if order.is_cover else self._profile.service,
            created_at=order.header.created_at,
            sender_institution=self._us,
            receiver_institution=order.header.instructed_agent or Agent(),
            is_possible_duplicate=True if is_possible_duplicate else None,
        )
        return enveloped(document, head)

    def enquiry(
        self, order: Order, references: References, question_id: str, now: datetime
    ) -> bytes:
        """Ask what has become of a payment."""
        one = order.transfer
        question = pacs028.StatusQuestion(
            group=_group(order, references),
            instruction_id=one.instruction_id,
            end_to_end_id=one.end_to_end_id,
            transaction_id=one.transaction_id,
            uetr=str(references.uetr),
        )
        header = pacs002.Notice(
            message_id=question_id,
            created_at=now,
            instructing_agent=self._us,
            instructed_agent=order.header.instructed_agent,
        )
        asked = pacs028.StatusRequest(header=header, questions=(question,))
        return built(self._profile.enquiry, asked)

    def recall(self, order: Order, references: References, recall_id: str, now: datetime) -> bytes:
        """Ask for a payment to be cancelled, or returned."""
        one = order.transfer
        cancellation = camt056.Cancellation(
            cancellation_id=recall_id,
            group=_group(order, references),
            instruction_id=one.instruction_id,
            end_to_end_id=one.end_to_end_id,
            transaction_id=one.transaction_id,
            uetr=str(references.uetr),
            amount=one.amount,
            settlement_date=one.settlement_date,
            reasons=(Reason(code=RECALL_REASON),),
        )
        wanted = camt056.CancellationRequest(
            assignment=camt056.Assignment(
                id=recall_id,
                assigner_institution=self._us,
                assignee_institution=order.header.instructed_agent,
                created_at=now,
            ),
            underlying=(camt056.Underlying(cancellations=(cancellation,)),),
        )
        return built(self._profile.recall, wanted)

    def statement_request(self, question: StatementQuestion, now: datetime) -> bytes:
        """Ask for the statement of a day. Raises MessageError."""
        return request_of(question, self._us, now)

    def balance_request(self, question: BalanceQuestion, now: datetime) -> bytes:
        """Ask for the balance of an account. Raises MessageError."""
        return balance_request_of(question, self._us, now)


def _group(order: Order, references: References) -> OriginalGroup:
    return OriginalGroup(message_id=references.message_id, message_name=order.definition)
