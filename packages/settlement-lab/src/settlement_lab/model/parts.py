"""The pieces of a state of the model, as tuples of small numbers, and what they may be together.

Promises: equality of two states is equality of everything that matters, and of nothing else. Numbers that
only grow are kept as what the guards compare: a belief's sequence is the row's, one behind, or older; its
epoch is the row's, or older. So there is no bound on either.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from settlement_engine.domain.lifecycle import ENDS, HOLDING, Do, Event, State

NOBODY: Final = 0
DEAD: Final = 3
"""Owner of a row: nobody, engine 1, engine 2, or the number of an engine that is gone."""


class Bound(NamedTuple):
    """How far the search goes.

    ``sendings`` of one payment, instructions ``under_way`` at a time, and more ``states`` than that of one
    rail are a failure, never a pass.
    """

    sendings: int
    under_way: int
    states: int


FULL: Final = Bound(sendings=2, under_way=2, states=3_000_000)
SHORT: Final = Bound(sendings=2, under_way=1, states=300_000)


class Hold(IntEnum):
    """What became of the money in our books."""

    NONE = 0
    HELD = 1
    POSTED = 2
    RELEASED = 3
    REVERSED = 4


class Bank(IntEnum):
    """What the bank's book says of our reference; only the bank knows."""

    NONE = 0
    PENDING = 1
    SETTLED = 2
    REJECTED = 3
    RECALLED = 4
    LATE = 5  # refused on arrival: no longer valid, or after the end of the day
    BARRED = 6  # recalled before it came: a tombstone
    RETURNED = 7  # settled, and sent back by the receiver


class Private(IntEnum):
    """What comes back for a question, to whoever put it and once at most."""

    NOTHING = 0
    SILENCE = 1
    NOT_FOUND = 2
    UNDELIVERED = 3


class Attest(IntEnum):
    """How far two people have come."""

    NOBODY = 0
    ONE_SAYS_SETTLED = 1
    ONE_SAYS_NOT = 2
    SETTLED = 3
    NOT_SETTLED = 4


class Recall(IntEnum):
    """Where the request to give it back is."""

    NONE = 0
    UNDER_WAY = 1
    REFUSED = 2
    REFUSED_AND_UNDER_WAY = 3


class Record(NamedTuple):
    """The database's row, with its attempt and its hold."""

    state: State
    owner: int
    sends: int
    undelivered: int
    hold: Hold

    @classmethod
    def start(cls) -> Record:
        """Return the row of a settlement that nobody has admitted yet."""
        return cls(State.PENDING, NOBODY, 0, 0, Hold.NONE)


class World(NamedTuple):
    """Everything outside: the bank, the network, the time, and people.

    ``strangers`` are messages under way that do not carry the reference of the first sending: there are
    none, unless a mutation makes them. ``late`` is a private answer to a question that nobody waits for any
    more; whoever hears it takes it for one to the present question.
    """

    bank: Bank
    phase: int
    under_way: int
    strangers: int
    recall: Recall
    attest: Attest
    late: Private

    @classmethod
    def start(cls) -> World:
        """Return the world before anything was sent."""
        return cls(Bank.NONE, 0, 0, 0, Recall.NONE, Attest.NOBODY, Private.NOTHING)


class Worker(NamedTuple):
    """An engine: what it believes, what it is writing, and what it has asked.

    ``state`` is None when it carries nothing. ``lag`` says how many moves the belief is behind (2 stands
    for more), ``is_current`` whether its epoch is the row's. ``writing`` is a decision that is not known
    to be committed. ``asked`` is the open question's private answer.
    """

    state: State | None
    lag: int
    is_current: bool
    sends: int
    undelivered: int
    writing: int
    asked: Private


IDLE: Final = Worker(None, 0, False, 0, 0, -1, Private.NOTHING)  # noqa: FBT003 - by place, as a tuple is

PAID: Final = frozenset({Bank.SETTLED, Bank.RETURNED})
TAKEN: Final = PAID | {Bank.PENDING}

AFTER: Final = {
    (Hold.NONE, Do.LOCK): Hold.HELD,
    (Hold.HELD, Do.POST): Hold.POSTED,
    (Hold.HELD, Do.RELEASE): Hold.RELEASED,
    (Hold.POSTED, Do.REVERSE): Hold.REVERSED,
}
"""What the row's work makes of a hold; anything else breaks the books."""

_BELONGS: Final = {
    State.COMPLETED: Hold.POSTED,
    State.ROLLED_BACK: Hold.RELEASED,
    State.RETURNED: Hold.REVERSED,
    **dict.fromkeys(HOLDING, Hold.HELD),
}

WORDS: Final = {
    Bank.NONE: (),
    Bank.PENDING: (Event.ACKNOWLEDGED,),
    Bank.SETTLED: (Event.ACKNOWLEDGED, Event.SETTLED),
    Bank.REJECTED: (Event.ACKNOWLEDGED, Event.REJECTED),
    Bank.RECALLED: (Event.ACKNOWLEDGED, Event.RECALLED, Event.REJECTED),
    Bank.LATE: (Event.REJECTED,),
    Bank.BARRED: (Event.RECALLED, Event.REJECTED),
    Bank.RETURNED: (Event.ACKNOWLEDGED, Event.SETTLED, Event.RETURNED),
}
"""What an honest bank says or has said; what was said may be heard at any later time, and again."""

SPEAKS_OF_ANOTHER_AMOUNT: Final = "bank speaks of another amount"
"""The fault of a bank that has settled, and says that it was another amount than was sent."""


def wrong(record: Record, bank: Bank) -> str:
    """Say what is wrong with a state; empty if nothing is."""
    state, hold = record.state, record.hold
    if state in (State.ROLLED_BACK, State.FAILED) and bank in PAID:
        return f"lost: {state.value}, and the bank has paid"
    if state in (State.COMPLETED, State.RETURNED) and bank not in PAID:
        return f"false: {state.value}, and the bank has not paid"
    if state is State.RETURNED and bank is not Bank.RETURNED:
        return "false: returned, and the bank has sent nothing back"
    if hold is not _BELONGS.get(state, Hold.NONE):
        return f"books: {state.value} with a hold that is {hold.name.lower()}"
    if bank is not Bank.NONE and not record.sends and state not in ENDS:
        return f"sent before P: the bank has it, and we are {state.value}"
    return ""
