"""The page: a settlement's whole life in one table.

Read a row of ``LIFE`` aloud: *in this state, when this happens,* go *to* that state; *do* this in the
same database transaction; after the commit *ask* that of the outside world; these checkpoints of the
specification are *reached*. The answer to what was asked is again an event. What an answer means, and so
which event applies, is chosen in ``domain/decisions``; nothing about the history is decided anywhere else.
The engine interprets this table, the database's CHECK on legal moves and the diagram in the docs are
generated from it, and the failure suite is enumerated from it.

Two laws stand behind the rows:

* *Silence is not a no.* Only a rail may say no; a time-out, a crash or an expired timer never does.
* *A crash is a question that got no answer.* Recovery has no path of its own: it raises ``NO_ANSWER``.

LOCKED is the line P. The commit that enters it holds the funds **and** records the intent to send.
Before it any failure ends the life at once; after it only evidence releases the money.

``tests/unit/domain/test_lifecycle.py`` walks the table and proves its rules.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum, auto
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from settlement_engine.errors import IllegalMove

if TYPE_CHECKING:
    from collections.abc import Mapping


class State(StrEnum):
    """Where a settlement is."""

    PENDING = auto()  # written down; nothing promised
    VALIDATING = auto()  # compliance and risk have been asked
    HELD = auto()  # parked for a person
    QUEUED = auto()  # cleared, but the window is shut or liquidity is short
    LOCKED = auto()  # the line P: funds held and the intent to send recorded, in one commit
    SENT = auto()  # the rail says that it has it
    IN_DOUBT = auto()  # no answer: the rail may have it
    RECALLING = auto()  # the rail was asked to give it back; a request, not an act
    COMPLETED = auto()  # the end: money moved, postings made
    FAILED = auto()  # the end: nothing was ever locked
    ROLLED_BACK = auto()  # the end: the lock was released on evidence
    RETURNED = auto()  # the money came back after completion: a reversing posting, never an edit


class Event(StrEnum):
    """What can happen to a settlement."""

    ADMITTED = auto()  # intake wrote it down
    CLEARED = auto()  # screening says yes
    POSTPONED = auto()  # cleared, but it has to wait for its window or for liquidity
    PARKED = auto()  # a person has to look first
    REFUSED = auto()  # we say no, before money moves
    CANCELLED = auto()  # the caller's wish
    APPROVED = auto()  # the person said yes
    DECLINED = auto()  # the person said no
    RELEASED = auto()  # the wait is over
    LAPSED = auto()  # the wait lasted too long
    ACKNOWLEDGED = auto()  # the rail has it (ACTC, ACSP); not final
    SETTLED = auto()  # the rail says that the money moved (ACSC, ACCC)
    REJECTED = auto()  # the rail says a definite no (RJCT, NAK)
    UNDELIVERED = auto()  # proved: not a byte left the house
    ABANDONED = auto()  # given up, every sending proved undelivered
    NOT_FOUND = auto()  # the rail, whose rules make it definite, does not know our reference
    NO_ANSWER = auto()  # silence, a crash included
    ATTESTED_SETTLED = auto()  # two people with evidence: the money moved
    ATTESTED_NOT_SETTLED = auto()  # two people with evidence: the money did not move
    OVERDUE = auto()  # the rail's own limit has passed
    RECALLED = auto()  # the rail gave it back
    RECALL_REFUSED = auto()  # the rail did not
    RETURNED = auto()  # the receiver sent the money back (pacs.004), or all that was left of it
    UNCOVERED = auto()  # it came back, and the receiver's account with us no longer covers it
    CONTRADICTED = auto()  # late word against a known end
    DISPROVED = auto()  # late definite word of the rail against what two people attested
    PARTLY_RETURNED = auto()  # the receiver sent a part back, and something is left
    PARTLY_UNCOVERED = auto()  # a part came back that the receiver's account does not cover
    AMOUNT_DIFFERED = auto()  # the rail says that another amount moved than was sent


class Do(StrEnum):
    """Work inside the transaction that records the move."""

    LOCK = auto()  # hold the funds and record the intent to send
    POST = auto()  # make the transfers, end the hold
    RELEASE = auto()  # end the hold, give the funds back
    REVERSE = auto()  # post the transfers the other way round
    EXCEPT = auto()  # open an exception for a person; no money is touched
    SUSPEND = auto()  # open an exception, and book to suspense what has no other home


class Ask(StrEnum):
    """A question to the outside world, put after the commit."""

    SCREEN = auto()
    SEND = auto()
    ENQUIRE = auto()
    RECALL = auto()


class Row(NamedTuple):
    """What follows from one event in one state."""

    state: State
    do: Do | None
    ask: Ask | None
    reached: tuple[str, ...]


def to(
    state: State, do: Do | None = None, *, ask: Ask | None = None, reached: tuple[str, ...] = ()
) -> Row:
    """Write a row of the table."""
    return Row(state, do, ask, reached)


S, E = State, Event
READY = ("validation_complete", "funds_locked")
BEGUN = ("transfer_initiated",)
ENDED = ("transfer_confirmed", "settlement_finalized")

LIFE: Final[Mapping[State, Mapping[Event, Row]]] = {
    S.PENDING: {
        E.ADMITTED: to(S.VALIDATING, ask=Ask.SCREEN),
    },
    S.VALIDATING: {
        E.CLEARED: to(S.LOCKED, Do.LOCK, ask=Ask.SEND, reached=READY),
        E.POSTPONED: to(S.QUEUED),
        E.PARKED: to(S.HELD),
        E.REFUSED: to(S.FAILED),
        E.CANCELLED: to(S.FAILED),
        E.NO_ANSWER: to(S.VALIDATING, ask=Ask.SCREEN),
    },
    S.HELD: {
        E.APPROVED: to(S.VALIDATING, ask=Ask.SCREEN),
        E.DECLINED: to(S.FAILED),
        E.CANCELLED: to(S.FAILED),
    },
    S.QUEUED: {
        E.RELEASED: to(S.VALIDATING, ask=Ask.SCREEN),  # clearances may have expired
        E.LAPSED: to(S.FAILED),
        E.CANCELLED: to(S.FAILED),
    },
    # The instruction is on its way out. From here on only a definite no releases the funds.
    S.LOCKED: {
        E.ACKNOWLEDGED: to(S.SENT, ask=Ask.ENQUIRE, reached=BEGUN),
        E.SETTLED: to(S.COMPLETED, Do.POST, reached=BEGUN + ENDED),
        E.REJECTED: to(S.ROLLED_BACK, Do.RELEASE),
        E.UNDELIVERED: to(S.LOCKED, ask=Ask.SEND),  # the same bytes again
        E.ABANDONED: to(S.ROLLED_BACK, Do.RELEASE),
        E.NO_ANSWER: to(S.IN_DOUBT, ask=Ask.ENQUIRE),
        E.AMOUNT_DIFFERED: to(S.SENT, Do.EXCEPT, ask=Ask.ENQUIRE, reached=BEGUN),
    },
    S.IN_DOUBT: {
        E.ACKNOWLEDGED: to(S.SENT, ask=Ask.ENQUIRE, reached=BEGUN),
        E.SETTLED: to(S.COMPLETED, Do.POST, reached=BEGUN + ENDED),
        E.REJECTED: to(S.ROLLED_BACK, Do.RELEASE),
        E.NOT_FOUND: to(S.LOCKED, ask=Ask.SEND),  # the same bytes, marked as possible duplicate
        E.NO_ANSWER: to(S.IN_DOUBT, ask=Ask.ENQUIRE),
        E.AMOUNT_DIFFERED: to(S.SENT, Do.EXCEPT, ask=Ask.ENQUIRE, reached=BEGUN),
        E.ATTESTED_SETTLED: to(S.COMPLETED, Do.POST, reached=BEGUN + ENDED),
        E.ATTESTED_NOT_SETTLED: to(S.ROLLED_BACK, Do.RELEASE),
    },
    S.SENT: {
        E.ACKNOWLEDGED: to(S.SENT, ask=Ask.ENQUIRE),  # still in process
        E.SETTLED: to(S.COMPLETED, Do.POST, reached=ENDED),
        E.REJECTED: to(S.ROLLED_BACK, Do.RELEASE),
        E.NOT_FOUND: to(S.SENT, ask=Ask.ENQUIRE),  # it had it: one denial does not undo that
        E.NO_ANSWER: to(S.SENT, ask=Ask.ENQUIRE),
        E.AMOUNT_DIFFERED: to(S.SENT, Do.EXCEPT, ask=Ask.ENQUIRE),  # nothing is posted on it
        E.OVERDUE: to(S.RECALLING, ask=Ask.RECALL),
        E.CANCELLED: to(S.RECALLING, ask=Ask.RECALL),
        E.ATTESTED_SETTLED: to(S.COMPLETED, Do.POST, reached=ENDED),
        E.ATTESTED_NOT_SETTLED: to(S.ROLLED_BACK, Do.RELEASE),
    },
    S.RECALLING: {
        E.RECALLED: to(S.ROLLED_BACK, Do.RELEASE),
        E.REJECTED: to(S.ROLLED_BACK, Do.RELEASE),
        E.SETTLED: to(S.COMPLETED, Do.POST, reached=ENDED),  # the bank won the race
        E.RECALL_REFUSED: to(S.SENT, ask=Ask.ENQUIRE),
        E.ACKNOWLEDGED: to(S.RECALLING, ask=Ask.RECALL),  # the recall is being worked on
        E.NO_ANSWER: to(S.RECALLING, ask=Ask.RECALL),
        E.AMOUNT_DIFFERED: to(S.SENT, Do.EXCEPT, ask=Ask.ENQUIRE),
        E.ATTESTED_SETTLED: to(S.COMPLETED, Do.POST, reached=ENDED),
        E.ATTESTED_NOT_SETTLED: to(S.ROLLED_BACK, Do.RELEASE),
    },
    S.COMPLETED: {
        E.RETURNED: to(S.RETURNED, Do.REVERSE),
        E.PARTLY_RETURNED: to(S.COMPLETED, Do.REVERSE),  # the obligation stays held
        E.UNCOVERED: to(S.RETURNED, Do.SUSPEND),
        E.PARTLY_UNCOVERED: to(S.COMPLETED, Do.SUSPEND),
        E.CONTRADICTED: to(S.COMPLETED, Do.EXCEPT),
        E.DISPROVED: to(S.COMPLETED, Do.SUSPEND),  # only where the end was attested
    },
    S.FAILED: {
        E.CONTRADICTED: to(S.FAILED, Do.EXCEPT),  # a restored database may have forgotten a payment
    },
    S.ROLLED_BACK: {
        E.CONTRADICTED: to(S.ROLLED_BACK, Do.EXCEPT),
        E.DISPROVED: to(S.ROLLED_BACK, Do.SUSPEND),  # only where the end was attested
    },
    S.RETURNED: {
        E.CONTRADICTED: to(S.RETURNED, Do.EXCEPT),
    },
}

ENDS: Final = frozenset({S.COMPLETED, S.FAILED, S.ROLLED_BACK, S.RETURNED})
"""The states in which nothing more is owed to the caller."""

RETURNS: Final = frozenset({E.RETURNED, E.PARTLY_RETURNED, E.UNCOVERED, E.PARTLY_UNCOVERED})
"""Events that bring money back after completion."""

PARTLY: Final = frozenset({E.PARTLY_RETURNED, E.PARTLY_UNCOVERED})
"""Of these, the events after which something is left: the settlement stays COMPLETED."""

HOLDING: Final = frozenset({S.LOCKED, S.IN_DOUBT, S.SENT, S.RECALLING})
"""The states in which a hold stands on the source account."""

QUESTION: Final[Mapping[State, Ask]] = MappingProxyType(
    {row.state: row.ask for rows in LIFE.values() for row in rows.values() if row.ask is not None}
)
"""The one question that is open in a state; states without one wait for a time or for a person."""


class PublicStatus(IntEnum):
    """The status that callers see; the numbers are those of the wire."""

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


def follow(state: State, event: Event) -> Row:
    """Look up what follows; refuse what the table does not allow."""
    try:
        return LIFE[state][event]
    except KeyError:
        raise IllegalMove(state, event) from None


def is_recorded(state: State, row: Row) -> bool:
    """Say whether the row is a move: a change of state, or word that a person must hear.

    A question that is put again changes nothing, so it is no move and announces nothing.
    """
    return row.state is not state or row.do is not None


def is_one_more_question(row: Row) -> bool:
    """Say whether the row leads to one more question about a payment that is beyond the line P.

    Such questions are counted together, whatever state they are put in: a payment that goes to and fro
    between two states without news is asked about ever more seldom.
    """
    return row.state in HOLDING and row.do is not Do.LOCK
