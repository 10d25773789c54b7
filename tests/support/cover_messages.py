"""The messages of a cover payment to a bank: the customer's payment, its covers, and what is asked about either."""

from __future__ import annotations

from datetime import date

import msgspec

from settlement_engine.messages import camt056, pacs002, pacs008, pacs009, pacs028
from settlement_engine.messages.envelope import built
from settlement_engine.messages.head import Head
from settlement_engine.messages.parties import Agent, Party, PartyAccount
from settlement_engine.messages.references import OriginalGroup, SettlementInformation
from settlement_engine.messages.transfers import TransferHeader
from tests.support.bank_messages import FROM, NOW, TO, US, Sent

CUSTOMERS = "pacs.008.001.08"
COVERS = "pacs.009.001.08"
PAYMENT = Sent(number=1, message_number=8)
COVER = Sent(number=1, message_number=9)
REPAIRED = Sent(number=1, message_number=10)
"""One cover payment: the customer's payment, its cover, and another cover after that one was rejected."""


def _header(sent: Sent, method: str, receiver: Agent) -> TransferHeader:
    return TransferHeader(
        message_id=sent.message_id,
        created_at=NOW,
        transactions=1,
        settlement_date=date(2026, 11, 30),
        settlement=SettlementInformation(method=method),
        instructing_agent=US,
        instructed_agent=receiver,
    )


def _head(sent: Sent, definition: str, receiver: Agent, *, is_again: bool) -> Head:
    return Head(
        message_id=sent.message_id,
        definition=definition,
        created_at=NOW,
        sender_institution=US,
        receiver_institution=receiver,
        is_possible_duplicate=True if is_again else None,
    )


def customer_payment(sent: Sent = PAYMENT, *, is_again: bool = False) -> bytes:
    """Make the pacs.008 to TO, which waits for its cover."""
    each = pacs008.CustomerTransfer(
        instruction_id=f"I{sent.message_id}",
        end_to_end_id=sent.end_to_end_id,
        uetr=sent.uetr,
        amount=sent.amount,
        charge_bearer="SHAR",
        debtor=Party(name="Somebody"),
        debtor_agent=US,
        creditor_agent=TO,
        creditor=Party(name="Somebody else"),
        creditor_account=PartyAccount(iban="DE02500105170137075030"),
    )
    content = pacs008.CustomerTransfers(header=_header(sent, "COVE", TO), transfers=(each,))
    return built(CUSTOMERS, content, _head(sent, CUSTOMERS, TO, is_again=is_again))


def cover(sent: Sent = COVER, *, is_again: bool = False) -> bytes:
    """Make the pacs.009 COV to FROM."""
    covered = pacs009.CoveredTransfer(
        debtor=Party(name="Somebody"),
        debtor_agent=US,
        creditor_agent=TO,
        creditor=Party(name="Somebody else"),
    )
    each = pacs009.InstitutionTransfer(
        instruction_id=f"I{sent.message_id}",
        end_to_end_id=sent.end_to_end_id,
        uetr=sent.uetr,
        amount=sent.amount,
        debtor=US,
        creditor=TO,
        covers=covered,
    )
    content = pacs009.InstitutionTransfers(header=_header(sent, "INDA", FROM), transfers=(each,))
    return built(COVERS, content, _head(sent, COVERS, FROM, is_again=is_again))


def group_of(sent: Sent) -> OriginalGroup:
    """Name the message of a leg."""
    name = CUSTOMERS if sent.message_id == PAYMENT.message_id else COVERS
    return OriginalGroup(message_id=sent.message_id, message_name=name)


def enquiry_about(sent: Sent, group: OriginalGroup | None = None) -> bytes:
    """Make a pacs.028 about a leg, which ``group`` may name in another way."""
    question = pacs028.StatusQuestion(
        group=group or group_of(sent), end_to_end_id=sent.end_to_end_id, uetr=sent.uetr
    )
    header = pacs002.Notice(message_id="Q1", created_at=NOW)
    return built("pacs.028.001.03", pacs028.StatusRequest(header=header, questions=(question,)))


def recall_of(
    sent: Sent, group: OriginalGroup | None = None, *, names_message: bool = True
) -> bytes:
    """Make a camt.056 about a leg, or about the UETR alone."""
    cancellation = camt056.Cancellation(
        group=(group or group_of(sent)) if names_message else None,
        end_to_end_id=sent.end_to_end_id,
        uetr=sent.uetr,
    )
    content = camt056.CancellationRequest(
        assignment=camt056.Assignment(
            id="R1", assigner_institution=US, assignee_institution=FROM, created_at=NOW
        ),
        underlying=(camt056.Underlying(cancellations=(cancellation,)),),
    )
    return built("camt.056.001.08", content)


def without_id(sent: Sent) -> OriginalGroup:
    """Name the message of a leg by its kind only."""
    return msgspec.structs.replace(group_of(sent), message_id="NOTPROVIDED")
