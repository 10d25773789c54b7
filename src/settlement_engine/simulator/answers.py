"""The messages that the bank writes: status reports, message rejects, returns, and answers to recalls. Pure.

The same values give the same bytes, so that a call-back that is delivered again is the same message.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.money import Money
from settlement_engine.messages import camt029, camt056, pacs002, pacs004
from settlement_engine.messages.admi002 import MessageReject
from settlement_engine.messages.envelope import built
from settlement_engine.messages.parties import Agent
from settlement_engine.messages.references import (
    AgentCharge,
    OriginalGroup,
    OriginalTransaction,
    Reason,
    SettlementInformation,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.simulator.ledger import Payment
    from settlement_engine.simulator.scenarios import Coming, ScenarioStep

STATUS_REPORT: Final = "pacs.002.001.10"
RETURN: Final = "pacs.004.001.09"
RESOLUTION: Final = "camt.029.001.09"
REJECT: Final = "admi.002.001.01"
_BIC: Final = re.compile(r"[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}(?:[A-Z0-9]{3})?", re.ASCII)
MS_PER_SECOND: Final = 1_000


def instant(now_ms: int) -> datetime:
    """Return a time of the bank's clock, in milliseconds since 1970, as a datetime in UTC."""
    return datetime.fromtimestamp(now_ms / MS_PER_SECOND, UTC)


def agent(code: str) -> Agent:
    """Make the agent of a bank: a BIC if the code is one, else a name."""
    return Agent(bic=code) if _BIC.fullmatch(code) else Agent(name=code or "unknown")


def _group(payment: Payment) -> OriginalGroup:
    return OriginalGroup(message_id=payment.message_id, message_name=payment.message_name)


def _reasons(code: str, text: str = "") -> tuple[Reason, ...]:
    return (Reason(code=code, texts=(text,) if text else ()),) if code else ()


def transaction_status(
    payment: Payment, status: str, code: str, *, names_another_debit: bool = False
) -> pacs002.TransactionStatus:
    """Write a payment's status, with the amount if it differs from the one that was sent."""
    reference = f"BANK{payment.id}"
    original = None
    if payment.debited_minor not in (None, payment.amount_minor):
        settled = Money(payment.debited_minor or 0, payment.currency)
        original = OriginalTransaction(settlement_amount=settled)
    return pacs002.TransactionStatus(
        group=_group(payment),
        instruction_id=payment.instruction_id or None,
        end_to_end_id=payment.end_to_end_id,
        uetr=payment.uetr,
        status=status,
        reasons=_reasons(code),
        account_servicer_reference=f"{reference}-2" if names_another_debit else reference,
        original=original,
    )


def status_report(
    message_id: str, now_ms: int, statuses: Sequence[pacs002.TransactionStatus]
) -> bytes:
    """Write a pacs.002; if its payments have different statuses, the group status says so."""
    different = {each.status for each in statuses}
    first = statuses[0].group
    assert first is not None, "every status names the message of its payment"
    groups: tuple[pacs002.GroupStatus, ...] = ()
    if len(statuses) > 1 and {each.group for each in statuses} == {first}:
        status = "PART" if len(different) > 1 else statuses[0].status
        groups = (
            pacs002.GroupStatus(
                message_id=first.message_id, message_name=first.message_name, status=status
            ),
        )
    header = pacs002.Notice(message_id=message_id, created_at=instant(now_ms))
    content = pacs002.StatusReportMessage(
        header=header, groups=groups, transactions=tuple(statuses)
    )
    return built(STATUS_REPORT, content)


def message_reject(reference: str, reason: str, text: str, now_ms: int) -> bytes:
    """Write an admi.002 about a message."""
    content = MessageReject(
        related_reference=reference,
        reason=reason,
        description=text,
        rejected_at=instant(now_ms),
    )
    return built(REJECT, content)


def payment_return(
    message_id: str,
    payment: Payment,
    amount_minor: int,
    charges_minor: int,
    code: str,
    now_ms: int,
) -> bytes:
    """Write a pacs.004 of one payment; ``amount_minor`` is the returned amount, after deducting the charges."""
    now = instant(now_ms)
    bank = agent(payment.from_bank)
    charges: tuple[AgentCharge, ...] = ()
    if charges_minor:
        charges = (AgentCharge(amount=Money(charges_minor, payment.currency), agent=bank),)
    each = pacs004.ReturnedTransaction(
        return_id=message_id,
        group=_group(payment),
        instruction_id=payment.instruction_id or None,
        end_to_end_id=payment.end_to_end_id,
        uetr=payment.uetr,
        original_amount=Money(payment.debited_minor or 0, payment.currency),
        amount=Money(amount_minor, payment.currency),
        settlement_date=now.date(),
        charges=charges,
        reasons=_reasons(code),
    )
    header = pacs004.ReturnHeader(
        message_id=message_id,
        created_at=now,
        transactions=1,
        settlement=SettlementInformation(method="INDA"),
    )
    return built(RETURN, pacs004.PaymentReturn(header=header, returns=(each,)))


def resolution(
    message_id: str,
    confirmation: str,
    code: str,
    payment: Payment | camt056.Cancellation,
    now_ms: int,
    returned: Money | None = None,
) -> bytes:
    """Write a camt.029 about one payment: cancelled (CNCL), refused (RJCR) or pending (PDCR).

    ``returned`` is the amount that will be returned if the payment was settled before the recall.
    """
    group = payment.group if isinstance(payment, camt056.Cancellation) else _group(payment)
    status = {"RJCR": "RJCR", "PDCR": "PDCR"}.get(confirmation, "ACCR")
    answer = camt029.CancellationAnswer(
        group=group,
        instruction_id=payment.instruction_id or None,
        end_to_end_id=payment.end_to_end_id,
        uetr=payment.uetr,
        status=status,
        reasons=_reasons(code),
        settled=None if returned is None else camt029.Settled(amount=returned),
    )
    bank = agent("" if isinstance(payment, camt056.Cancellation) else payment.from_bank)
    content = camt029.Resolution(
        assignment=camt056.Assignment(
            id=message_id,
            assigner_institution=bank,
            assignee_institution=Agent(name="the sender of the recall"),
            created_at=instant(now_ms),
        ),
        confirmation=confirmation,
        details=(camt029.Answers(answers=(answer,)),),
    )
    return built(RESOLUTION, content)


class IsoAnswers:
    """The reports about payments that are sent as call-backs."""

    def status(self, payment: Payment, step: ScenarioStep, name: str, told_at_ms: int) -> bytes:
        """Write the status report (pacs.002)."""
        said = transaction_status(
            payment, step.status, step.code, names_another_debit=step.names_another_debit
        )
        return status_report(name, told_at_ms, [said])

    def money_back(self, payment: Payment, coming: Coming, name: str, now_ms: int) -> bytes:
        """Write the return (pacs.004)."""
        return payment_return(
            name, payment, coming.amount_minor, coming.charges_minor, coming.code, now_ms
        )
