"""Reads a bank's message into reports on payments, as events of the state machine.

Promises: each payment is classified by its own status; the status of the message is used only if the payment has
none and the message is not in parts. The status of a return, a recall or another message is no status of the
payment. A return is read under any code, with its amounts. Must never: report an unknown status.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

import msgspec

from settlement_engine.domain.charges import CHARGED_BY_MAX
from settlement_engine.domain.identifiers import as_uuid
from settlement_engine.domain.lifecycle import Event
from settlement_engine.domain.returns import NOT_STATED, StatedAmount
from settlement_engine.messages.statuses import (
    PART,
    CancelVerdict,
    StatusVerdict,
    cancel_verdict_of,
    reasons_of,
    status_of,
    verdict_of,
)
from settlement_engine.ports import PaymentReferences, StatusReport

if TYPE_CHECKING:
    from settlement_engine.messages.camt029 import Resolution
    from settlement_engine.messages.envelope import Opened
    from settlement_engine.messages.pacs002 import GroupStatus, TransactionStatus
    from settlement_engine.messages.pacs002 import StatusReportMessage as StatusMessage
    from settlement_engine.messages.pacs004 import PaymentReturn, ReturnedTransaction
    from settlement_engine.messages.references import OriginalGroup, Reason

PAYMENTS: Final = ("pacs.008", "pacs.009")
SETTLED_BY: Final = frozenset({"ACSC", "ACCC"})
"""The statuses that are final on a rail whose profile names no others."""

TEXT_CHARACTERS_MAX: Final = 500
"""The most characters of a bank's text in a report; the message itself is kept completely."""

_EVENTS: Final = {
    StatusVerdict.REJECTED: Event.REJECTED,
    StatusVerdict.CANCELLED: Event.RECALLED,
}
_CANCEL_EVENTS: Final = {
    CancelVerdict.CANCELLED: Event.RECALLED,
    CancelVerdict.REFUSED: Event.RECALL_REFUSED,
    CancelVerdict.PENDING: Event.ACKNOWLEDGED,
}


class Alarm(Enum):
    """Something that a person must be informed of, although it changes nothing."""

    UNKNOWN_STATUS = auto()  # a code in no code set
    UNREADABLE_RESPONSE = auto()  # a response without a readable message
    INVALID_MESSAGE = auto()  # a message that is invalid against the schemas of the configuration
    UNEXPECTED_RESPONSE = auto()  # a status of the transport that has no meaning for a payment
    UNEXPECTED_MESSAGE = auto()  # a kind of message that is no answer
    OTHER_PAYMENT = auto()  # it names another payment than the one that was asked about
    DUPLICATE = auto()  # the bank has it already, and does not state its status
    RESEND_REFUSED = auto()  # a resend was refused: this says nothing about the first transmission
    QUESTION_REFUSED = auto()  # the enquiry or recall was refused as a message


class Reports(msgspec.Struct, frozen=True, kw_only=True):
    """The reports of a message, and its alarms for a person."""

    reports: tuple[StatusReport, ...] = ()
    alarms: tuple[Alarm, ...] = ()


def reports_of(
    message: Opened, *, is_recall_answer: bool = False, settled_by: frozenset[str] = SETTLED_BY
) -> Reports:
    """Read what a message says about our payments; ``settled_by`` are the statuses that are final on the rail."""
    match message.kind:
        case "pacs.002":
            return _of_statuses(
                message.content, is_recall_answer=is_recall_answer, settled_by=settled_by
            )
        case "pacs.004":
            return _of_returns(message.content)
        case "camt.029":
            return _of_resolution(message.content, is_recall_answer=is_recall_answer)
        case _:
            return Reports(alarms=(Alarm.UNEXPECTED_MESSAGE,))


# --- pacs.002 -----------------------------------------------------------------------------------------


def _of_statuses(
    content: StatusMessage, *, is_recall_answer: bool, settled_by: frozenset[str]
) -> Reports:
    """Read statuses. *Cancelled* is a rejection, but in the response to a recall it is its success."""
    found: list[StatusReport] = []
    alarms: list[Alarm] = []
    for transaction in content.transactions:
        group = _group_of(content, transaction)
        if not _is_payment(group):
            continue
        status = status_of(content, transaction)
        if status is None:
            continue
        names = _names(transaction, group)
        reasons = reasons_of(content, transaction)
        stated = _stated_by(transaction)
        event = _event_of(status, settled_by)
        if event is None:
            alarms.append(Alarm.UNKNOWN_STATUS)
            continue
        found.append(_report(event, status, names, reasons, stated))
    for single in _groups_without_payments(content):
        names = PaymentReferences(message_id=single.message_id)
        event = _event_of(single.status, settled_by)
        if event is None:
            alarms.append(Alarm.UNKNOWN_STATUS)
            continue
        found.append(_report(event, single.status, names, single.reasons, NOT_STATED))
    if not is_recall_answer:
        found = [_as_a_no(report) for report in found]
    return Reports(reports=tuple(found), alarms=tuple(dict.fromkeys(alarms)))


def _event_of(status: str | None, settled_by: frozenset[str]) -> Event | None:
    """Return the event of a status; None for one that is unknown. Only a final one of the rail is *settled*."""
    verdict = verdict_of(status)
    if verdict not in {StatusVerdict.SETTLED, StatusVerdict.PENDING}:
        return _EVENTS.get(verdict)
    return Event.SETTLED if status in settled_by else Event.ACKNOWLEDGED


def _as_a_no(report: StatusReport) -> StatusReport:
    if report.event is not Event.RECALLED:
        return report
    return msgspec.structs.replace(report, event=Event.REJECTED)


def _report(
    event: Event,
    status: str | None,
    names: PaymentReferences,
    reasons: tuple[Reason, ...],
    stated: StatedAmount,
) -> StatusReport:
    code, text = _why(reasons)
    return StatusReport(
        event=event,
        references=names,
        code=code if event is Event.REJECTED else code or status or "",
        text=text,
        stated=stated if event is Event.SETTLED else NOT_STATED,
        confirmation=names.rail_reference if event is Event.SETTLED else "",
    )


def _group_of(content: StatusMessage, transaction: TransactionStatus) -> OriginalGroup | None:
    if transaction.group is not None:
        return transaction.group
    return content.groups[0] if len(content.groups) == 1 else None


def _groups_without_payments(content: StatusMessage) -> list[GroupStatus]:
    """List our messages for which the report has a status but no payment."""
    spoken_of = {
        group.message_id
        for transaction in content.transactions
        if (group := _group_of(content, transaction)) is not None
    }
    return [
        group
        for group in content.groups
        if group.status not in (None, PART)
        and group.message_id not in spoken_of
        and _is_payment(group)
    ]


def _is_payment(group: OriginalGroup | None) -> bool:
    return group is None or group.message_name.startswith(PAYMENTS)


def _stated_by(transaction: TransactionStatus) -> StatedAmount:
    original = transaction.original
    if original is None or original.settlement_amount is None:
        return NOT_STATED
    amount = original.settlement_amount
    return StatedAmount(minor=amount.minor, currency=amount.currency)


# --- pacs.004 -----------------------------------------------------------------------------------------


def _of_returns(content: PaymentReturn) -> Reports:
    found = [_of_return(content, each) for each in content.returns]
    if not found and content.group is not None and _is_payment(content.group):
        code, text = _why(content.group.reasons)
        total = content.header.total_amount
        stated = NOT_STATED
        if total is not None:
            stated = StatedAmount(
                minor=total.minor,
                currency=total.currency,
                value_date=content.header.settlement_date,
                reference=content.header.message_id,
            )
        names = PaymentReferences(message_id=content.group.message_id)
        found = [
            StatusReport(
                event=Event.RETURNED, references=names, code=code, text=text, stated=stated
            )
        ]
    return Reports(reports=tuple(found))


def _of_return(content: PaymentReturn, each: ReturnedTransaction) -> StatusReport:
    reasons = each.reasons or (content.group.reasons if content.group is not None else ())
    code, text = _why(reasons)
    currency = each.amount.currency
    taken = [charge for charge in each.charges if charge.amount.currency == currency]
    stated = StatedAmount(
        minor=each.amount.minor,
        currency=currency,
        charges_minor=sum(charge.amount.minor for charge in taken),
        charged_by=tuple(
            (charge.agent.bic or "", charge.amount.minor) for charge in taken[:CHARGED_BY_MAX]
        ),
        value_date=each.settlement_date or content.header.settlement_date,
        reference=each.return_id or content.header.message_id,
    )
    return StatusReport(
        event=Event.RETURNED,
        references=_names(each, each.group or content.group),
        code=code,
        text=text,
        stated=stated,
    )


# --- camt.029 -----------------------------------------------------------------------------------------


def _of_resolution(content: Resolution, *, is_recall_answer: bool) -> Reports:
    """Read the answer to a recall. *In process* is used only as the response to an open recall."""
    found: list[StatusReport] = []
    alarms: list[Alarm] = []
    for detail in content.details:
        group = detail.group
        group_status = None if group is None else group.status
        spoken: list[tuple[Any, str | None, tuple[Reason, ...]]] = [
            (each, each.status or group_status or content.confirmation, each.reasons)
            for each in detail.answers
        ]
        if group is not None and not detail.answers:
            spoken = [(None, group_status or content.confirmation, group.reasons)]
        for each, status, reasons in spoken:
            event = _CANCEL_EVENTS.get(cancel_verdict_of(status))
            if event is None:
                alarms.append(Alarm.UNKNOWN_STATUS)
                continue
            promises = event is Event.RECALLED and _names_a_return(content, each)
            if promises:
                event = Event.SETTLED  # the bank promises to return an executed payment
            if event is not Event.ACKNOWLEDGED or is_recall_answer:
                names = _answer_names(each, group)
                code, text = _why(reasons)
                found.append(
                    StatusReport(
                        event=event,
                        references=names,
                        code=code or status or "",
                        text=text,
                        promises_return=promises,
                    )
                )
    return Reports(reports=tuple(found), alarms=tuple(dict.fromkeys(alarms)))


def _names_a_return(content: Resolution, each: Any) -> bool:  # noqa: ANN401 -- an answer, or None
    """Say whether a recall was accepted by naming the payment that brings the money back."""
    return content.settled is not None or (each is not None and each.settled is not None)


def _answer_names(each: Any, group: Any) -> PaymentReferences:  # noqa: ANN401 -- two structs with these fields
    if each is None:
        return PaymentReferences(message_id=group.message_id)
    return _names(each, each.group or group)


# --- what they share ----------------------------------------------------------------------------------


def _names(each: Any, group: Any) -> PaymentReferences:  # noqa: ANN401 -- several structs with these fields
    return PaymentReferences(
        uetr=as_uuid(each.uetr) if each.uetr else None,
        end_to_end_id=each.end_to_end_id or "",
        message_id="" if group is None else group.message_id,
        transaction_id=each.transaction_id or "",
        instruction_id=getattr(each, "instruction_id", None) or "",
        rail_reference=getattr(each, "account_servicer_reference", None)
        or each.clearing_system_reference
        or "",
    )


def _why(reasons: tuple[Reason, ...]) -> tuple[str, str]:
    """Return the first reason's code, and the text of all reasons."""
    code = next((found for reason in reasons if (found := reason.code or reason.code_own)), "")
    text = " ".join(text for reason in reasons for text in reason.texts)
    return code, text[:TEXT_CHARACTERS_MAX]
