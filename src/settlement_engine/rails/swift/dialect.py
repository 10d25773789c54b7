"""The messages of the rail: transfers, enquiries and recalls, each for one payment. Pure.

The document of a transfer depends only on the settlement and its references. The header is added at each
transmission, so that the mark of a possible duplicate does not change the document.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.identifiers import References, as_uuid
from settlement_engine.domain.intent import PaymentTerms
from settlement_engine.domain.money import format_amount
from settlement_engine.messages import camt056, pacs002, pacs009, pacs028
from settlement_engine.messages.envelope import built, enveloped, opened
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.head import Head
from settlement_engine.messages.parties import Agent
from settlement_engine.messages.references import OriginalGroup, Reason, SettlementInformation
from settlement_engine.messages.transfers import TransferHeader

if TYPE_CHECKING:
    from datetime import datetime

    from settlement_engine.domain.settlement import Settlement
    from settlement_engine.messages.pacs009 import InstitutionTransfer, InstitutionTransfers
    from settlement_engine.rails.swift.profile import SwiftProfile

_BIC: Final = re.compile(r"[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}(?:[A-Z0-9]{3})?", re.ASCII)
RECALL_REASON: Final = "CUST"


def institution(code: str) -> Agent:
    """Return the agent for a bank code: a BIC, or another code of the directory."""
    return Agent(bic=code) if _BIC.fullmatch(code) else Agent(other_id=code)


def _code(agent: Agent | None) -> str:
    return "" if agent is None else agent.bic or agent.other_id or ""


class Dialect:
    """Builds the messages of one institution, in the versions of one profile."""

    def __init__(self, our_code: str, profile: SwiftProfile) -> None:
        self._us = institution(our_code)
        self._profile = profile

    def transfer(self, settlement: Settlement, references: References) -> bytes:
        """Build the document that asks FROM to pay TO from our account with it."""
        instruction = settlement.instruction
        one = pacs009.InstitutionTransfer(
            instruction_id=settlement.id.hex,
            end_to_end_id=references.end_to_end_id,
            uetr=str(references.uetr),
            amount=instruction.amount,
            settlement_date=settlement.value_date,
            debtor=self._us,
            debtor_agent=institution(instruction.from_bank),
            creditor=institution(instruction.to_bank),
        )
        header = TransferHeader(
            message_id=references.message_id,
            created_at=settlement.created_at,
            transactions=1,
            settlement=SettlementInformation(method="INDA"),
            instructing_agent=self._us,
            instructed_agent=institution(instruction.from_bank),
        )
        content = pacs009.InstitutionTransfers(header=header, transfers=(one,))
        return built(self._profile.transfer, content)

    def sent(self, document: bytes, *, is_possible_duplicate: bool) -> bytes:
        """Add the header to a document. Raises MessageError if the document is not one of ours."""
        content, _ = _ours(document)
        head = Head(
            message_id=content.header.message_id,
            definition=self._profile.transfer,
            service=self._profile.service,
            created_at=content.header.created_at,
            sender_institution=self._us,
            receiver_institution=content.header.instructed_agent or Agent(),
            is_possible_duplicate=True if is_possible_duplicate else None,
        )
        return enveloped(document, head)

    def enquiry(
        self, document: bytes, references: References, question_id: str, now: datetime
    ) -> bytes:
        """Build the enquiry about a payment's status. Raises MessageError."""
        content, one = _ours(document)
        question = pacs028.StatusQuestion(
            group=self._group(references),
            instruction_id=one.instruction_id,
            end_to_end_id=references.end_to_end_id,
            uetr=str(references.uetr),
        )
        header = pacs002.Notice(
            message_id=question_id,
            created_at=now,
            instructing_agent=self._us,
            instructed_agent=content.header.instructed_agent,
        )
        asked = pacs028.StatusRequest(header=header, questions=(question,))
        return built(self._profile.enquiry, asked)

    def recall(
        self, document: bytes, references: References, recall_id: str, now: datetime
    ) -> bytes:
        """Build the request to cancel or return a payment. Raises MessageError."""
        content, one = _ours(document)
        cancellation = camt056.Cancellation(
            cancellation_id=recall_id,
            group=self._group(references),
            instruction_id=one.instruction_id,
            end_to_end_id=references.end_to_end_id,
            uetr=str(references.uetr),
            amount=one.amount,
            settlement_date=one.settlement_date,
            reasons=(Reason(code=RECALL_REASON),),
        )
        wanted = camt056.CancellationRequest(
            assignment=camt056.Assignment(
                id=recall_id,
                assigner_institution=self._us,
                assignee_institution=content.header.instructed_agent,
                created_at=now,
            ),
            underlying=(camt056.Underlying(cancellations=(cancellation,)),),
        )
        return built(self._profile.recall, wanted)

    def _group(self, references: References) -> OriginalGroup:
        return OriginalGroup(message_id=references.message_id, message_name=self._profile.transfer)


def _ours(document: bytes) -> tuple[InstitutionTransfers, InstitutionTransfer]:
    """Parse a document that this rail has built. Raises MessageError for any other."""
    content = opened(document).content
    if not isinstance(content, pacs009.InstitutionTransfers) or len(content.transfers) != 1:
        raise MessageError("Document", "is no transfer of one payment between institutions")
    return content, content.transfers[0]


def read_terms(document: bytes) -> PaymentTerms | None:
    """Parse what a document asks the bank to do; None when it cannot be read."""
    try:
        content, one = _ours(document)
    except MessageError:
        return None
    uetr = as_uuid(one.uetr or "")
    if uetr is None:
        return None
    return PaymentTerms(
        from_bank=_code(content.header.instructed_agent),
        to_bank=_code(one.creditor),
        amount=format_amount(one.amount.minor, one.amount.currency),
        currency=one.amount.currency,
        references=References(
            uetr=uetr,
            end_to_end_id=one.end_to_end_id,
            message_id=content.header.message_id,
        ),
    )
