"""What two engines may do next: take over, ask, hear, decide, write, crash; each at any moment.

Promises: between any two of these anything else may happen, so that a pause of any length anywhere is
covered. What an engine decides is asked of the real decider; the guards of the store are the ones that
``tests/contract`` holds both stores to, and each can be removed by a mutation.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from settlement_engine.domain.lifecycle import ENDS, QUESTION, Ask, Do, Event, State
from settlement_lab.model.life import Belief
from settlement_lab.model.parts import (
    AFTER,
    DEAD,
    IDLE,
    NOBODY,
    SPEAKS_OF_ANOTHER_AMOUNT,
    WORDS,
    Attest,
    Bank,
    Hold,
    Private,
    Recall,
    Record,
    Worker,
    World,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from settlement_lab.model.bank import Outside
    from settlement_lab.model.life import Decision, Engine
    from settlement_lab.model.parts import Bound

BEFORE_P: Final = {
    State.PENDING: (Event.ADMITTED,),
    State.VALIDATING: (
        *(Event.CLEARED, Event.POSTPONED, Event.PARKED, Event.REFUSED),
        *(Event.CANCELLED, Event.NO_ANSWER),
    ),
    State.HELD: (Event.APPROVED, Event.DECLINED, Event.CANCELLED),
    State.QUEUED: (Event.LAPSED, Event.CANCELLED),
}
"""What may be said at any time as long as nothing was sent."""

SPOKEN: Final = {Private.NOT_FOUND: Event.NOT_FOUND, Private.UNDELIVERED: Event.UNDELIVERED}

ZOMBIES: Final = frozenset({State.LOCKED})
"""States in which a belief that is behind may still do something: send.

A late enquiry changes nothing, and a late recall is one that was long under way.
"""


class Effect(IntEnum):
    """What the other engine's belief makes of it."""

    NONE = 0
    MOVED = 1  # the row has moved: the belief is one more behind
    CLAIMED = 2  # the row has another epoch


Parts = tuple[Record, World, Worker]
Change = tuple[str, Parts, Effect, str]
"""What an engine did, the parts after it, what it does to the other, and what is wrong with that."""


class Engines:
    """The moves of an engine."""

    def __init__(
        self, engine: Engine, outside: Outside, bound: Bound, faults: frozenset[str]
    ) -> None:
        self._engine = engine
        self._bound = bound
        self._outside = outside
        self._faults = faults
        self._is_guarded = not faults & {"no state guard", "no seq guard", "no epoch guard"}
        self.decisions: list[Decision] = []
        self._places: dict[Decision, int] = {}
        self.walked: set[int] = set()

    def changes(self, number: int, parts: Parts) -> Iterator[Change]:
        """Name everything that engine ``number`` may do next."""
        record, world, me = parts
        if me != IDLE:
            yield from self._end(number, parts)
        if me.writing >= 0:
            yield from self._write(number, parts)
            return
        yield from self._claim(number, parts)
        if me.state is not None and me.asked is Private.NOTHING:
            yield from self._ask(parts)
        if me.lag and self._is_guarded:  # what a zombie hears is turned down
            yield "is turned down", (record, world, IDLE), Effect.NONE, ""
        else:
            yield from self._hear(parts)

    def is_sending(self, worker: Worker) -> bool:
        """Say whether a worker is about to send, or to write down that it will."""
        if worker.writing >= 0:
            return self.decisions[worker.writing].row.state is State.LOCKED
        return worker.state is State.LOCKED and worker.asked is Private.NOTHING

    def seen_by(self, other: Worker, effect: Effect) -> Worker:
        """Return the other engine as it is after this one has done something to the row."""
        if other.state is None or effect is Effect.NONE:
            return other
        if effect is Effect.CLAIMED:
            return other._replace(is_current=False)
        return other._replace(lag=min(other.lag + 1, 2))

    def essence(self, number: int, record: Record, worker: Worker) -> Worker:
        """Return a worker without what cannot matter any more.

        A belief that is behind is turned down whatever is written; what is left of it is the question
        that is still to be put, for a zombie asks. Being turned down is thus no happening of its own.
        """
        if worker.state is None or not self._is_guarded:
            return worker
        is_lost = record.owner == DEAD and worker.writing >= 0
        if not worker.lag and not is_lost and (worker.is_current or record.state in ENDS):
            return worker
        if worker.writing >= 0:
            # Whose step rests or ends forgets it, be it recognised or not.
            decision = self.decisions[worker.writing]
            is_over = decision.is_resting or decision.row.state in ENDS
            if not is_over and self._is_recognised(number, record, worker, decision):
                return worker
        elif worker.asked is Private.NOTHING and worker.state in ZOMBIES:
            return Worker(worker.state, 2, False, 0, 0, -1, Private.NOTHING)  # noqa: FBT003
        return IDLE

    # --- coming and going -------------------------------------------------------------------------

    def _end(self, number: int, parts: Parts) -> Iterator[Change]:
        """Die, or be declared gone and forget everything but the answers that are still to come."""
        record, world, me = parts
        if record.owner == number:
            record = record._replace(owner=DEAD)
        yield "crashes", (record, world, IDLE), Effect.NONE, ""
        for after in _outlasting(world, me):
            if after is not world:
                yield "forgets", (record, after, IDLE), Effect.NONE, ""

    def _claim(self, number: int, parts: Parts) -> Iterator[Change]:
        """Take what is due, and what is another's: a lease may run out at any time."""
        record, world, me = parts
        state = record.state
        if state in ENDS or state is State.PENDING or state is State.HELD:
            return
        is_due = record.owner == NOBODY
        if not is_due and record.owner == number and me.state is not None:
            return
        sends = record.sends + (is_due and state is State.LOCKED)
        if sends > self._bound.sendings and state is State.LOCKED:
            # Where it is too late nothing is sent, so that the bound need not hold it up.
            sending = Belief(state, sends, record.undelivered)
            if not self._engine.is_too_late(sending, world.phase):
                return
        claimed = record._replace(owner=number, sends=sends)
        mine = Worker(state, 0, True, sends, record.undelivered, -1, Private.NOTHING)  # noqa: FBT003
        did = "claims what is due" if is_due else "takes over"
        for writing in self._at_once(mine, world.phase, is_due=is_due):
            mine = mine._replace(writing=writing)
            for after in _outlasting(world, me):
                yield did, (claimed, after, mine), Effect.CLAIMED, ""

    def _at_once(self, me: Worker, phase: int, *, is_due: bool) -> Iterable[int]:
        """Return what the runner proposes for a claim by itself; -1 where it puts the question."""
        assert me.state is not None
        if me.state is State.QUEUED:
            return self._proposals(me, Event.RELEASED, (phase,))
        if me.state is not State.LOCKED:
            return (-1,)
        if not is_due:
            return self._proposals(me, Event.NO_ANSWER, (phase,))
        # Whether it is too late is asked twice, and a clock may go back a little in between.
        clocks = self._engine.clocks(phase)
        belief = Belief(me.state, me.sends, me.undelivered)
        is_late = {self._engine.is_too_late(belief, clock) for clock in clocks}
        found: set[int] = set()
        if False in is_late:
            found.add(-1)
        if True in is_late:
            found.update(self._proposals(me, Event.UNDELIVERED, clocks))
        return found

    def _proposals(self, me: Worker, event: Event, clocks: Iterable[int]) -> set[int]:
        """Decide for a claim: the claimer goes on with it, as ``Runner`` does for a takeover."""
        assert me.state is not None
        belief = Belief(me.state, me.sends, me.undelivered)
        found = set()
        for clock in clocks:
            decision = self._engine.decide(belief, event, clock)
            if decision is None:
                found.add(-1)
            else:
                found.add(self._place(self._engine.taken_over(decision)))
        return found

    # --- asking -----------------------------------------------------------------------------------

    def _ask(self, parts: Parts) -> Iterator[Change]:
        """Put the open question; the request, or the answer to it, may be lost."""
        record, world, me = parts
        question = QUESTION.get(me.state) if me.state is not None else None
        waiting = me._replace(asked=Private.SILENCE)
        if question is Ask.SCREEN and "send before permit" in self._faults:
            question = Ask.SEND
        if question is Ask.SEND:
            complaint = "" if record.hold is not Hold.NONE else "sent before P"
            unsent = me._replace(asked=Private.UNDELIVERED)
            yield "sends, and not a byte leaves", (record, world, unsent), Effect.NONE, ""
            sent = self._sent(world, me)
            yield "sends", (record, sent, waiting), Effect.NONE, complaint
        elif question is Ask.ENQUIRE:
            if self._engine.takes(question) and self._outside.says_not_found(world):
                unknown = me._replace(asked=Private.NOT_FOUND)
                yield "asks; the bank does not know it", (record, world, unknown), Effect.NONE, ""
            yield "asks", (record, world, waiting), Effect.NONE, ""
        elif question is Ask.RECALL:
            recall = Recall(world.recall | Recall.UNDER_WAY)
            complaint = "" if self._engine.takes(question) else "recalled where nothing can be"
            asked = (record, world._replace(recall=recall), waiting)
            yield "recalls", asked, Effect.NONE, complaint

    def _sent(self, world: World, me: Worker) -> World:
        if "new references on resend" in self._faults and me.sends > 1:
            return world._replace(strangers=min(world.strangers + 1, 1))
        return world._replace(under_way=min(world.under_way + 1, self._bound.under_way))

    # --- hearing ----------------------------------------------------------------------------------

    def _hear(self, parts: Parts) -> Iterator[Change]:
        """Take in a word, about what is carried or about what is then loaded."""
        record, world, me = parts
        base = me
        if me.state is None:
            loaded = (record.state, 0, True, record.sends, record.undelivered)
            base = Worker(*loaded, -1, Private.NOTHING)
        assert base.state is not None
        belief = Belief(base.state, base.sends, base.undelivered)
        heard = [(event, base, world) for event in self._words(base.state, world)]
        if base.asked is not Private.NOTHING:
            answered = base._replace(asked=Private.NOTHING)
            heard.append((Event.NO_ANSWER, answered, world))
            if base.asked in SPOKEN:
                heard.append((SPOKEN[base.asked], answered, world))
        if world.late in SPOKEN:
            told = world._replace(late=Private.NOTHING)
            heard.append((SPOKEN[world.late], base, told))
        for event, after, around in heard:
            decision = self._engine.decide(belief, event, world.phase)
            if decision is not None and self._is_within(base, decision):
                writing = after._replace(writing=self._place(decision))
                complaint = "sent again when no longer valid" if decision.is_stale_send else ""
                yield f"hears {event.value}", (record, around, writing), Effect.NONE, complaint

    def _is_within(self, me: Worker, decision: Decision) -> bool:
        """Say whether the decision keeps to the bound on sendings."""
        is_sending = decision.event is Event.NOT_FOUND and decision.row.ask is Ask.SEND
        return not is_sending or me.sends < self._bound.sendings

    def _words(self, state: State, world: World) -> Iterator[Event]:
        if state in BEFORE_P:
            yield from BEFORE_P[state]
        elif state not in ENDS:
            yield Event.CANCELLED
        yield from WORDS[world.bank]
        if SPEAKS_OF_ANOTHER_AMOUNT in self._faults and world.bank is Bank.SETTLED:
            yield Event.AMOUNT_DIFFERED
        if world.recall >= Recall.REFUSED:
            yield Event.RECALL_REFUSED
        if world.attest is Attest.SETTLED:
            yield Event.ATTESTED_SETTLED
        elif world.attest is Attest.NOT_SETTLED:
            yield Event.ATTESTED_NOT_SETTLED

    # --- writing ----------------------------------------------------------------------------------

    def _write(self, number: int, parts: Parts) -> Iterator[Change]:
        """Commit the decision if the guards let it through; the reply may come or be lost."""
        record, world, me = parts
        decision = self.decisions[me.writing]
        name = decision.event.value
        if not self._is_believed(number, record, me, decision):
            for around in _outlasting(world, me):
                yield f"is turned down ({name})", (record, around, IDLE), Effect.NONE, ""
            if self._is_recognised(number, record, me, decision):
                after = _believing(me, decision)
                for around in _outlasting(world, me):
                    yield f"takes it for its own ({name})", (record, around, after), Effect.NONE, ""
            return
        if decision.row.do is Do.LOCK:
            refused = self._engine.decide(Belief(State.VALIDATING, 0, 0), Event.REFUSED, 0)
            assert refused is not None
            short = me._replace(writing=self._place(refused))
            yield "is told that the funds are short", (record, world, short), Effect.NONE, ""
        self.walked.add(me.writing)
        after_record, complaint = self._applied(number, record, me, decision)
        effect = Effect.MOVED if decision.is_move else Effect.NONE
        for around in _outlasting(world, me):
            after = _believing(me, decision)
            yield f"writes {name}", (after_record, around, after), effect, complaint
        unknowing = me._replace(lag=min(me.lag + 1, 2)) if decision.is_move else me
        yield f"writes {name}, reply lost", (after_record, world, unknowing), effect, complaint

    def _is_believed(self, number: int, record: Record, me: Worker, decision: Decision) -> bool:
        """Be the store's guards: state, sequence, owner with epoch, and the proof of sendings."""
        is_mine = record.owner in (number, NOBODY) and me.is_current
        guards = {
            "no state guard": record.state is me.state,
            "no seq guard": me.lag == 0,
            "no epoch guard": is_mine or record.state in ENDS,
            "no proof of sendings": _is_proved(record, decision.event),
        }
        return all(is_passed or fault in self._faults for fault, is_passed in guards.items())

    def _is_recognised(self, number: int, record: Record, me: Worker, decision: Decision) -> bool:
        """Say whether a step that was turned down looks like an earlier writing of its own."""
        if me.lag != 1 or not decision.is_move or record.state is not decision.row.state:
            return False
        if record.state in ENDS:
            return True
        is_owner = record.owner == number or "recognises what others wrote" in self._faults
        return me.is_current and (decision.is_resting or is_owner)

    def _applied(
        self, number: int, record: Record, me: Worker, decision: Decision
    ) -> tuple[Record, str]:
        """Be the store's transaction; returns the row after it and what is wrong with that."""
        row, event = decision.row, decision.event
        complaint = ""
        hold = record.hold
        if row.do in (Do.LOCK, Do.POST, Do.RELEASE, Do.REVERSE):
            hold = AFTER.get((record.hold, row.do), hold)
            if hold is record.hold:
                complaint = f"books: {row.do.value} of a hold that is {hold.name.lower()}"
        is_return = record.state is State.COMPLETED and row.state is State.RETURNED
        if record.state in ENDS and row.state is not record.state and not is_return:
            complaint = f"an end is no end: {record.state.value} to {row.state.value}"
        elif decision.is_move and me.lag:
            complaint = "the moves have a gap: a number is used twice"
        elif record.state is not decision.before:
            complaint = f"no row of the page: {record.state.value} to {row.state.value}"
        owner = NOBODY if decision.is_resting or row.state in ENDS else number
        sends, undelivered = record.sends, record.undelivered
        if row.do is Do.LOCK:
            sends = 1
        if row.state is State.LOCKED:
            sends += event is Event.NOT_FOUND
            undelivered += event is Event.UNDELIVERED
        return Record(row.state, owner, sends, undelivered, hold), complaint

    def _place(self, decision: Decision) -> int:
        place = self._places.get(decision)
        if place is None:
            place = self._places[decision] = len(self.decisions)
            self.decisions.append(decision)
        return place


def _is_proved(record: Record, event: Event) -> bool:
    """Each sending is proved undelivered once at most, and giving up takes the proof of every one."""
    if event is Event.ABANDONED:
        return record.sends == record.undelivered + 1
    if event is Event.UNDELIVERED:
        return record.owner != NOBODY and record.undelivered < record.sends
    return True


def _outlasting(world: World, me: Worker) -> Iterator[World]:
    """Say what the world is when a worker turns to something else while its question is open.

    The answer may still come. One such answer is kept, the old one or the new one; silence about what is
    no longer carried is not heard at all.
    """
    yield world
    if me.asked in SPOKEN and world.late is not me.asked:
        yield world._replace(late=me.asked)


def _believing(me: Worker, decision: Decision) -> Worker:
    """Return the worker after a step of its own is known to be written, as ``Runner`` has it."""
    row = decision.row
    if row.state in ENDS or decision.is_resting:
        return IDLE
    sends = me.sends
    if row.do is Do.LOCK:
        sends = 1
    elif decision.event is Event.NOT_FOUND and row.ask is Ask.SEND:
        sends += 1
    return Worker(row.state, 0, me.is_current, sends, me.undelivered, -1, Private.NOTHING)
