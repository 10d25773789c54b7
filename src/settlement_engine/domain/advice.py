"""What is safe to do about a matter now, and what is not: sentences that follow from the page and the rail.

Promises: what is called safe moves money only where the page has a row for it; what is called unsafe is
what the page has none for. The engine needs none of this: it is for the person at the desk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from settlement_engine.domain.exceptions import SUSPENDED, MatterKind
from settlement_engine.domain.lifecycle import ENDS, HOLDING, LIFE, QUESTION, Ask, Do, Event, State

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from settlement_engine.domain.exceptions import Matter

RESENDS: Final = frozenset({"a", "b"})
"""Classes of rails that recognise a second sending of the same bytes."""


class Advice(NamedTuple):
    """Sentences for the person at the desk."""

    safe: tuple[str, ...]
    unsafe: tuple[str, ...]


ASK_AGAIN: Final[Mapping[Ask, str]] = {
    Ask.SEND: "Wait: the instruction is on its way, and its answer comes within the rail's time-out.",
    Ask.ENQUIRE: "Let the engine ask the rail on: an enquiry moves no money, however often it is put.",
    Ask.RECALL: "Let the engine go on recalling it: a recall is a request, and the rail decides.",
}

BY_KIND: Final[Mapping[MatterKind, tuple[str, str]]] = {
    MatterKind.IN_DOUBT: (
        "Ask the bank by telephone or on its portal, by the end-to-end reference or the UETR.",
        "Take the time that has passed for a no: a bank may answer after days.",
    ),
    MatterKind.OVERDUE: (
        "Ask the bank why the payment is still in process, by the UETR.",
        "Take a payment in process for one that failed: it may settle at any moment.",
    ),
    MatterKind.CONTRADICTION: (
        "Ask the bank which of its two words is true, and have the answer in writing.",
        "Reverse the postings because of the later message alone: our books follow the earlier one.",
    ),
    MatterKind.LATE_DEBIT: (
        "Ask the bank to return the money, naming the UETR: our books say that it was given back.",
        "Post the debit by hand: nothing may be booked on one of two contradicting messages.",
    ),
    MatterKind.SECOND_DEBIT: (
        "Ask the bank to return the second payment as a duplicate, naming both confirmations.",
        "Settle another obligation with the second payment: it is not ours to keep or to use.",
    ),
    MatterKind.DISPROVED: (
        "Find out with both people and the bank where the evidence was wrong; the cash is in suspense.",
        "Touch the customers' accounts: who has to bear it is not known yet.",
    ),
    MatterKind.UNCOVERED_RETURN: (
        "Claim the amount from the receiving bank: what it owes stands in suspense.",
        "Take it from the paying bank: its money has come back, and its obligation is open again.",
    ),
    MatterKind.HELD: (
        "Look at why it was parked, and release or decline it: one person proposes, another approves.",
        "Send the same obligation again under another key: this one still waits.",
    ),
    MatterKind.AMOUNT_DIFFERS: (
        "Ask the bank which amount is true, for what was sent and for what came back, in writing.",
        "Post the difference by hand: nothing is booked beyond what both sides agree on.",
    ),
    MatterKind.UNKNOWN_PAYMENT: (
        "Look for the instruction with the caller, by the reference: this database has forgotten it.",
        "Send the same instruction under another key: the bank has this payment already.",
    ),
    MatterKind.ALTERED_PAYMENT: (
        "Find out who wrote to the database and what else was altered: run `settlement-engine prove`.",
        "Close this before the record is as it was: the engine books nothing on an altered one.",
    ),
    MatterKind.CANNOT_BE_BOOKED: (
        "Repair what the database names in `why`: the engine tries the same step again by itself.",
        "Enter the transfer by hand: the engine would book it a second time when it succeeds.",
    ),
}
"""For each kind what is safe besides, and what is not."""


def advise(matter: Matter, rail_class: str) -> Advice:
    """Say what is safe to do about a matter now, and what is not; ``rail_class`` is empty if unknown."""
    state = matter.settlement.state if matter.settlement is not None else None
    safe, unsafe = BY_KIND[matter.kind]
    if state is None:
        return Advice((safe,), (unsafe,))
    return Advice(
        (*_safe(state, rail_class), safe), (*_unsafe(state, rail_class), unsafe, *_end(matter))
    )


def _safe(state: State, rail_class: str) -> Iterator[str]:
    asks = QUESTION.get(state)
    if asks is not None and asks in ASK_AGAIN:
        yield ASK_AGAIN[asks]
    rows = LIFE[state]
    if Event.ATTESTED_SETTLED in rows:
        yield (
            "Resolve it with a statement or the bank's written word as evidence: one person proposes,"
            " another approves, and the engine asks the bank once more before it acts."
        )
    if Event.NOT_FOUND in rows and rows[Event.NOT_FOUND].ask is Ask.SEND and rail_class in RESENDS:
        yield (
            "Leave a second sending to the engine: it sends the same bytes, and only while the rail"
            " recognises them."
        )
    if Event.CANCELLED in rows and state in HOLDING:
        yield "Cancel it: the rail is then asked to give it back."


def _unsafe(state: State, rail_class: str) -> Iterator[str]:
    if state not in HOLDING:
        return
    releasing = [event for event, row in LIFE[state].items() if row.do is Do.RELEASE]
    assert Event.NO_ANSWER not in releasing, "silence is not a no"
    yield "Release the funds without evidence: the bank may have paid, or may still pay."
    yield "Pay it again under another reference, or over another rail: that is a second payment."
    if rail_class not in RESENDS:
        yield "Send it again at all: this rail may pay every sending that reaches it."


def _end(matter: Matter) -> Iterator[str]:
    settlement = matter.settlement
    if settlement is None or settlement.state not in ENDS:
        return
    yield "Change how it ended: an end is never edited. What follows is a transfer of its own."
    if matter.kind in SUSPENDED:
        yield "Close this alone: one person acknowledges it, another closes it."
