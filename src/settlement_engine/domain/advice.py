"""What is safe to do about an exception now, and what is not: sentences for the person who works on it.

Promises: what is called safe moves money only by a transition of the state machine; what is called unsafe
has no such transition. The engine itself never reads this advice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from settlement_engine.domain.exceptions import SUSPENDED, CaseKind
from settlement_engine.domain.lifecycle import (
    ENDS,
    HOLDING,
    QUESTION,
    TRANSITIONS,
    Ask,
    Do,
    Event,
    State,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from settlement_engine.domain.exceptions import ExceptionCase

RESENDS: Final = frozenset({"a", "b"})
"""The classes of rails that recognise a second transmission of the same bytes."""


class Advice(NamedTuple):
    """What is safe to do and what is not, in sentences."""

    safe: tuple[str, ...]
    unsafe: tuple[str, ...]


ASK_AGAIN: Final[Mapping[Ask, str]] = {
    Ask.SEND: "Wait: the payment is being sent, and a response or a time-out follows soon.",
    Ask.ENQUIRE: "Let the engine send its status enquiries: an enquiry never moves money.",
    Ask.RECALL: "Let the engine repeat its recall: a recall is a request, and the rail decides.",
}

BY_KIND: Final[Mapping[CaseKind, tuple[str, str]]] = {
    CaseKind.IN_DOUBT: (
        "Ask the bank by telephone or on its portal; give the end-to-end reference or the UETR.",
        "Treat the payment as rejected because much time has passed: a bank may respond after days.",
    ),
    CaseKind.OVERDUE: (
        "Ask the bank why the payment is still in process; give the UETR.",
        "Treat a payment in process as failed: it may settle at any moment.",
    ),
    CaseKind.CONTRADICTION: (
        "Ask the bank which of its two statuses is true, and get the answer in writing.",
        "Reverse the postings because of the later status alone: our books follow the earlier one.",
    ),
    CaseKind.LATE_DEBIT: (
        "Ask the bank to return the money; give the UETR. Our books released the funds.",
        "Post the debit by hand: two statuses conflict, and one alone proves nothing.",
    ),
    CaseKind.SECOND_DEBIT: (
        "Ask the bank to return the second payment as a duplicate; give both confirmations.",
        "Settle another obligation with the second payment: it is not ours to use.",
    ),
    CaseKind.DISPROVED: (
        "Find out, with both people and the bank, why the evidence was wrong. The cash is in suspense.",
        "Book it on a customer's account: who has to bear the loss is not known yet.",
    ),
    CaseKind.UNCOVERED_RETURN: (
        "Claim the amount from the receiving bank: what it owes is booked in suspense.",
        "Take it from the paying bank: its money came back, and its obligation is open again.",
    ),
    CaseKind.HELD: (
        "Read why it was parked, then release or decline it: one person proposes, another approves.",
        "Submit the same obligation again under another key: this one is still open.",
    ),
    CaseKind.AMOUNT_DIFFERS: (
        "Ask the bank which amount is true, sent and returned, and get the answer in writing.",
        "Post the difference by hand: only an amount on which both sides agree may be booked.",
    ),
    CaseKind.RECALL_OVERDUE: (
        "Ask the bank in person for its answer; what it says later is recorded, and closes this.",
        "Book the money as returned: nothing has come back before the bank's return.",
    ),
    CaseKind.COVER_FAILED: (
        "Repair the cover, once FROM has refused it; or cancel: TO is asked to give the payment back.",
        "Send the customer's payment again: TO has it, or has refused it, under this UETR.",
    ),
    CaseKind.DEBITED_TWICE: (
        "Ask the bank to return the second debit as a duplicate: its amount is booked in suspense.",
        "Settle another obligation with the second payment: it is not ours to use.",
    ),
    CaseKind.STATEMENT_DIFFERS: (
        "Ask the bank for the booking of the payment, and why its statement does not have it.",
        "Reverse the postings because of the statement alone: the rail has confirmed the payment.",
    ),
    CaseKind.UNKNOWN_PAYMENT: (
        "Ask the caller for the instruction; give the reference. This database does not have it.",
        "Submit the same instruction under another key: the bank already has this payment.",
    ),
    CaseKind.ALTERED_PAYMENT: (
        "Find out who wrote to the database, and what else was altered: `settlement-engine prove`.",
        "Close this before the record is restored: the engine books nothing on an altered record.",
    ),
    CaseKind.CANNOT_BE_BOOKED: (
        "Repair the problem that `why` names: the engine then tries again by itself.",
        "Post the transfer by hand: the engine would post it a second time.",
    ),
}
"""For each kind of exception: one more action that is safe, and one that is not."""


def advise(case: ExceptionCase, rail_class: str) -> Advice:
    """Say what is safe to do about an exception now, and what is not.

    ``rail_class`` is empty if it is unknown.
    """
    state = case.settlement.state if case.settlement is not None else None
    safe, unsafe = BY_KIND[case.kind]
    if state is None:
        return Advice((safe,), (unsafe,))
    return Advice(
        (*_safe(state, rail_class), safe), (*_unsafe(state, rail_class), unsafe, *_end(case))
    )


def _safe(state: State, rail_class: str) -> Iterator[str]:
    asks = QUESTION.get(state)
    if asks is not None and asks in ASK_AGAIN:
        yield ASK_AGAIN[asks]
    rows = TRANSITIONS[state]
    if Event.ATTESTED_SETTLED in rows:
        yield (
            "Resolve it with a statement or a letter of the bank as evidence: one person proposes,"
            " another approves, and the engine asks the bank once more before it acts."
        )
    if Event.NOT_FOUND in rows and rows[Event.NOT_FOUND].ask is Ask.SEND and rail_class in RESENDS:
        yield (
            "Let the engine send it again: it sends the same bytes, and only while the rail recognises"
            " them as a duplicate."
        )
    if Event.CANCELLED in rows and state in HOLDING:
        yield "Cancel it: the rail is then asked to give the payment back."


def _unsafe(state: State, rail_class: str) -> Iterator[str]:
    if state not in HOLDING:
        return
    releasing = [event for event, row in TRANSITIONS[state].items() if row.do is Do.RELEASE]
    assert Event.NO_ANSWER not in releasing, "silence is not a no"
    yield "Release the funds without evidence: the bank may have paid, or may still pay."
    yield "Pay it again under another reference or over another rail: that is a second payment."
    if rail_class not in RESENDS:
        yield "Send it again: this rail may pay each transmission that reaches it."


def _end(case: ExceptionCase) -> Iterator[str]:
    settlement = case.settlement
    if settlement is None or settlement.state not in ENDS:
        return
    yield "Change its final state: it never changes. A correction is a new transfer."
    if case.kind in SUSPENDED:
        yield "Close this exception alone: one person acknowledges it, another closes it."
