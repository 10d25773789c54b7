"""What two engines may do next: take over, ask, receive, decide, write, crash; each at any moment.

Promises: anything else may happen between any two of these, so that a pause of any length at any place is
covered. The real decider decides for an engine. The guards of the store are the ones that
``tests/contract`` tests on both stores, and a mutation can remove each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.domain.lifecycle import ENDS, QUESTION, Ask, Do, Event, State
from settlement_lab.model.history import Belief
from settlement_lab.model.parts import (
    AFTER,
    DEAD,
    IDLE,
    NOBODY,
    OTHER_WORDS,
    WORDS,
    Attest,
    Effect,
    Hold,
    ModelRecord,
    ModelWorld,
    Private,
    Recall,
    Worker,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from settlement_lab.model.bank import ModelSurroundings
    from settlement_lab.model.history import ModelDecision, ModelEngine
    from settlement_lab.model.parts import SearchBound

BEFORE_SEND_INTENT: Final = {
    State.PENDING: (Event.ADMITTED,),
    State.VALIDATING: (
        *(Event.CLEARED, Event.POSTPONED, Event.PARKED, Event.REFUSED),
        *(Event.CANCELLED, Event.NO_ANSWER),
    ),
    State.HELD: (Event.APPROVED, Event.DECLINED, Event.CANCELLED),
    State.QUEUED: (Event.LAPSED, Event.CANCELLED),
}
"""The events that may occur at any time before anything is sent."""

SPOKEN: Final = {Private.NOT_FOUND: Event.NOT_FOUND, Private.UNDELIVERED: Event.UNDELIVERED}

ZOMBIES: Final = frozenset({State.LOCKED})
"""States in which an engine with outdated state may still do something: send.

A late enquiry changes nothing, and a late recall is the same as one that took long on the network.
"""


Parts = tuple[ModelRecord, ModelWorld, Worker]
Change = tuple[str, Parts, Effect, str]
"""What an engine did, the parts after it, the effect on the other engine, and what is wrong with it."""


class Engines:
    """The actions of an engine."""

    def __init__(
        self,
        engine: ModelEngine,
        outside: ModelSurroundings,
        bound: SearchBound,
        faults: frozenset[str],
    ) -> None:
        self._engine = engine
        self._bound = bound
        self._outside = outside
        self._faults = faults
        self._is_guarded = not faults & {"no state guard", "no seq guard", "no epoch guard"}
        self.decisions: list[ModelDecision] = []
        self._places: dict[ModelDecision, int] = {}
        self.walked: set[int] = set()

    def changes(self, number: int, parts: Parts) -> Iterator[Change]:
        """Return everything that engine ``number`` may do next."""
        record, world, me = parts
        if me != IDLE:
            yield from self._end(number, parts)
        if me.writing >= 0:
            yield from self._write(number, parts)
            return
        yield from self._claim(number, parts)
        if me.state is not None and me.asked is Private.NOTHING:
            yield from self._ask(parts)
        if me.lag and self._is_guarded:  # what an engine with outdated state receives is refused
            yield "is refused", (record, world, IDLE), Effect.NONE, ""
        else:
            yield from self._hear(parts)

    def is_sending(self, worker: Worker) -> bool:
        """Return whether a worker is about to send, or to record that it will send."""
        if worker.writing >= 0:
            return self.decisions[worker.writing].transition.state is State.LOCKED
        return worker.state is State.LOCKED and worker.asked is Private.NOTHING

    def seen_by(self, other: Worker, effect: Effect) -> Worker:
        """Return the other engine as it is after this one has changed the row."""
        if other.state is None or effect is Effect.NONE:
            return other
        if effect is Effect.CLAIMED:
            return other._replace(is_current=False)
        return other._replace(lag=min(other.lag + 1, 2))

    def essence(self, number: int, record: ModelRecord, worker: Worker) -> Worker:
        """Return a worker without what can no longer have an effect.

        A step that is based on outdated state is refused whatever it writes. Only the request that is
        still to be sent has an effect, because an engine with outdated state also asks. So being refused
        is no event of its own.
        """
        if worker.state is None or not self._is_guarded:
            return worker
        is_lost = record.engine_id == DEAD and worker.writing >= 0
        if not worker.lag and not is_lost and (worker.is_current or record.state in ENDS):
            return worker
        if worker.writing >= 0:
            # A step that parks or ends the settlement forgets it, whether it is recognised or not.
            decision = self.decisions[worker.writing]
            is_over = decision.is_parked or decision.transition.state in ENDS
            if not is_over and self._is_recognised(number, record, worker, decision):
                return worker
        elif worker.asked is Private.NOTHING and worker.state in ZOMBIES:
            return Worker(worker.state, 2, False, 0, 0, -1, Private.NOTHING)  # noqa: FBT003
        return IDLE

    # --- claims and crashes -----------------------------------------------------------------------

    def _end(self, number: int, parts: Parts) -> Iterator[Change]:
        """Crash, or be declared gone and forget everything except the answers that are still to come."""
        record, world, me = parts
        if record.engine_id == number:
            record = record._replace(engine_id=DEAD)
        yield "crashes", (record, world, IDLE), Effect.NONE, ""
        for after in _outlasting(world, me):
            if after is not world:
                yield "forgets", (record, after, IDLE), Effect.NONE, ""

    def _claim(self, number: int, parts: Parts) -> Iterator[Change]:
        """Claim what is due or belongs to another engine: a lease may expire at any time."""
        record, world, me = parts
        state = record.state
        if state in ENDS or state is State.PENDING or state is State.HELD:
            return
        is_due = record.engine_id == NOBODY
        if not is_due and record.engine_id == number and me.state is not None:
            return
        sends = record.sends + (is_due and state is State.LOCKED)
        if sends > self._bound.sendings and state is State.LOCKED:
            # When it is too late nothing is sent, so that the bound on sends does not apply.
            sending = Belief(state, sends, record.undelivered)
            if not self._engine.is_too_late(sending, world.phase):
                return
        claimed = record._replace(engine_id=number, sends=sends)
        mine = Worker(state, 0, True, sends, record.undelivered, -1, Private.NOTHING)  # noqa: FBT003
        did = "claims what is due" if is_due else "takes over"
        for writing in self._at_once(mine, world.phase, is_due=is_due):
            mine = mine._replace(writing=writing)
            for after in _outlasting(world, me):
                yield did, (claimed, after, mine), Effect.CLAIMED, ""

    def _at_once(self, me: Worker, phase: int, *, is_due: bool) -> Iterable[int]:
        """Return what the runner proposes by itself after a claim; -1 if it sends the request."""
        assert me.state is not None
        if me.state is State.QUEUED:
            return self._proposals(me, Event.RELEASED, (phase,))
        if me.state is not State.LOCKED:
            return (-1,)
        if not is_due:
            return self._proposals(me, Event.NO_ANSWER, (phase,))
        # Whether it is too late is checked twice, and a clock may go back a little in between.
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
        """Decide after a claim: the claiming engine goes on with the result, as ``engine.takeover`` does."""
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
        """Send the request of the state; the request, or the answer to it, may be lost."""
        record, world, me = parts
        question = QUESTION.get(me.state) if me.state is not None else None
        waiting = me._replace(asked=Private.SILENCE)
        if question is Ask.SCREEN and "send before permit" in self._faults:
            question = Ask.SEND
        if question is Ask.SEND:
            complaint = "" if record.hold is not Hold.NONE else "sent before the point of no return"
            unsent = me._replace(asked=Private.UNDELIVERED)
            yield "sends, and no byte leaves", (record, world, unsent), Effect.NONE, ""
            sent = self._sent(world, me)
            yield "sends", (record, sent, waiting), Effect.NONE, complaint
        elif question is Ask.ENQUIRE:
            if self._engine.takes(question) and self._outside.says_not_found(world):
                unknown = me._replace(asked=Private.NOT_FOUND)
                yield "asks; the bank does not know it", (record, world, unknown), Effect.NONE, ""
            yield "asks", (record, world, waiting), Effect.NONE, ""
        elif question is Ask.RECALL:
            recall = Recall(world.recall | Recall.UNDER_WAY)
            complaint = "" if self._engine.takes(question) else "recalled on a rail without recalls"
            asked = (record, world._replace(recall=recall), waiting)
            yield "recalls", asked, Effect.NONE, complaint

    def _sent(self, world: ModelWorld, me: Worker) -> ModelWorld:
        if "new references on resend" in self._faults and me.sends > 1:
            return world._replace(unowned=min(world.unowned + 1, 1))
        return world._replace(under_way=min(world.under_way + 1, self._bound.under_way))

    # --- receiving --------------------------------------------------------------------------------

    def _hear(self, parts: Parts) -> Iterator[Change]:
        """Receive a report, about the settlement that is carried or about one that is then loaded."""
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
                yield f"receives {event.value}", (record, around, writing), Effect.NONE, complaint

    def _is_within(self, me: Worker, decision: ModelDecision) -> bool:
        """Return whether the decision stays within the bound on sends."""
        is_sending = decision.event is Event.NOT_FOUND and decision.transition.ask is Ask.SEND
        return not is_sending or me.sends < self._bound.sendings

    def _words(self, state: State, world: ModelWorld) -> Iterator[Event]:
        if state in BEFORE_SEND_INTENT:
            yield from BEFORE_SEND_INTENT[state]
        elif state not in ENDS:
            yield Event.CANCELLED
        yield from WORDS[world.bank]
        for fault, (bank, event) in OTHER_WORDS.items():
            if fault in self._faults and world.bank is bank:
                yield event
        if world.recall >= Recall.REFUSED:
            yield Event.RECALL_REFUSED
        if world.attest is Attest.SETTLED:
            yield Event.ATTESTED_SETTLED
        elif world.attest is Attest.NOT_SETTLED:
            yield Event.ATTESTED_NOT_SETTLED

    # --- writing ----------------------------------------------------------------------------------

    def _write(self, number: int, parts: Parts) -> Iterator[Change]:
        """Commit the decision if the guards accept it; the reply may arrive or be lost."""
        record, world, me = parts
        decision = self.decisions[me.writing]
        name = decision.event.value
        if not self._is_believed(number, record, me, decision):
            for around in _outlasting(world, me):
                yield f"is refused ({name})", (record, around, IDLE), Effect.NONE, ""
            if self._is_recognised(number, record, me, decision):
                after = _believing(me, decision)
                for around in _outlasting(world, me):
                    yield f"sees its own write ({name})", (record, around, after), Effect.NONE, ""
            return
        if decision.transition.do is Do.LOCK:
            refused = self._engine.decide(Belief(State.VALIDATING, 0, 0), Event.REFUSED, 0)
            assert refused is not None
            short = me._replace(writing=self._place(refused))
            yield "learns that the funds are short", (record, world, short), Effect.NONE, ""
        self.walked.add(me.writing)
        after_record, complaint = self._applied(number, record, me, decision)
        effect = Effect.MOVED if decision.is_move else Effect.NONE
        for around in _outlasting(world, me):
            after = _believing(me, decision)
            yield f"writes {name}", (after_record, around, after), effect, complaint
        unknowing = me._replace(lag=min(me.lag + 1, 2)) if decision.is_move else me
        yield f"writes {name}, reply lost", (after_record, world, unknowing), effect, complaint

    def _is_believed(
        self, number: int, record: ModelRecord, me: Worker, decision: ModelDecision
    ) -> bool:
        """Check the store's guards: state, sequence, owner with fencing token, and proof of sends."""
        is_mine = record.engine_id in (number, NOBODY) and me.is_current
        guards = {
            "no state guard": record.state is me.state,
            "no seq guard": me.lag == 0,
            "no epoch guard": is_mine or record.state in ENDS,
            "no proof of sendings": _is_proved(record, decision.event),
        }
        return all(is_passed or fault in self._faults for fault, is_passed in guards.items())

    def _is_recognised(
        self, number: int, record: ModelRecord, me: Worker, decision: ModelDecision
    ) -> bool:
        """Return whether a refused step looks like an earlier write of the same engine."""
        if me.lag != 1 or not decision.is_move or record.state is not decision.transition.state:
            return False
        if record.state in ENDS:
            return True
        is_owner = record.engine_id == number or "recognises what others wrote" in self._faults
        return me.is_current and (decision.is_parked or is_owner)

    def _applied(
        self, number: int, record: ModelRecord, me: Worker, decision: ModelDecision
    ) -> tuple[ModelRecord, str]:
        """Apply the store's transaction: return the row after it, and what is wrong with that."""
        transition, event = decision.transition, decision.event
        complaint = ""
        hold = record.hold
        if transition.do in (Do.LOCK, Do.POST, Do.RELEASE, Do.REVERSE):
            hold = AFTER.get((record.hold, transition.do), hold)
            if hold is record.hold:
                complaint = f"books: {transition.do.value} of a hold that is {hold.name.lower()}"
        is_return = record.state is State.COMPLETED and transition.state is State.RETURNED
        if record.state in ENDS and transition.state is not record.state and not is_return:
            complaint = f"a final state was left: {record.state.value} to {transition.state.value}"
        elif decision.is_move and me.lag:
            complaint = "the moves have a gap: a sequence number is used twice"
        elif record.state is not decision.before:
            complaint = f"no transition: {record.state.value} to {transition.state.value}"
        engine_id = NOBODY if decision.is_parked or transition.state in ENDS else number
        sends, undelivered = record.sends, record.undelivered
        if transition.do is Do.LOCK:
            sends = 1
        if transition.state is State.LOCKED:
            sends += event is Event.NOT_FOUND
            undelivered += event is Event.UNDELIVERED
        return ModelRecord(transition.state, engine_id, sends, undelivered, hold), complaint

    def _place(self, decision: ModelDecision) -> int:
        place = self._places.get(decision)
        if place is None:
            place = self._places[decision] = len(self.decisions)
            self.decisions.append(decision)
        return place


def _is_proved(record: ModelRecord, event: Event) -> bool:
    """Each send is proved undelivered once at most, and giving up requires the proof of each send."""
    if event is Event.ABANDONED:
        return record.sends == record.undelivered + 1
    if event is Event.UNDELIVERED:
        return record.engine_id != NOBODY and record.undelivered < record.sends
    return True


def _outlasting(world: ModelWorld, me: Worker) -> Iterator[ModelWorld]:
    """Return the worlds that are possible when a worker leaves its open request.

    The answer may still come. One such answer is kept, the old one or the new one. A missing answer about
    a settlement that is no longer carried is not noticed.
    """
    yield world
    if me.asked in SPOKEN and world.late is not me.asked:
        yield world._replace(late=me.asked)


def _believing(me: Worker, decision: ModelDecision) -> Worker:
    """Return the worker after it knows that its step was written, as ``engine.believed`` does it."""
    transition = decision.transition
    if transition.state in ENDS or decision.is_parked:
        return IDLE
    sends = me.sends
    if transition.do is Do.LOCK:
        sends = 1
    elif decision.event is Event.NOT_FOUND and transition.ask is Ask.SEND:
        sends += 1
    return Worker(transition.state, 0, me.is_current, sends, me.undelivered, -1, Private.NOTHING)
