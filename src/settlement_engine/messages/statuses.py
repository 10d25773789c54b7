"""What a payment status code says about money. Only two codes say that it moved; an unknown code says nothing.

Promises: a status in no known code set is UNKNOWN: it counts as no answer and raises an alert, and is never taken
for success or rejection. A status about transport or about checks before settlement is PENDING. A message's
status applies to a payment only when the payment has none of its own and the message's is not PART.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from settlement_engine.messages.codes import code_set

if TYPE_CHECKING:
    from settlement_engine.messages.pacs002 import (
        GroupStatus,
        StatusReportMessage,
        TransactionStatus,
    )
    from settlement_engine.messages.references import Reason


class StatusVerdict(Enum):
    """What a status is evidence of."""

    SETTLED = "settled"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    PENDING = "pending"
    UNKNOWN = "unknown"


class CancelVerdict(Enum):
    """What an answer to a cancellation request is evidence of."""

    CANCELLED = "cancelled"
    REFUSED = "refused"
    PENDING = "pending"
    UNKNOWN = "unknown"


PART: Final = "PART"
_VERDICTS: Final = {
    "ACSC": StatusVerdict.SETTLED,
    "ACCC": StatusVerdict.SETTLED,
    "RJCT": StatusVerdict.REJECTED,
    "CANC": StatusVerdict.CANCELLED,
}
_CANCEL_VERDICTS: Final = {
    "CNCL": CancelVerdict.CANCELLED,
    "ACCR": CancelVerdict.CANCELLED,
    "RJCR": CancelVerdict.REFUSED,
    "PDCR": CancelVerdict.PENDING,
    "CWFW": CancelVerdict.PENDING,
    "UWFW": CancelVerdict.PENDING,
    "FTNA": CancelVerdict.PENDING,
    "PACR": CancelVerdict.PENDING,
}


def verdict_of(code: str | None) -> StatusVerdict:
    """Return what a payment's status code is evidence of."""
    if code is None:
        return StatusVerdict.UNKNOWN
    found = _VERDICTS.get(code)
    if found is not None:
        return found
    return (
        StatusVerdict.PENDING if code in code_set("transaction_status") else StatusVerdict.UNKNOWN
    )


def cancel_verdict_of(code: str | None) -> CancelVerdict:
    """Return what a camt.029's confirmation, or its status of a message or payment, is evidence of."""
    return _CANCEL_VERDICTS.get(code or "", CancelVerdict.UNKNOWN)


def status_of(report: StatusReportMessage, transaction: TransactionStatus) -> str | None:
    """Return a payment's status: its own, else that of its message unless that is PART."""
    if transaction.status is not None:
        return transaction.status
    group = _group_of(report, transaction)
    return None if group is None or group.status == PART else group.status


def reasons_of(report: StatusReportMessage, transaction: TransactionStatus) -> tuple[Reason, ...]:
    """Return the reasons for a payment's status: its own, else those of its message."""
    if transaction.reasons:
        return transaction.reasons
    group = _group_of(report, transaction)
    return () if group is None or transaction.status is not None else group.reasons


def _group_of(report: StatusReportMessage, transaction: TransactionStatus) -> GroupStatus | None:
    groups = report.groups
    if transaction.group is None:
        return groups[0] if len(groups) == 1 else None
    named = transaction.group.message_id
    return next((group for group in groups if group.message_id == named), None)
