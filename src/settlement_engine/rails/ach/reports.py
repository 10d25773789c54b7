"""Reads a file of the inbox into reports on payments: returns as NACHA files, the operator's own reports as JSON. Pure.

Each operator has a format of its own for acknowledgements and settlement advices. The one read here is ours, and
certified by none: ``{"kind": "acknowledgement" or "settlement", "sha256", "status", "items": [{"trace", "status",
"code", "amount_cents"}]}``; a converter writes it. Promises: an acknowledgement is never a settlement; an unknown
status reports nothing; a return is read under any code.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

import msgspec

from settlement_engine.domain.lifecycle import Event
from settlement_engine.domain.returns import NOT_STATED, StatedAmount
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.nacha.model import EntryKind
from settlement_engine.messages.nacha.reading import read_file
from settlement_engine.ports import PaymentReferences, StatusReport
from settlement_engine.rails.ach.orders import CURRENCY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from settlement_engine.messages.nacha.model import NachaEntry

TEXT_CHARACTERS_MAX: Final = 500
ACKNOWLEDGEMENT: Final = "acknowledgement"
SETTLEMENT: Final = "settlement"
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_EVENTS: Final = {
    (ACKNOWLEDGEMENT, "accepted"): Event.ACKNOWLEDGED,
    (ACKNOWLEDGEMENT, "rejected"): Event.REJECTED,
    (SETTLEMENT, "accepted"): Event.ACKNOWLEDGED,
    (SETTLEMENT, "rejected"): Event.REJECTED,
    (SETTLEMENT, "settled"): Event.SETTLED,
}


class AchAlarm(Enum):
    """Something that a person must be informed of, although it changes nothing."""

    UNREADABLE_FILE = auto()  # it is kept, and says nothing
    UNKNOWN_STATUS = auto()  # a status that is none of ours to act upon
    UNEXPECTED_ENTRY = auto()  # an entry that is no answer to a credit of ours
    DISPUTED_RETURN = auto()  # a dishonoured or contested return: people answer it
    CHANGE_REQUESTED = auto()  # a notification of change: the account's data are to be corrected
    UNKNOWN_FILE = auto()  # a report on a file that we have not closed


class ItemReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator says of one entry."""

    trace: str
    status: str
    code: str = ""
    amount_cents: int = 0


class OperatorReport(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's report on a file, or on entries of one."""

    kind: str
    sha256: str
    status: str
    file: str = ""
    reason: str = ""
    items: tuple[ItemReport, ...] = ()


class ReadFile(msgspec.Struct, frozen=True, kw_only=True):
    """What a file says. ``whole`` is the event of every item of the file with the hash ``sha256``, if it says one."""

    reports: tuple[StatusReport, ...] = ()
    alarms: tuple[AchAlarm, ...] = ()
    whole: Event | None = None
    sha256: bytes = b""
    reason: str = ""


_read_report: Final = msgspec.json.Decoder(OperatorReport).decode


def read_inbox_file(content: bytes) -> ReadFile:
    """Read a file; one that cannot be read is an alarm, and reports nothing."""
    try:
        if content.lstrip()[:1] == b"{":
            return _of_operator(_read_report(content))
        found = read_file(content)
    except (MessageError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ReadFile(alarms=(AchAlarm.UNREADABLE_FILE,))
    return _of_entries(found.entries())


def of_each(event: Event, traces: Iterable[str], reason: str) -> tuple[StatusReport, ...]:
    """Return the same report for each item of a file."""
    text = reason[:TEXT_CHARACTERS_MAX]
    return tuple(
        StatusReport(event=event, references=PaymentReferences(trace=each), text=text)
        for each in traces
    )


def _of_operator(said: OperatorReport) -> ReadFile:
    reports: list[StatusReport] = []
    alarms: list[AchAlarm] = []
    for item in said.items:
        event = _EVENTS.get((said.kind, item.status))
        if event is None:
            alarms.append(AchAlarm.UNKNOWN_STATUS)
            continue
        reports.append(_of_item(event, item, said.reason))
    if said.items:
        return ReadFile(reports=tuple(reports), alarms=tuple(dict.fromkeys(alarms)))
    whole = _EVENTS.get((said.kind, said.status))
    if whole in {None, Event.SETTLED} or not _SHA256.fullmatch(said.sha256):
        return ReadFile(alarms=(AchAlarm.UNKNOWN_STATUS,))
    return ReadFile(whole=whole, sha256=bytes.fromhex(said.sha256), reason=said.reason)


def _of_item(event: Event, item: ItemReport, reason: str) -> StatusReport:
    is_settled = event is Event.SETTLED
    stated = StatedAmount(minor=item.amount_cents, currency=CURRENCY)
    return StatusReport(
        event=event,
        references=PaymentReferences(trace=item.trace),
        code=item.code,
        text=reason[:TEXT_CHARACTERS_MAX],
        confirmation=item.trace if is_settled else "",
        stated=stated if is_settled else NOT_STATED,
    )


# --- NACHA --------------------------------------------------------------------------------------------


def _of_entries(entries: Iterable[NachaEntry]) -> ReadFile:
    reports: list[StatusReport] = []
    alarms: list[AchAlarm] = []
    for entry in entries:
        match entry.kind:
            case EntryKind.RETURN:
                reports.append(_of_return(entry))
            case EntryKind.ACKNOWLEDGEMENT:
                trace = PaymentReferences(trace=entry.identification)
                reports.append(StatusReport(event=Event.ACKNOWLEDGED, references=trace))
            case EntryKind.DISHONORED_RETURN | EntryKind.CONTESTED_RETURN:
                alarms.append(AchAlarm.DISPUTED_RETURN)
            case EntryKind.CHANGE | EntryKind.REFUSED_CHANGE:
                alarms.append(AchAlarm.CHANGE_REQUESTED)
            case _:
                alarms.append(AchAlarm.UNEXPECTED_ENTRY)
    return ReadFile(reports=tuple(reports), alarms=tuple(dict.fromkeys(alarms)))


def _of_return(entry: NachaEntry) -> StatusReport:
    returned = entry.returned
    assert returned is not None, "what is a return has addenda that say so"
    reference = returned.trace_number or entry.trace_number
    return StatusReport(
        event=Event.RETURNED,
        references=PaymentReferences(trace=returned.original_trace),
        code=returned.code,
        text=(returned.title or returned.information)[:TEXT_CHARACTERS_MAX],
        stated=StatedAmount(minor=entry.amount_cents, currency=CURRENCY, reference=reference),
    )
