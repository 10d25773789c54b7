"""Messages to a bank: transfers, enquiries and recalls, with one payment each."""

from __future__ import annotations

from datetime import UTC, date, datetime
from uuid import UUID

import msgspec

from settlement_engine.domain.money import Money
from settlement_engine.messages import camt056, pacs002, pacs008, pacs009, pacs028
from settlement_engine.messages.envelope import built
from settlement_engine.messages.head import Head
from settlement_engine.messages.parties import Agent, Party
from settlement_engine.messages.references import OriginalGroup, SettlementInformation
from settlement_engine.messages.transfers import TransferHeader

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
US = Agent(bic="SETTGB2L")
FROM = Agent(bic="DEUTDEFF")
TO = Agent(bic="CHASUS33")
TRANSFER = "pacs.009.001.08"


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A payment by its number: all its references are derived from it."""

    number: int
    amount: Money = Money(100_000, "EUR")
    message_number: int = 0

    @property
    def uetr(self) -> str:
        return str(UUID(int=self.number & 0xFFFF | 0x4 << 76 | 0x2 << 62))

    @property
    def end_to_end_id(self) -> str:
        return f"E{self.number}"

    @property
    def message_id(self) -> str:
        return f"M{self.message_number or self.number}"

    @property
    def group(self) -> OriginalGroup:
        return OriginalGroup(message_id=self.message_id, message_name=TRANSFER)


def transfer(*sent: Sent, is_possible_duplicate: bool = False) -> bytes:
    """Make a pacs.009 with a header."""
    header = TransferHeader(
        message_id=sent[0].message_id,
        created_at=NOW,
        transactions=len(sent),
        settlement_date=date(2026, 11, 30),
        settlement=SettlementInformation(method="INDA"),
        instructing_agent=US,
        instructed_agent=FROM,
    )
    transfers = tuple(
        pacs009.InstitutionTransfer(
            instruction_id=f"I{each.number}",
            end_to_end_id=each.end_to_end_id,
            uetr=each.uetr,
            amount=each.amount,
            debtor=US,
            creditor=TO,
        )
        for each in sent
    )
    content = pacs009.InstitutionTransfers(header=header, transfers=transfers)
    head = Head(
        message_id=sent[0].message_id,
        definition=TRANSFER,
        created_at=NOW,
        sender_institution=US,
        receiver_institution=FROM,
        is_possible_duplicate=True if is_possible_duplicate else None,
    )
    return built(TRANSFER, content, head)


def customer_transfer(sent: Sent) -> bytes:
    """Make a pacs.008 without a header and without a UETR."""
    content = pacs008.CustomerTransfers(
        header=TransferHeader(
            message_id=sent.message_id,
            created_at=NOW,
            transactions=1,
            settlement=SettlementInformation(method="CLRG"),
        ),
        transfers=(
            pacs008.CustomerTransfer(
                end_to_end_id=sent.end_to_end_id,
                amount=sent.amount,
                charge_bearer="SLEV",
                debtor=Party(name="Somebody"),
                debtor_agent=FROM,
                creditor_agent=TO,
                creditor=Party(name="Somebody else"),
            ),
        ),
    )
    return built("pacs.008.001.08", content)


def enquiry(sent: Sent, question_id: str = "Q1") -> bytes:
    """Make a pacs.028."""
    content = pacs028.StatusRequest(
        header=pacs002.Notice(message_id=question_id, created_at=NOW),
        questions=(
            pacs028.StatusQuestion(
                group=sent.group, end_to_end_id=sent.end_to_end_id, uetr=sent.uetr
            ),
        ),
    )
    return built("pacs.028.001.03", content)


def recall(sent: Sent, recall_id: str = "R1") -> bytes:
    """Make a camt.056."""
    cancellation = camt056.Cancellation(
        group=sent.group, end_to_end_id=sent.end_to_end_id, uetr=sent.uetr
    )
    content = camt056.CancellationRequest(
        assignment=camt056.Assignment(
            id=recall_id, assigner_institution=US, assignee_institution=FROM, created_at=NOW
        ),
        underlying=(camt056.Underlying(cancellations=(cancellation,)),),
    )
    return built("camt.056.001.08", content)
