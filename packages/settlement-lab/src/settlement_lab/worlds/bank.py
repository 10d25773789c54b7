"""The bank of a world: it has its own ledger and decides by itself.

The auditor takes this ledger as the truth. The bank never reads the engine's records: it knows the
references and bytes that arrived. It keeps what a rail of its class promises, and no more: after the
promised time it pays again what it has paid before, and does not find what it once knew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from settlement_engine.domain.lifecycle import Event, State
from settlement_engine.domain.returns import NOT_STATED, StatedAmount
from settlement_engine.ports import (
    InboundMessage,
    MessageSource,
    PaymentReferences,
    RailCapabilities,
    RailClass,
    StatusReport,
)
from settlement_lab.worlds.charges import less_charges

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from uuid import UUID

    from settlement_engine.ports import Clock, Question
    from settlement_lab.worlds.chronicle import Chronicle
    from settlement_lab.worlds.faults import Faults
    from settlement_lab.worlds.loop import Process, VirtualLoop

DECISION_SECONDS: Final = (0.0, 0.1, 1.0, 8.0)
SLOW_DECISION_SECONDS: Final = (20.0, 60.0)
SECOND_WORD_SECONDS: Final = (0.5, 5.0, 30.0)
NETWORK_SECONDS: Final = (0.01, 0.05, 0.2)
LIE_SECONDS: Final = (1.0, 10.0)
LIES_MAX: Final = 12
RETURN_SECONDS: Final = 10.0
RETURN_LOOKS_MAX: Final = 100
"""How often the bank checks whether a payment that it wants to send back has completed."""

RETURNS_IN_PARTS: Final = 2
RETURNS_THE_REST: Final = 8
"""One of so many returns is in parts; one of so many payments returned in parts keeps its rest."""

REDELIVERY_SECONDS: Final = (5.0, 20.0)
DELIVERIES_MAX: Final = 200
"""How often a message is delivered that is not acknowledged."""

BANK_SKEW_SECONDS: Final = 3.0
MEMORY_MARGIN_SECONDS: Final = 110.0
"""The bank recognises a payment longer than promised by this time, because a resend that was rightly decided
may arrive late: an engine may be frozen on the way (``world.FREEZE_SECONDS``), and then the message may be
delayed (``rail.LINGER_SECONDS``)."""

RAIL_NAME: Final = "simulated"
OPEN: Final = "open"
SETTLED: Final = "settled"
REJECTED: Final = "rejected"
RECALLED: Final = "recalled"
RESENDABLE: Final = (RailClass.A, RailClass.B)
WORDS: Final = {SETTLED: Event.SETTLED, REJECTED: Event.REJECTED, RECALLED: Event.RECALLED}
DECLINED: Final = (Event.RECALL_REFUSED, Event.SETTLED)
VISIBLE_SECONDS: Final = 15.0
"""For so long a bank that works with files does not find a payment that it has."""


class BankListener(Protocol):
    """The rail of an engine, as the bank knows it: it takes what nobody has asked for."""

    process: Process

    def deliver(self, message: InboundMessage, when_stored: Callable[[], None]) -> None:
        """Deliver a message, and the acknowledgement back."""
        ...


@dataclass(slots=True)
class SimulatedPayment:
    """What the bank has under one reference."""

    reference: str
    settlement_id: UUID
    attempt: int
    at_seconds: float
    state: str = OPEN
    is_acknowledged: bool = False


class RecallAnswers(Protocol):
    """Who answers recalls of payments that have settled, as the bank knows it."""

    @property
    def verdicts(self) -> Mapping[UUID, str]:
        """What the bank does with each recall."""
        ...

    def is_recalled(self, settlement_id: UUID) -> bool:
        """Say whether a recall of the settlement has been written down."""
        ...

    def answer(self, payment: SimulatedPayment) -> Event | None:
        """Answer a recall; None is silence."""
        ...


@dataclass(slots=True)
class Bank:
    """Receives payments, decides, pays, and sometimes reports it."""

    loop: VirtualLoop
    clock: Clock
    faults: Faults
    chronicle: Chronicle
    rules: RailCapabilities
    skew: timedelta = timedelta(0)
    book: dict[str, SimulatedPayment] = field(default_factory=dict)
    debits: dict[UUID, int] = field(default_factory=dict)
    arrived: dict[UUID, set[tuple[str, bytes]]] = field(default_factory=dict)
    contradicted: set[UUID] = field(default_factory=set)
    returned: dict[UUID, int] = field(default_factory=dict)
    acknowledged: set[bytes] = field(default_factory=set)
    listeners: list[BankListener] = field(default_factory=list)
    state_of: Callable[[UUID], State | None] = lambda _: None
    amount_of: Callable[[UUID], int] = lambda _: 0
    recalls: RecallAnswers | None = None
    declined: set[UUID] = field(default_factory=set)
    under_way: int = 0
    messages: int = 0

    # --- what arrives -----------------------------------------------------------------------------

    def receive(self, question: Question) -> Event | None:
        """Receive an instruction; returns what the bank answers at once, None for nothing."""
        name = self.name_of(question)
        known = self.book.get(name)
        self.chronicle.note(f"bank receives {name[:9]} ({known.state if known else 'new'})")
        arrived = self.arrived.setdefault(question.settlement_id, set())
        arrived.add((name, question.payload))
        if known is not None and (self._is_tombstone(known) or self._remembers(known)):
            self.faults.note("bank_recognises")
            return self._word(known)
        if known is not None and known.state != OPEN:
            self._pay(known)  # a bank that no longer recognises it pays again
            return Event.SETTLED
        payment = self._write_down(question)
        if self._is_expired(question):
            self.faults.note("bank_too_late")
            payment.state = REJECTED
            return Event.REJECTED
        self._think(payment)
        return self._word(payment)

    def name_of(self, question: Question) -> str:
        """Return the reference by which the bank knows a message."""
        return question.references.end_to_end_id

    def _write_down(self, question: Question, state: str = OPEN) -> SimulatedPayment:
        name, now = self.name_of(question), self.loop.time()
        payment = SimulatedPayment(name, question.settlement_id, question.attempt, now, state)
        self.book[name] = payment
        return payment

    def _is_tombstone(self, payment: SimulatedPayment) -> bool:
        """Return whether a payment was blocked by a recall: a later instruction does not revive it."""
        return payment.state in (REJECTED, RECALLED)

    def _remembers(self, payment: SimulatedPayment) -> bool:
        """Return whether the bank recognises that it already has this payment."""
        if self.rules.rail_class is RailClass.A:
            return True
        promised = min(self.rules.deduplicates_seconds, self.rules.validity_seconds)
        age = self.loop.time() - payment.at_seconds
        is_known = self.rules.rail_class is RailClass.B and age < promised + MEMORY_MARGIN_SECONDS
        if self.rules.rail_class is RailClass.B and not is_known:
            self.faults.note("bank_forgets")
        return is_known

    def _is_expired(self, question: Question) -> bool:
        """Return whether the bank refuses these bytes because they are too old: only class A does."""
        now = self.clock.now() + self.skew
        return self.rules.rail_class is RailClass.A and now > question.valid_until

    # --- what the bank does -----------------------------------------------------------------------

    def _think(self, payment: SimulatedPayment) -> None:
        """Decide at once or later."""
        seconds = self.faults.seconds(DECISION_SECONDS)
        if self.faults.happens("bank_slow", 3):
            seconds = self.faults.seconds(SLOW_DECISION_SECONDS)
        payment.is_acknowledged = self.faults.happens("bank_acknowledges", 3)
        if seconds:
            self.later(seconds, self._decide, payment)
        else:
            self._decide(payment)

    def _decide(self, payment: SimulatedPayment) -> None:
        if payment.state != OPEN:
            return
        if self.faults.happens("bank_rejects", 2):
            payment.state = REJECTED
        else:
            payment.state = SETTLED
            self._pay(payment)
        self.chronicle.note(f"bank decides {payment.reference[:9]}: {payment.state}")
        if payment.is_acknowledged or self.faults.happens("bank_speaks_unasked", 3):
            self._speak(payment)
        if self.faults.happens("bank_contradicts"):
            self.later(self.faults.seconds(LIE_SECONDS), self._lie, payment, LIES_MAX)
        if payment.state == SETTLED and self.faults.happens("bank_returns"):
            self.later(RETURN_SECONDS, self._return, payment, RETURN_LOOKS_MAX)

    def _pay(self, payment: SimulatedPayment) -> None:
        """Move the money: this must happen once only."""
        key = payment.settlement_id
        self.debits[key] = self.debits.get(key, 0) + 1
        self.chronicle.note(f"bank pays {payment.reference[:9]}, debit {self.debits[key]}")

    def _speak(self, payment: SimulatedPayment) -> None:
        """Report a decision without being asked; the report may be lost, late or duplicated."""
        message = self._status(payment, WORDS[payment.state])
        self._say(message, self.faults.seconds(NETWORK_SECONDS))
        if self.faults.happens("bank_speaks_twice", 2):
            self._say(message, self.faults.seconds(SECOND_WORD_SECONDS))

    def _say(self, message: InboundMessage, seconds: float) -> None:
        if not self.faults.happens("answer_lost"):
            self.later(seconds, self._tell, message)

    def _tell(
        self, message: InboundMessage, when_stored: Callable[[], None] = lambda: None
    ) -> None:
        """Deliver a message to one of the running engines."""
        self.listeners = [rail for rail in self.listeners if not rail.process.is_dead]
        if self.listeners:
            place = int(self.faults.chance.random() * len(self.listeners))
            self.listeners[place].deliver(message, when_stored)

    def _tell_until_acknowledged(self, message: InboundMessage, tries: int) -> None:
        """Deliver until an engine has acknowledged that the message is stored; then never again."""
        if message.content in self.acknowledged or not tries:
            return
        self._tell(message, partial(self.acknowledged.add, message.content))
        seconds = self.faults.seconds(REDELIVERY_SECONDS)
        self.later(seconds, self._tell_until_acknowledged, message, tries - 1)

    def _status(
        self, payment: SimulatedPayment, event: Event, stated: StatedAmount = NOT_STATED
    ) -> InboundMessage:
        """Make a status message about a payment, with an id of its own."""
        self.messages += 1
        report = StatusReport(
            event=event,
            references=PaymentReferences(end_to_end_id=payment.reference),
            code="SIM",
            stated=stated,
        )
        return InboundMessage(
            rail=RAIL_NAME,
            source=MessageSource.PUSHED,
            content=f"{self.messages} {payment.reference} {event.value}".encode(),
            reports=(report,),
        )

    def _lie(self, payment: SimulatedPayment, tries: int) -> None:
        """Contradict an earlier report, after the engine has processed it."""
        state = self.state_of(payment.settlement_id)
        event = {State.COMPLETED: Event.REJECTED, State.ROLLED_BACK: Event.SETTLED}.get(
            state or State.PENDING
        )
        if event is not None:
            self.contradicted.add(payment.settlement_id)
            self.chronicle.note(f"bank contradicts itself about {payment.reference[:9]}: {event}")
            self._tell(self._status(payment, event))
        elif tries and not self.faults.is_over:
            self.later(self.faults.seconds(LIE_SECONDS), self._lie, payment, tries - 1)

    def _return(self, payment: SimulatedPayment, tries: int) -> None:
        """Send a completed payment back, and report it until that is acknowledged."""
        if self.state_of(payment.settlement_id) is State.COMPLETED:
            self._send_back(payment, self.amount_of(payment.settlement_id))
        elif tries and not self.faults.is_over:
            self.later(RETURN_SECONDS, self._return, payment, tries - 1)

    def _send_back(self, payment: SimulatedPayment, whole: int) -> None:
        """Send it back: whole, or a part less charges, reported twice, and then usually the rest.

        Which of these happens depends only on the payment's reference, so that nothing else in the world
        changes.
        """
        if self.returned.get(payment.settlement_id):
            return  # after a recall
        kind = int(payment.reference[1:9], 16)
        part = 1 + kind % max(1, whole - 1)
        if kind % RETURNS_IN_PARTS or part >= whole:
            self._give_back(payment, whole, NOT_STATED)
            return
        charges = min(part - 1, kind % 3)
        first = less_charges(part, charges)
        self._give_back(payment, part, first)
        again = self._status(payment, Event.RETURNED, first)
        self._tell_until_acknowledged(again, DELIVERIES_MAX)
        if kind % RETURNS_THE_REST:
            rest = StatedAmount(minor=whole - part, reference="R-2")
            self.later(RETURN_SECONDS, self._give_back, payment, whole - part, rest)

    def _give_back(self, payment: SimulatedPayment, part: int, stated: StatedAmount) -> None:
        key = payment.settlement_id
        self.returned[key] = self.returned.get(key, 0) + part
        message = self._status(payment, Event.RETURNED, stated)
        self._tell_until_acknowledged(message, DELIVERIES_MAX)

    # --- what the bank is asked -------------------------------------------------------------------

    def _word(self, payment: SimulatedPayment) -> Event | None:
        """Return what is known about a payment; about an undecided one, nothing or *acknowledged*."""
        if payment.state == OPEN:
            return Event.ACKNOWLEDGED if payment.is_acknowledged else None
        return Event.REJECTED if payment.state == RECALLED else WORDS[payment.state]

    def look_up(self, question: Question) -> Event | None:
        """Answer an enquiry about our reference."""
        payment = self.book.get(self.name_of(question))
        if payment is None and self._is_expired(question):
            # What has not arrived by now is refused for ever: only then is the answer definite.
            self.faults.note("bank_too_late")
            self._write_down(question, REJECTED)
            return Event.REJECTED
        if payment is None or self._is_lost(payment):
            self.faults.note("bank_not_found")
            return Event.NOT_FOUND
        return self._word(payment) or Event.ACKNOWLEDGED

    def _is_lost(self, payment: SimulatedPayment) -> bool:
        """Return whether the bank does not find a payment that it has."""
        if self.rules.rail_class is RailClass.C:
            return self.loop.time() - payment.at_seconds < VISIBLE_SECONDS
        if self.rules.rail_class is RailClass.D:
            return not self.faults.is_over and payment.state == OPEN
        return payment.state == SETTLED and not self._remembers(payment)

    def take_back(self, question: Question) -> Event | None:
        """Give back what is not final; if the rail promises it, block a payment that has not arrived."""
        payment = self.book.get(self.name_of(question))
        if self._is_recall(payment):
            assert payment is not None
            assert self.recalls is not None
            return self.recalls.answer(payment)
        event = self._take_back(question, payment)
        if event in DECLINED:
            self.declined.add(question.settlement_id)
        return event

    def _take_back(self, question: Question, payment: SimulatedPayment | None) -> Event | None:
        if payment is None:
            if self.rules.rail_class is not RailClass.B:
                return Event.NOT_FOUND
            payment = self._write_down(question)
        if payment.state == OPEN:
            if self.faults.happens("bank_refuses_recall", 3):
                return Event.RECALL_REFUSED
            payment.state = RECALLED
            self.faults.note("bank_takes_back")
            self.chronicle.note(f"bank gives back {payment.reference[:9]}")
        return WORDS[payment.state]

    def _is_recall(self, payment: SimulatedPayment | None) -> bool:
        """Return whether the money of a payment that has settled is asked back."""
        if self.recalls is None or payment is None or payment.state != SETTLED:
            return False
        return self.recalls.is_recalled(payment.settlement_id)

    def speak_of_recall(self, payment: SimulatedPayment) -> None:
        """Promise the money of a recalled payment without being asked."""
        self._say(self._status(payment, Event.RECALLED), self.faults.seconds(NETWORK_SECONDS))

    def send_all_back(self, payment: SimulatedPayment) -> None:
        """Send all the money of a payment back, unless some was sent back already."""
        if not self.returned.get(payment.settlement_id):
            self._give_back(payment, self.amount_of(payment.settlement_id), NOT_STATED)

    # --- time -------------------------------------------------------------------------------------

    def later(self, seconds: float, call: Callable[..., object], *arguments: object) -> None:
        """Let something arrive after a while; until then the world is not quiescent."""
        self.under_way += 1
        self.loop.later(seconds, self._arrive, call, arguments)

    def _arrive(self, call: Callable[..., object], arguments: tuple[object, ...]) -> None:
        self.under_way -= 1
        call(*arguments)

    @property
    def is_at_rest(self) -> bool:
        """Return whether the bank has decided everything and no message is on its way from or to it."""
        return not self.under_way and all(each.state != OPEN for each in self.book.values())
