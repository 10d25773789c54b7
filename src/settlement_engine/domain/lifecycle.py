"""The state machine of a settlement, as one table of transitions.

Each transition reads: in this state, when this event happens, go *to* that state; *do* this action in the
same database transaction; after the commit *ask* the outside world this question; these checkpoints of the
specification are *reached*. The answer to the question is the next event. ``domain/decisions`` chooses the
event; no other module decides a transition. The engine interprets this table, the database's CHECK on legal
moves and the diagram in the docs are generated from it, and the failure tests run once for each transition.

Two rules hold for all transitions:

* *Silence is not a no.* Only the rail can reject a payment. A time-out, a crash or an expired timer never
  counts as a rejection.
* *A crash is a question without an answer.* Recovery has no separate code path: it raises ``NO_ANSWER``.

LOCKED is the point of no return. The commit that enters it holds the funds **and** records the send intent.
Before that commit, any failure ends the settlement at once. After it, only evidence releases the funds.

``tests/unit/domain/test_lifecycle.py`` checks these rules for the whole table.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum, auto
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from settlement_engine.errors import IllegalMove

if TYPE_CHECKING:
    from collections.abc import Mapping


class State(StrEnum):
    """The state of a settlement."""

    PENDING = auto()  # stored; nothing else has happened yet
    VALIDATING = auto()  # compliance and risk are asked
    HELD = auto()  # parked by screening until two people decide
    QUEUED = auto()  # cleared, but the window is closed or liquidity is missing
    LOCKED = auto()  # point of no return: funds held and send intent recorded, in one commit
    SENT = auto()  # the rail acknowledged the payment; not final
    IN_DOUBT = auto()  # no response: it is not known whether the rail has the payment
    RECALLING = auto()  # the rail is asked to give the payment back; it may refuse
    COMPLETED = auto()  # final: the money moved, the transfers are posted
    FAILED = auto()  # final: no funds were ever held
    ROLLED_BACK = auto()  # final: the hold was released on evidence
    RETURNED = auto()  # final: the money came back after completion; reverse transfers are posted


class Event(StrEnum):
    """What can happen to a settlement."""

    ADMITTED = auto()  # the instruction was accepted and stored
    CLEARED = auto()  # screening cleared it
    POSTPONED = auto()  # cleared, but it has to wait for its window or for liquidity
    PARKED = auto()  # screening parked it: two people have to decide
    REFUSED = auto()  # we refuse it, before any money is held
    CANCELLED = auto()  # the caller requested cancellation or recall
    APPROVED = auto()  # two people released it
    DECLINED = auto()  # two people declined it
    RELEASED = auto()  # its waiting time is over
    LAPSED = auto()  # it waited longer than allowed
    ACKNOWLEDGED = auto()  # the rail has the payment (ACTC, ACSP); not final
    SETTLED = auto()  # the rail confirms that the money moved (ACSC, ACCC); final
    REJECTED = auto()  # the rail rejects the payment (RJCT, NAK); final
    UNDELIVERED = auto()  # proved: this attempt to send was never transmitted
    ABANDONED = auto()  # given up; proved for every attempt: never transmitted
    NOT_FOUND = auto()  # the rail does not know our reference, and its rules make that definite
    NO_ANSWER = auto()  # time-out, lost connection or crash: the outcome is unknown
    ATTESTED_SETTLED = auto()  # two people attested with evidence: the money moved
    ATTESTED_NOT_SETTLED = auto()  # two people attested with evidence: the money did not move
    OVERDUE = auto()  # the rail's time limit for a final status has passed
    RECALLED = auto()  # the rail gave the payment back after our recall
    RECALL_REFUSED = auto()  # the rail refused the recall
    RETURNED = auto()  # the receiver returned the money (pacs.004), or the rest of it
    UNCOVERED = auto()  # a return that the receiver's account with us does not cover
    CONTRADICTED = auto()  # conflicting bank status after final settlement
    DISPROVED = auto()  # a later final status of the rail contradicts what two people attested
    PARTLY_RETURNED = auto()  # the receiver returned a part; the obligation stays held
    PARTLY_UNCOVERED = auto()  # a partial return that the receiver's account does not cover
    AMOUNT_DIFFERED = auto()  # the rail reports another amount than the one sent
    DEBITED_TWICE = auto()  # the bank's statement has a second debit of the payment
    COVER_DUE = auto()  # TO's bank has the customer's payment, and its cover may be sent to FROM


class Do(StrEnum):
    """The action inside the transaction that records the move."""

    LOCK = auto()  # hold the funds and record the send intent
    POST = auto()  # post the transfers and end the hold
    RELEASE = auto()  # end the hold without a transfer
    REVERSE = auto()  # post the reverse transfers
    EXCEPT = auto()  # open an exception for a person; no money moves
    SUSPEND = auto()  # open an exception, and book the amount to the suspense account
    COVER = auto()  # record the send intent of the cover; no money moves in the books


class Ask(StrEnum):
    """A question to the outside world, asked after the commit."""

    SCREEN = auto()
    SEND = auto()
    ENQUIRE = auto()
    RECALL = auto()


class Transition(NamedTuple):
    """One transition: what follows from one event in one state."""

    state: State
    do: Do | None = None
    ask: Ask | None = None
    reached: tuple[str, ...] = ()


S, E = State, Event
READY = ("validation_complete", "funds_locked")
BEGUN = ("transfer_initiated",)
ENDED = ("transfer_confirmed", "settlement_finalized")

TRANSITIONS: Final[Mapping[State, Mapping[Event, Transition]]] = {
    S.PENDING: {
        E.ADMITTED: Transition(S.VALIDATING, ask=Ask.SCREEN),
    },
    S.VALIDATING: {
        E.CLEARED: Transition(S.LOCKED, Do.LOCK, ask=Ask.SEND, reached=READY),
        E.POSTPONED: Transition(S.QUEUED),
        E.PARKED: Transition(S.HELD),
        E.REFUSED: Transition(S.FAILED),
        E.CANCELLED: Transition(S.FAILED),
        E.NO_ANSWER: Transition(S.VALIDATING, ask=Ask.SCREEN),
    },
    S.HELD: {
        E.APPROVED: Transition(S.VALIDATING, ask=Ask.SCREEN),
        E.DECLINED: Transition(S.FAILED),
        E.CANCELLED: Transition(S.FAILED),
    },
    S.QUEUED: {
        E.RELEASED: Transition(S.VALIDATING, ask=Ask.SCREEN),  # clearances may have expired
        E.LAPSED: Transition(S.FAILED),
        E.CANCELLED: Transition(S.FAILED),
    },
    # From here on the payment may be at the rail: only evidence releases the funds.
    S.LOCKED: {
        E.ACKNOWLEDGED: Transition(S.SENT, ask=Ask.ENQUIRE, reached=BEGUN),
        E.SETTLED: Transition(S.COMPLETED, Do.POST, reached=BEGUN + ENDED),
        E.REJECTED: Transition(S.ROLLED_BACK, Do.RELEASE),
        E.UNDELIVERED: Transition(S.LOCKED, ask=Ask.SEND),  # the same bytes again
        E.ABANDONED: Transition(S.ROLLED_BACK, Do.RELEASE),
        E.NO_ANSWER: Transition(S.IN_DOUBT, ask=Ask.ENQUIRE),
        E.AMOUNT_DIFFERED: Transition(S.SENT, Do.EXCEPT, ask=Ask.ENQUIRE, reached=BEGUN),
        E.COVER_DUE: Transition(S.SENT, Do.COVER, ask=Ask.ENQUIRE, reached=BEGUN),
    },
    S.IN_DOUBT: {
        E.ACKNOWLEDGED: Transition(S.SENT, ask=Ask.ENQUIRE, reached=BEGUN),
        E.SETTLED: Transition(S.COMPLETED, Do.POST, reached=BEGUN + ENDED),
        E.REJECTED: Transition(S.ROLLED_BACK, Do.RELEASE),
        E.NOT_FOUND: Transition(
            S.LOCKED, ask=Ask.SEND
        ),  # the same bytes, marked as possible duplicate
        E.NO_ANSWER: Transition(S.IN_DOUBT, ask=Ask.ENQUIRE),
        E.AMOUNT_DIFFERED: Transition(S.SENT, Do.EXCEPT, ask=Ask.ENQUIRE, reached=BEGUN),
        E.COVER_DUE: Transition(S.SENT, Do.COVER, ask=Ask.ENQUIRE, reached=BEGUN),
        E.ATTESTED_SETTLED: Transition(S.COMPLETED, Do.POST, reached=BEGUN + ENDED),
        E.ATTESTED_NOT_SETTLED: Transition(S.ROLLED_BACK, Do.RELEASE),
    },
    S.SENT: {
        E.ACKNOWLEDGED: Transition(S.SENT, ask=Ask.ENQUIRE),  # still in process
        E.SETTLED: Transition(S.COMPLETED, Do.POST, reached=ENDED),
        E.REJECTED: Transition(S.ROLLED_BACK, Do.RELEASE),
        E.NOT_FOUND: Transition(S.SENT, ask=Ask.ENQUIRE),  # the rail acknowledged it before
        E.NO_ANSWER: Transition(S.SENT, ask=Ask.ENQUIRE),
        E.AMOUNT_DIFFERED: Transition(
            S.SENT, Do.EXCEPT, ask=Ask.ENQUIRE
        ),  # nothing is posted on it
        E.COVER_DUE: Transition(S.SENT, Do.COVER, ask=Ask.ENQUIRE),
        E.OVERDUE: Transition(S.RECALLING, ask=Ask.RECALL),
        E.CANCELLED: Transition(S.RECALLING, ask=Ask.RECALL),
        E.ATTESTED_SETTLED: Transition(S.COMPLETED, Do.POST, reached=ENDED),
        E.ATTESTED_NOT_SETTLED: Transition(S.ROLLED_BACK, Do.RELEASE),
    },
    S.RECALLING: {
        E.RECALLED: Transition(S.ROLLED_BACK, Do.RELEASE),
        E.REJECTED: Transition(S.ROLLED_BACK, Do.RELEASE),
        E.SETTLED: Transition(
            S.COMPLETED, Do.POST, reached=ENDED
        ),  # it settled before the recall arrived
        E.RECALL_REFUSED: Transition(S.SENT, ask=Ask.ENQUIRE),
        E.ACKNOWLEDGED: Transition(S.RECALLING, ask=Ask.RECALL),  # the recall is in process
        E.NO_ANSWER: Transition(S.RECALLING, ask=Ask.RECALL),
        E.AMOUNT_DIFFERED: Transition(S.SENT, Do.EXCEPT, ask=Ask.ENQUIRE),
        E.ATTESTED_SETTLED: Transition(S.COMPLETED, Do.POST, reached=ENDED),
        E.ATTESTED_NOT_SETTLED: Transition(S.ROLLED_BACK, Do.RELEASE),
    },
    S.COMPLETED: {
        E.RETURNED: Transition(S.RETURNED, Do.REVERSE),
        E.PARTLY_RETURNED: Transition(S.COMPLETED, Do.REVERSE),  # the obligation stays held
        E.UNCOVERED: Transition(S.RETURNED, Do.SUSPEND),
        E.PARTLY_UNCOVERED: Transition(S.COMPLETED, Do.SUSPEND),
        E.CONTRADICTED: Transition(S.COMPLETED, Do.EXCEPT),
        E.DISPROVED: Transition(S.COMPLETED, Do.SUSPEND),  # only where the end was attested
        E.DEBITED_TWICE: Transition(S.COMPLETED, Do.SUSPEND),
    },
    S.FAILED: {
        E.CONTRADICTED: Transition(S.FAILED, Do.EXCEPT),  # a restored database may lack a payment
    },
    S.ROLLED_BACK: {
        E.CONTRADICTED: Transition(S.ROLLED_BACK, Do.EXCEPT),
        E.DISPROVED: Transition(S.ROLLED_BACK, Do.SUSPEND),  # only where the end was attested
    },
    S.RETURNED: {
        E.CONTRADICTED: Transition(S.RETURNED, Do.EXCEPT),
        E.DEBITED_TWICE: Transition(S.RETURNED, Do.SUSPEND),
    },
}

ENDS: Final = frozenset({S.COMPLETED, S.FAILED, S.ROLLED_BACK, S.RETURNED})
"""The final states."""

RETURNS: Final = frozenset({E.RETURNED, E.PARTLY_RETURNED, E.UNCOVERED, E.PARTLY_UNCOVERED})
"""Events that bring money back after completion."""

PARTLY: Final = frozenset({E.PARTLY_RETURNED, E.PARTLY_UNCOVERED})
"""The returns after which a part is left: the settlement stays COMPLETED."""

HOLDING: Final = frozenset({S.LOCKED, S.IN_DOUBT, S.SENT, S.RECALLING})
"""The states in which funds are held on the source account."""

QUESTION: Final[Mapping[State, Ask]] = MappingProxyType(
    {
        transition.state: transition.ask
        for rows in TRANSITIONS.values()
        for transition in rows.values()
        if transition.ask is not None
    }
)
"""The question that is open in each state; states without one wait for a time or for people."""


class PublicStatus(IntEnum):
    """The status that callers see; the numbers are those of the proto."""

    PENDING = 0
    VALIDATING = 1
    EXECUTING = 2
    COMPLETED = 3
    FAILED = 4
    ROLLED_BACK = 5
    QUEUED = 6
    HELD = 7
    IN_DOUBT = 8
    RECALLING = 9
    RETURNED = 10


STATUS: Final[Mapping[State, PublicStatus]] = MappingProxyType(
    {
        S.PENDING: PublicStatus.PENDING,
        S.VALIDATING: PublicStatus.VALIDATING,
        S.HELD: PublicStatus.HELD,
        S.QUEUED: PublicStatus.QUEUED,
        S.LOCKED: PublicStatus.EXECUTING,
        S.SENT: PublicStatus.EXECUTING,
        S.IN_DOUBT: PublicStatus.IN_DOUBT,
        S.RECALLING: PublicStatus.RECALLING,
        S.COMPLETED: PublicStatus.COMPLETED,
        S.FAILED: PublicStatus.FAILED,
        S.ROLLED_BACK: PublicStatus.ROLLED_BACK,
        S.RETURNED: PublicStatus.RETURNED,
    }
)


def transition_for(state: State, event: Event) -> Transition:
    """Return the transition of an event in a state. Raises IllegalMove if there is none."""
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise IllegalMove(state, event) from None


def is_recorded(state: State, transition: Transition) -> bool:
    """Say whether the transition is recorded as a move: it changes the state, or it has an action.

    A question that is asked again changes nothing, so it is neither recorded nor announced.
    """
    return transition.state is not state or transition.do is not None


def is_repeated_question(transition: Transition) -> bool:
    """Say whether the transition asks the rail again about a payment after the point of no return.

    Such questions are counted together over all states, and each waits longer than the one before. So a
    payment that alternates between two states is not asked about more and more often.
    """
    return transition.state in HOLDING and transition.do is not Do.LOCK
