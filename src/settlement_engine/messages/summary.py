"""A message in sentences for people. No decision may be based on them."""

from __future__ import annotations

from functools import singledispatch
from itertools import islice
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.statements import StatementFile
from settlement_engine.messages.admi002 import MessageReject
from settlement_engine.messages.amounts import write_amount
from settlement_engine.messages.camt029 import Resolution
from settlement_engine.messages.camt054 import BookingNotice
from settlement_engine.messages.camt056 import CancellationRequest
from settlement_engine.messages.camt060 import ReportRequest
from settlement_engine.messages.codes import code_set
from settlement_engine.messages.nacha.model import NachaFile
from settlement_engine.messages.nacha.summary import said_by_file
from settlement_engine.messages.pacs002 import StatusReportMessage
from settlement_engine.messages.pacs004 import PaymentReturn
from settlement_engine.messages.pacs008 import CustomerTransfers
from settlement_engine.messages.pacs009 import InstitutionTransfers
from settlement_engine.messages.pacs028 import StatusRequest
from settlement_engine.messages.statement_summary import said_by_file as said_by_statements
from settlement_engine.messages.statuses import (
    cancel_verdict_of,
    reasons_of,
    status_of,
    verdict_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from settlement_engine.domain.money import Money
    from settlement_engine.messages.parties import Agent, Party
    from settlement_engine.messages.references import Reason

SENTENCES_MAX: Final = 50


def said_by(content: object) -> list[str]:
    """Describe a message in at most ``SENTENCES_MAX`` sentences."""
    sentences = list(islice(_sentences(content), SENTENCES_MAX + 1))
    if len(sentences) > SENTENCES_MAX:
        sentences[-1] = "… and more."
    return sentences


def money(amount: Money) -> str:
    """Write an amount with its currency."""
    return f"{write_amount(amount)} {amount.currency}"


def _who(who: Agent | Party | None) -> str:
    if who is None:
        return "?"
    names = [who.bic, getattr(who, "clearing_member_id", None), who.name, who.lei]
    return next((name for name in names if name), "?")


def _payment(uetr: str | None, *others: str | None) -> str:
    name = next((each for each in (uetr, *others) if each), None)
    return f"payment {name}" if name else "a payment without a reference"


def _why(reasons: Iterable[Reason], known: str) -> str:
    parts = []
    for reason in reasons:
        code = reason.code or reason.code_own or "no code"
        text = code_set(known).codes.get(code, "")
        parts.append(
            " ".join([code, f"({text})" if text else "", *reason.texts]).replace("  ", " ")
        )
    return f": {'; '.join(parts)}" if parts else ""


@singledispatch
def _sentences(content: object) -> Iterator[str]:
    yield f"holds a {type(content).__name__}"


@_sentences.register(CustomerTransfers)
def _(content: CustomerTransfers) -> Iterator[str]:
    yield f"message {content.header.message_id}: {len(content.transfers)} customer transfers"
    for each in content.transfers:
        named = _payment(each.uetr, each.end_to_end_id)
        yield (
            f"{named}: {money(each.amount)} from {_who(each.debtor)} at {_who(each.debtor_agent)}"
            f" to {_who(each.creditor)} at {_who(each.creditor_agent)}"
        )


@_sentences.register(InstitutionTransfers)
def _(content: InstitutionTransfers) -> Iterator[str]:
    what = "covers" if content.is_cover else "transfers between institutions"
    yield f"message {content.header.message_id}: {len(content.transfers)} {what}"
    for each in content.transfers:
        named = _payment(each.uetr, each.end_to_end_id)
        yield f"{named}: {money(each.amount)} from {_who(each.debtor)} to {_who(each.creditor)}"


@_sentences.register(StatusReportMessage)
def _(content: StatusReportMessage) -> Iterator[str]:
    for group in content.groups:
        if group.status is not None:
            why = _why(group.reasons, "status_reason")
            yield f"message {group.message_id} ({group.message_name}): {group.status}{why}"
    for each in content.transactions:
        status = status_of(content, each)
        why = _why(reasons_of(content, each), "status_reason")
        named = _payment(each.uetr, each.end_to_end_id, each.transaction_id, each.instruction_id)
        yield f"{named}: {status or 'no status'} ({verdict_of(status).value}){why}"


@_sentences.register(PaymentReturn)
def _(content: PaymentReturn) -> Iterator[str]:
    group = content.group.reasons if content.group else ()
    for each in content.returns:
        named = _payment(each.uetr, each.end_to_end_id, each.transaction_id, each.instruction_id)
        why = _why(each.reasons or group, "return_reason")
        yield f"{named}: {money(each.amount)} comes back{why}"
    if not content.returns:
        message = content.group.message_id if content.group else "?"
        yield f"message {message} comes back as a whole{_why(group, 'return_reason')}"


@_sentences.register(StatusRequest)
def _(content: StatusRequest) -> Iterator[str]:
    for group in content.groups:
        yield f"asks about message {group.message_id}"
    for each in content.questions:
        named = _payment(each.uetr, each.end_to_end_id, each.transaction_id, each.instruction_id)
        yield f"asks about {named}"


@_sentences.register(CancellationRequest)
def _(content: CancellationRequest) -> Iterator[str]:
    for underlying in content.underlying:
        if underlying.group is not None and underlying.group.is_whole_group:
            yield f"asks to cancel message {underlying.group.message_id} as a whole"
        for each in underlying.cancellations:
            named = _payment(each.uetr, each.end_to_end_id, each.transaction_id)
            yield f"asks to cancel {named}{_why(each.reasons, 'cancellation_reason')}"


@_sentences.register(Resolution)
def _(content: Resolution) -> Iterator[str]:
    case = f"case {content.case.id}" if content.case else "the request"
    if content.confirmation is not None:
        yield (f"{case}: {content.confirmation} ({cancel_verdict_of(content.confirmation).value})")
    for details in content.details:
        for each in details.answers:
            named = _payment(each.uetr, each.end_to_end_id, each.transaction_id)
            why = _why(each.reasons, "cancellation_rejection")
            yield f"{named}: {each.status or content.confirmation or 'no status'}{why}"


@_sentences.register(BookingNotice)
def _(content: BookingNotice) -> Iterator[str]:
    for notification in content.notifications:
        account = notification.account.iban or notification.account.other_id
        yield f"account {account}: {len(notification.entries)} entries"
        for entry in notification.entries:
            turned = ", a reversal" if entry.is_reversal else ""
            yield (
                f"{money(entry.amount)} {'credit' if entry.direction == 'CRDT' else 'debit'}"
                f" ({entry.status or entry.status_own}{turned})"
            )


@_sentences.register(ReportRequest)
def _(content: ReportRequest) -> Iterator[str]:
    for each in content.reports:
        account = each.account
        named = (account.iban or account.other_id) if account is not None else "every account"
        yield f"asks for {each.message_name} of {named}"


@_sentences.register(MessageReject)
def _(content: MessageReject) -> Iterator[str]:
    more = f": {content.description}" if content.description else ""
    yield f"message {content.related_reference} was rejected, {content.reason}{more}"


@_sentences.register(NachaFile)
def _(content: NachaFile) -> Iterator[str]:
    yield from said_by_file(content)


@_sentences.register(StatementFile)
def _(content: StatementFile) -> Iterator[str]:
    yield from said_by_statements(content)
