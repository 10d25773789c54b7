"""Classifies the result of an exchange with a bank into events of the state machine.

Promises: only *nothing sent* is undelivered. A rejection is the bank's status of this payment, or its refusal of
this message at the first transmission. Server errors, lost connections, time-outs, refused requests and unreadable
responses count as no response. For a duplicate the first result is valid. An unknown status code is no response and
raises an alarm; a return is a return whatever its code. The status of a message is not the status of its payments.

Must never: turn a missing response into a rejection, or apply the status of one payment to another.
``tests/unit/rails/test_classification.py`` checks each entry of the decision table.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.lifecycle import Event
from settlement_engine.messages.envelope import opened
from settlement_engine.messages.errors import MessageError
from settlement_engine.ports import PaymentReferences, StatusReport
from settlement_engine.rails.reports import SETTLED_BY, Alarm, Reports, reports_of
from settlement_engine.rails.transport.results import ExchangeResult, NothingSent, Response

if TYPE_CHECKING:
    from settlement_engine.messages.envelope import Opened

OK: Final = 200
ACCEPTED: Final = 202
NOT_FOUND: Final = 404
CONFLICT: Final = 409
REFUSES_THIS_MESSAGE: Final = frozenset({400, 413, 415, 422})
"""HTTP statuses that reject this message because of its content. All other statuses below 500 concern the
caller, the address or the moment: the bank has not judged the message."""

SERVER_ERROR: Final = 500
REASON_BY_STATUS: Final = "HTTP{}"


class Purpose(Enum):
    """What the bank was asked."""

    SEND = auto()
    ENQUIRE = auto()
    RECALL = auto()


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One question to a bank: the payment's references, and whether the payment was sent before.

    ``question_id`` is the id of the message that asked, if it is not the payment's own message. ``settled_by`` are
    the statuses that are final on the rail.
    """

    purpose: Purpose
    payment: PaymentReferences
    question_id: str = ""
    is_possible_duplicate: bool = False
    settled_by: frozenset[str] = SETTLED_BY

    def is_about(self, named: PaymentReferences) -> bool:
        """Say whether references belong to this payment: at least one is equal, and none differs."""
        ours = self.payment
        pairs = (
            (ours.uetr, named.uetr),
            (ours.end_to_end_id, named.end_to_end_id),
            (ours.message_id, named.message_id),
        )
        both = [(mine, theirs) for mine, theirs in pairs if mine and theirs]
        return bool(both) and all(mine == theirs for mine, theirs in both)


class Classified(msgspec.Struct, frozen=True, kw_only=True):
    """The result of an exchange. Without a report there was no response."""

    reports: tuple[StatusReport, ...] = ()
    alarms: tuple[Alarm, ...] = ()


SILENCE: Final = Classified()


def classify(asked: Asked, result: ExchangeResult, message: Opened | None = None) -> Classified:
    """Return what the result of one exchange means for the payment that was asked about.

    ``message`` is the body of the response, where ``read_body`` has read it before.
    """
    if isinstance(result, NothingSent):
        if asked.purpose is Purpose.SEND:
            return Classified(reports=(_report(asked, Event.UNDELIVERED, text=result.why),))
        return SILENCE  # an enquiry or recall that was not sent says nothing about the payment
    if not isinstance(result, Response) or result.status >= SERVER_ERROR:
        return SILENCE
    return _responded(asked, result, message or read_body(result))


def read_body(result: ExchangeResult) -> Opened | None:
    """Read the message in a response; None where there is none, or none that can be read."""
    if not isinstance(result, Response) or result.status >= SERVER_ERROR or not result.body:
        return None
    try:
        return opened(result.body)
    except MessageError:
        return None


# --- responses by their status ------------------------------------------------------------------------


def _responded(asked: Asked, response: Response, message: Opened | None) -> Classified:
    if response.status in (OK, ACCEPTED):
        return _answered(asked, response, message)
    if response.status == CONFLICT:
        return _conflict(asked, message)
    if response.status in REFUSES_THIS_MESSAGE and asked.purpose is Purpose.SEND:
        return _refused(asked, response, message)
    if response.status == NOT_FOUND and asked.purpose is Purpose.ENQUIRE:
        return _unknown_payment(asked, message)
    return Classified(alarms=(Alarm.UNEXPECTED_RESPONSE,))


def _answered(asked: Asked, response: Response, message: Opened | None) -> Classified:
    """Read the body; without one, *accepted* means only that the bank has the payment."""
    if response.body:
        return _from_body(asked, message)
    if response.status == OK:
        return Classified(alarms=(Alarm.UNEXPECTED_RESPONSE,))
    if asked.purpose is Purpose.SEND:
        return Classified(reports=(_report(asked, Event.ACKNOWLEDGED),))
    return SILENCE  # the bank will send the answer later


def _from_body(asked: Asked, message: Opened | None) -> Classified:
    if message is None:
        return Classified(alarms=(Alarm.UNREADABLE_RESPONSE,))
    if message.kind == "admi.002":
        return _rejected_message(asked, message)
    return _own(asked, _reports(asked, message))


def _conflict(asked: Asked, message: Opened | None) -> Classified:
    """Use the first result; if the bank does not state it, an enquiry will follow."""
    if message is None or message.kind == "admi.002":
        return Classified(alarms=(Alarm.DUPLICATE,))
    return _own(asked, _reports(asked, message))


def _refused(asked: Asked, response: Response, message: Opened | None) -> Classified:
    """Distinguish a refusal of this message or its payment from one that proves nothing."""
    if message is not None and message.kind != "admi.002":
        return _own(asked, _reports(asked, message))
    if message is not None:
        return _rejected_message(asked, message)
    if asked.is_possible_duplicate:
        return Classified(alarms=(Alarm.RESEND_REFUSED,))
    code = REASON_BY_STATUS.format(response.status)
    text = "the bank refuses this message"
    return Classified(reports=(_report(asked, Event.REJECTED, code=code, text=text),))


def _rejected_message(asked: Asked, message: Opened) -> Classified:
    """Read an admi.002. A refused resend says nothing about earlier transmissions."""
    content = message.content
    if content.related_reference not in _message_names(asked):
        return Classified(alarms=(Alarm.OTHER_PAYMENT,))
    if asked.purpose is not Purpose.SEND:
        return Classified(alarms=(Alarm.QUESTION_REFUSED,))
    if asked.is_possible_duplicate:
        return Classified(alarms=(Alarm.RESEND_REFUSED,))
    text = content.description or ""
    return Classified(reports=(_report(asked, Event.REJECTED, code=content.reason, text=text),))


def _unknown_payment(asked: Asked, message: Opened | None) -> Classified:
    """Accept *not found* only if the bank names our enquiry; the address may be unknown instead."""
    if message is None or message.kind != "admi.002":
        return Classified(alarms=(Alarm.UNEXPECTED_RESPONSE,))
    if message.content.related_reference not in _message_names(asked):
        return Classified(alarms=(Alarm.OTHER_PAYMENT,))
    text = message.content.description or ""
    return Classified(reports=(_report(asked, Event.NOT_FOUND, text=text),))


# --- what they share ----------------------------------------------------------------------------------


def _own(asked: Asked, found: Reports) -> Classified:
    """Keep the reports on the payment that was asked about; reports on others raise an alarm."""
    own = tuple(report for report in found.reports if asked.is_about(report.references))
    alarms = list(found.alarms)
    if len(own) < len(found.reports):
        alarms.append(Alarm.OTHER_PAYMENT)
    if asked.purpose is Purpose.SEND:
        kept = tuple(report for report in own if not is_duplicate(report))
        if len(kept) < len(own):
            alarms.append(Alarm.DUPLICATE)
        own = kept
    return Classified(reports=own, alarms=tuple(dict.fromkeys(alarms)))


DUPLICATE_CODES: Final = frozenset({"DUPL", "AM05"})


def is_duplicate(report: StatusReport) -> bool:
    """Say whether a rejection means only that the bank has the payment already: the first result is valid.

    This applies to the response to a transmission, and to unasked reports. The response to an enquiry is the
    status of the payment itself, and there the same code is an ordinary rejection.
    """
    return report.event is Event.REJECTED and report.code in DUPLICATE_CODES


def unasked(body: bytes, settled_by: frozenset[str] = SETTLED_BY) -> Reports:
    """Read a message that a bank sent unasked. Raises MessageError if it cannot be read."""
    message = opened(body)
    found = reports_of(message, settled_by=settled_by)
    kept = tuple(report for report in found.reports if not is_duplicate(report))
    alarms = found.alarms if len(kept) == len(found.reports) else (*found.alarms, Alarm.DUPLICATE)
    return Reports(reports=kept, alarms=alarms)


def _reports(asked: Asked, message: Opened) -> Reports:
    is_recall = asked.purpose is Purpose.RECALL
    return reports_of(message, is_recall_answer=is_recall, settled_by=asked.settled_by)


def _message_names(asked: Asked) -> set[str]:
    names = {asked.question_id or asked.payment.message_id}
    return names - {""}


def _report(asked: Asked, event: Event, *, code: str = "", text: str = "") -> StatusReport:
    return StatusReport(event=event, references=asked.payment, code=code, text=text)
