"""The parts of a state of the model, as tuples of small numbers, and which combinations are wrong.

Promises: two states are equal exactly if everything that has an effect is equal. Numbers that only grow
are kept as what the guards compare: the sequence of a belief is the row's, one behind, or older; its
fencing token is the row's, or older. So neither has a bound.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from settlement_engine.domain.lifecycle import ENDS, HOLDING, Do, Event, State

NOBODY: Final = 0
DEAD: Final = 3
"""The owner of a row: nobody, engine 1, engine 2, or an engine that is gone."""


class SearchBound(NamedTuple):
    """The limits of the search.

    ``sendings`` is the number of sends of one payment, ``under_way`` of instructions on the network at a
    time, and ``states`` of states for one rail: more of these are a failure, never a pass.
    """

    sendings: int
    under_way: int
    states: int


FULL: Final = SearchBound(sendings=2, under_way=2, states=3_000_000)
SHORT: Final = SearchBound(sendings=2, under_way=1, states=300_000)


class Hold(IntEnum):
    """The state of the money in our books."""

    NONE = 0
    HELD = 1
    POSTED = 2
    RELEASED = 3
    REVERSED = 4


class ModelBankRecord(IntEnum):
    """What the bank's ledger has under our reference; only the bank knows it."""

    NONE = 0
    PENDING = 1
    SETTLED = 2
    REJECTED = 3
    RECALLED = 4
    LATE = 5  # refused on arrival: no longer valid, or after the end of the day
    BARRED = 6  # recalled before it arrived: a later arrival is not executed
    RETURNED = 7  # settled, and sent back by the receiver


class Private(IntEnum):
    """The answer to a request; only the engine that sent the request gets it, and at most once."""

    NOTHING = 0
    SILENCE = 1
    NOT_FOUND = 2
    UNDELIVERED = 3


class Attest(IntEnum):
    """How far the attestation of two people has come."""

    NOBODY = 0
    ONE_SAYS_SETTLED = 1
    ONE_SAYS_NOT = 2
    SETTLED = 3
    NOT_SETTLED = 4


class Recall(IntEnum):
    """Where the recall request is."""

    NONE = 0
    UNDER_WAY = 1
    REFUSED = 2
    REFUSED_AND_UNDER_WAY = 3


class ModelRecord(NamedTuple):
    """The database row, with its attempt and its hold."""

    state: State
    engine_id: int
    sends: int
    undelivered: int
    hold: Hold

    @classmethod
    def start(cls) -> ModelRecord:
        """Return the row of a settlement that was not yet admitted."""
        return cls(State.PENDING, NOBODY, 0, 0, Hold.NONE)


class ModelWorld(NamedTuple):
    """Everything outside: the bank, the network, the time, and people.

    ``unowned`` are messages on the network without the reference of the first send: there are none,
    unless a mutation makes them. ``late`` is an answer to an earlier request that nobody waits for any
    more; an engine that receives it takes it for the answer to its present request.
    """

    bank: ModelBankRecord
    phase: int
    under_way: int
    unowned: int
    recall: Recall
    attest: Attest
    late: Private

    @classmethod
    def start(cls) -> ModelWorld:
        """Return the world before anything was sent."""
        return cls(ModelBankRecord.NONE, 0, 0, 0, Recall.NONE, Attest.NOBODY, Private.NOTHING)


class Worker(NamedTuple):
    """An engine: what it believes, what it is writing, and what it has asked.

    ``state`` is None when it carries no settlement. ``lag`` is the number of moves that the belief is
    behind (2 stands for more); ``is_current`` says whether its fencing token is the row's. ``writing`` is
    a decision that is not known to be committed. ``asked`` is the answer to the open request.
    """

    state: State | None
    lag: int
    is_current: bool
    sends: int
    undelivered: int
    writing: int
    asked: Private


IDLE: Final = Worker(None, 0, False, 0, 0, -1, Private.NOTHING)  # noqa: FBT003 - positional, as in a tuple

PAID: Final = frozenset({ModelBankRecord.SETTLED, ModelBankRecord.RETURNED})
TAKEN: Final = PAID | {ModelBankRecord.PENDING}

AFTER: Final = {
    (Hold.NONE, Do.LOCK): Hold.HELD,
    (Hold.HELD, Do.POST): Hold.POSTED,
    (Hold.HELD, Do.RELEASE): Hold.RELEASED,
    (Hold.POSTED, Do.REVERSE): Hold.REVERSED,
}
"""What the work of a transition does to a hold; anything else is a wrong booking."""

_BELONGS: Final = {
    State.COMPLETED: Hold.POSTED,
    State.ROLLED_BACK: Hold.RELEASED,
    State.RETURNED: Hold.REVERSED,
    **dict.fromkeys(HOLDING, Hold.HELD),
}


class Effect(IntEnum):
    """What an action of one engine means for what the other one believes."""

    NONE = 0
    MOVED = 1  # the row has moved: the other belief is one more move behind
    CLAIMED = 2  # the row has another fencing token


WORDS: Final = {
    ModelBankRecord.NONE: (),
    ModelBankRecord.PENDING: (Event.ACKNOWLEDGED,),
    ModelBankRecord.SETTLED: (Event.ACKNOWLEDGED, Event.SETTLED),
    ModelBankRecord.REJECTED: (Event.ACKNOWLEDGED, Event.REJECTED),
    ModelBankRecord.RECALLED: (Event.ACKNOWLEDGED, Event.RECALLED, Event.REJECTED),
    ModelBankRecord.LATE: (Event.REJECTED,),
    ModelBankRecord.BARRED: (Event.RECALLED, Event.REJECTED),
    ModelBankRecord.RETURNED: (Event.ACKNOWLEDGED, Event.SETTLED, Event.RETURNED),
}
"""What an honest bank reports or has reported; a report may arrive at any later time, and again."""

SPEAKS_OF_ANOTHER_AMOUNT: Final = "bank speaks of another amount"
"""The fault of a bank that has settled, and reports another amount than was sent."""

WAITS_FOR_A_COVER: Final = "bank waits for a cover"
"""A bank that has the payment, and is paid by a cover; only what the state machine does with it is modelled."""

OTHER_WORDS: Final = {
    SPEAKS_OF_ANOTHER_AMOUNT: (ModelBankRecord.SETTLED, Event.AMOUNT_DIFFERED),
    WAITS_FOR_A_COVER: (ModelBankRecord.PENDING, Event.COVER_DUE),
}
"""What such a bank reports as well, and while it has which record."""


def wrong(record: ModelRecord, bank: ModelBankRecord) -> str:
    """Return what is wrong with a state; empty if nothing is."""
    state, hold = record.state, record.hold
    if state in (State.ROLLED_BACK, State.FAILED) and bank in PAID:
        return f"lost: {state.value}, and the bank has paid"
    if state in (State.COMPLETED, State.RETURNED) and bank not in PAID:
        return f"false: {state.value}, and the bank has not paid"
    if state is State.RETURNED and bank is not ModelBankRecord.RETURNED:
        return "false: returned, and the bank has sent nothing back"
    if hold is not _BELONGS.get(state, Hold.NONE):
        return f"books: {state.value} with a hold that is {hold.name.lower()}"
    if bank is not ModelBankRecord.NONE and not record.sends and state not in ENDS:
        return f"sent before the point of no return: the bank has it, and we are {state.value}"
    return ""
